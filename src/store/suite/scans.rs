//! Scans: bounds and their combinations, order, cursors.

use std::time::Duration;

use super::cases::cases;
use super::store_under_test::{TestBench, key, put_until};
use crate::model::{Key, Page, Projection, Scan, Write};

cases![
    any_bounds_can_be_combined,
    keys_are_ordered_by_their_bytes,
    a_page_has_a_cursor_if_another_follows,
    pages_together_are_the_whole_bucket,
    a_count_ignores_the_limit,
    expired_entries_are_not_in_pages,
    a_page_has_the_revision_of_the_bucket,
    scan_returns_the_same_entries_as_get,
    cursors_stay_valid_while_others_write,
    the_key_of_a_cursor_can_be_deleted,
    a_missing_bucket_is_an_empty_page,
];

/// Keys in the order of their bytes. Other orders (UTF-16 units, case-insensitive, by language) differ.
const ORDERED: &[&str] = &[
    " ",
    "!",
    "0",
    "10",
    "9",
    "A",
    "Z",
    "_",
    "a",
    "a ",
    "a!",
    "a/",
    "a/b",
    "a/b/c",
    "a0",
    "aa",
    "ab",
    "b",
    "~",
    "\u{a0}",
    "Ä",
    "ß",
    "é",
    "\u{7ff}",
    "\u{800}",
    "\u{d7ff}",
    "\u{e000}",
    "ﬀ",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10000}",
    "🙂",
    "\u{10ffff}",
    "\u{10ffff}a",
];

async fn fill(bench: &TestBench) {
    // Not in the order of the keys.
    let mut names: Vec<&str> = ORDERED.to_vec();
    names.sort_by_key(|name| (name.len(), std::cmp::Reverse(*name)));
    bench.commit(names.iter().map(|name| Write::put(key(name), (*name).to_owned())).collect()).await;
}

fn names(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|(key, _)| key.as_str()).collect()
}

/// The expected names of a query in a bucket of the keys [`ORDERED`], and whether more follow.
fn expected(query: &Scan) -> (Vec<&'static str>, bool) {
    let mut found: Vec<&str> = ORDERED
        .iter()
        .copied()
        .filter(|name| name.starts_with(&query.prefix))
        .filter(|name| query.start.as_deref().is_none_or(|start| *name >= start))
        .filter(|name| query.end.as_deref().is_none_or(|end| *name < end))
        .filter(|name| query.after.as_deref().is_none_or(|at| if query.reverse { *name < at } else { *name > at }))
        .collect();
    if query.reverse {
        found.reverse();
    }
    let more = found.len() > query.limit;
    if query.projection != Projection::Count {
        found.truncate(query.limit);
    }
    (found, more)
}

async fn compare(bench: &TestBench, query: Scan) {
    let (found, more) = expected(&query);
    let page = bench.scan(query.clone()).await;
    if query.projection == Projection::Count {
        assert_eq!(page.count, Some(found.len() as u64), "{query:?}");
        assert_eq!((page.entries, page.cursor), (vec![], None), "{query:?}");
        return;
    }
    assert_eq!(names(&page), found, "{query:?}");
    assert!(
        page.entries.iter().all(|(_, entry)| entry.is_some() == (query.projection == Projection::Entries)),
        "{query:?}"
    );
    let cursor = found.last().filter(|_| more).copied();
    assert_eq!((page.cursor.as_ref().map(Key::as_str), page.count), (cursor, None), "{query:?}");
}

async fn any_bounds_can_be_combined(bench: TestBench) {
    fill(&bench).await;
    let some = |text: &str| Some(text.to_owned());
    for prefix in ["", "a", "a/b", "\u{10ffff}", "\u{d7ff}", "none"] {
        for start in [None, some("a/"), some("a/a"), some("\u{fffd}"), some("")] {
            for end in [None, some("a/"), some("ab"), some("🙂"), some("")] {
                for after in [None, some("a/"), some("a/b0"), some("🙂")] {
                    for (limit, reverse) in [(1, false), (1, true), (3, false), (3, true), (1000, false), (1000, true)]
                    {
                        let (prefix, start, end, after) = (prefix.into(), start.clone(), end.clone(), after.clone());
                        let projection = Projection::Keys;
                        compare(&bench, Scan { prefix, start, end, after, limit, reverse, projection }).await;
                    }
                }
            }
        }
    }
    for projection in [Projection::Entries, Projection::Count] {
        for (prefix, after, reverse) in [("", None, false), ("a", some("a/"), false), ("a", some("a/"), true)] {
            let query = Scan { prefix: prefix.into(), after, reverse, projection, limit: 4, ..Scan::default() };
            compare(&bench, query).await;
        }
    }
}

async fn keys_are_ordered_by_their_bytes(bench: TestBench) {
    fill(&bench).await;
    let page = bench.scan(Scan::default()).await;
    assert_eq!(names(&page), ORDERED);
    let page = bench.scan(Scan { reverse: true, ..Scan::default() }).await;
    assert_eq!(names(&page), ORDERED.iter().rev().copied().collect::<Vec<_>>());
}

async fn a_page_has_a_cursor_if_another_follows(bench: TestBench) {
    fill(&bench).await;
    let all = ORDERED.len();
    for (limit, more) in [(all - 1, true), (all, false), (all + 1, false), (usize::MAX, false)] {
        for reverse in [false, true] {
            let page = bench.scan(Scan { limit, reverse, ..Scan::default() }).await;
            assert_eq!(page.cursor.is_some(), more, "{limit} of {all}");
        }
    }
    assert_eq!(bench.scan(Scan { limit: 0, ..Scan::default() }).await.entries, []);
    // An expired entry is not a further page.
    bench.write(put_until("\u{10ffff}z", "x", bench.secs_ahead(1))).await;
    assert!(bench.scan(Scan { limit: all, ..Scan::default() }).await.cursor.is_some());
    bench.advance(1);
    assert_eq!(bench.scan(Scan { limit: all, ..Scan::default() }).await.cursor, None);
}

/// Reads a page into `found` and moves the query to the next one. Returns whether there is one.
async fn turn_page(bench: &TestBench, query: &mut Scan, found: &mut Vec<String>) -> bool {
    let page = bench.scan(query.clone()).await;
    found.extend(names(&page).into_iter().map(str::to_owned));
    let Some(cursor) = page.cursor else { return false };
    query.after = Some(cursor.as_str().to_owned());
    true
}

async fn pages(bench: &TestBench, mut query: Scan) -> Vec<String> {
    let mut found = vec![];
    while turn_page(bench, &mut query, &mut found).await {}
    found
}

async fn pages_together_are_the_whole_bucket(bench: TestBench) {
    fill(&bench).await;
    for limit in [1, 2, 7, ORDERED.len()] {
        let query = Scan { limit, projection: Projection::Keys, ..Scan::default() };
        assert_eq!(pages(&bench, query.clone()).await, ORDERED, "pages of {limit}");
        let mut backwards = pages(&bench, Scan { reverse: true, ..query }).await;
        backwards.reverse();
        assert_eq!(backwards, ORDERED, "pages of {limit}, from the end");
    }
}

async fn a_count_ignores_the_limit(bench: TestBench) {
    fill(&bench).await;
    let count = Scan { projection: Projection::Count, limit: 2, ..Scan::default() };
    assert_eq!(bench.scan(count.clone()).await.count, Some(ORDERED.len() as u64));
    let prefix = Scan { prefix: "a/".into(), limit: 0, ..count };
    assert_eq!(bench.scan(prefix).await.count, Some(3));
}

async fn expired_entries_are_not_in_pages(bench: TestBench) {
    for name in ["a", "c", "e"] {
        bench.write(put_until(name, "x", bench.secs_ahead(1))).await;
    }
    bench.commit(vec![Write::put(key("b"), "1"), Write::put(key("d"), "1")]).await;
    bench.advance(1);
    let limit = 2;
    for projection in [Projection::Entries, Projection::Keys] {
        let page = bench.scan(Scan { limit, projection, ..Scan::default() }).await;
        assert_eq!((names(&page), page.cursor.clone()), (vec!["b", "d"], None), "they do not count for the limit");
    }
    assert_eq!(bench.scan(Scan { projection: Projection::Count, ..Scan::default() }).await.count, Some(2));
}

async fn a_page_has_the_revision_of_the_bucket(bench: TestBench) {
    fill(&bench).await;
    let (revision, _) = bench.commit(vec![Write::Delete { key: key("a") }]).await;
    for projection in [Projection::Entries, Projection::Keys, Projection::Count] {
        let page = bench.scan(Scan { projection, prefix: "none".into(), ..Scan::default() }).await;
        assert_eq!(page.revision, revision, "{projection:?}");
    }
}

async fn scan_returns_the_same_entries_as_get(bench: TestBench) {
    fill(&bench).await;
    bench.write(put_until("a", "{}", bench.secs_ahead(60))).await;
    for (name, entry) in bench.seen().await.entries {
        assert_eq!(bench.entry(name.as_str()).await, entry, "{name}");
    }
}

async fn cursors_stay_valid_while_others_write(bench: TestBench) {
    let kept: Vec<String> = (0..40).map(|n| format!("k{n:02}")).collect();
    for reverse in [false, true] {
        bench.commit(kept.iter().map(|name| Write::put(key(name), "kept")).collect()).await;
        let mut query = Scan { limit: 3, reverse, ..Scan::default() };
        let mut found = vec![];
        let mut turn = 0;
        while turn_page(&bench, &mut query, &mut found).await {
            // Before, after and at the cursor; some are created and deleted.
            let spot = &kept[turn * 17 % kept.len()];
            bench.commit(vec![Write::put(key(&format!("{spot}+")), "new"), Write::put(key(spot), "kept")]).await;
            let old = &kept[turn * 5 % kept.len()];
            bench.commit(vec![Write::Delete { key: key(&format!("{old}+")) }]).await;
            bench.clock.advance(Duration::from_millis(1));
            turn += 1;
        }
        assert!(turn > 10, "it was read page by page");
        let mut seen: Vec<String> = found.iter().filter(|name| !name.ends_with('+')).cloned().collect();
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, kept, "each entry that stays is seen exactly once");
        let ordered = if reverse { found.is_sorted_by(|a, b| a > b) } else { found.is_sorted_by(|a, b| a < b) };
        assert!(ordered, "nothing twice, nothing out of order: {found:?}");
    }
}

async fn the_key_of_a_cursor_can_be_deleted(bench: TestBench) {
    fill(&bench).await;
    let page = bench.scan(Scan { limit: 5, ..Scan::default() }).await;
    let cursor = page.cursor.unwrap();
    bench.write(Write::Delete { key: cursor.clone() }).await;
    let rest = bench.scan(Scan { after: Some(cursor.as_str().to_owned()), ..Scan::default() }).await;
    assert_eq!(names(&rest), &ORDERED[5..]);
}

async fn a_missing_bucket_is_an_empty_page(bench: TestBench) {
    for (projection, count) in [(Projection::Entries, None), (Projection::Keys, None), (Projection::Count, Some(0))] {
        let page = bench.scan(Scan { projection, ..Scan::default() }).await;
        assert_eq!(page, Page { count, ..Page::default() });
    }
}

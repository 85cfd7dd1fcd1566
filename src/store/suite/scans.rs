//! Scans: every bound alone and together, order, cursors.

use std::time::Duration;

use super::bench::{Bench, key, put_until};
use crate::model::{Key, Page, Query, Shape, Write};

super::cases![
    any_bounds_together_give_what_lies_between,
    keys_are_ordered_by_their_bytes,
    a_page_says_whether_another_follows,
    pages_put_together_are_the_whole,
    a_count_is_not_bounded_by_the_limit,
    expired_entries_are_not_in_pages,
    a_page_has_the_revision_of_the_bucket,
    entries_are_as_get_gives_them,
    cursors_hold_while_others_write,
    a_cursor_need_not_be_there_any_more,
    a_missing_bucket_is_an_empty_page,
];

/// Keys in the order of their bytes, such that other orders (of UTF-16 units, of letters without case, of a language) differ.
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

async fn fill(bench: &Bench) {
    // In another order than they are read.
    let mut names: Vec<&str> = ORDERED.to_vec();
    names.sort_by_key(|name| (name.len(), std::cmp::Reverse(*name)));
    bench.commit(names.iter().map(|name| Write::put(key(name), (*name).to_owned())).collect()).await;
}

fn names(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|(key, _)| key.as_str()).collect()
}

/// What a query must find in a bucket that holds just [`ORDERED`]: the names, and whether more follow.
fn expected(query: &Query) -> (Vec<&'static str>, bool) {
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
    if query.shape != Shape::Count {
        found.truncate(query.limit);
    }
    (found, more)
}

async fn compare(bench: &Bench, query: Query) {
    let (found, more) = expected(&query);
    let page = bench.scan(query.clone()).await;
    if query.shape == Shape::Count {
        assert_eq!(page.count, Some(found.len() as u64), "{query:?}");
        assert_eq!((page.entries, page.cursor), (vec![], None), "{query:?}");
        return;
    }
    assert_eq!(names(&page), found, "{query:?}");
    assert!(page.entries.iter().all(|(_, entry)| entry.is_some() == (query.shape == Shape::Entries)), "{query:?}");
    let cursor = found.last().filter(|_| more).copied();
    assert_eq!((page.cursor.as_ref().map(Key::as_str), page.count), (cursor, None), "{query:?}");
}

async fn any_bounds_together_give_what_lies_between(bench: Bench) {
    fill(&bench).await;
    let some = |text: &str| Some(text.to_owned());
    for prefix in ["", "a", "a/b", "\u{10ffff}", "\u{d7ff}", "none"] {
        for start in [None, some("a/"), some("a/a"), some("\u{fffd}"), some("")] {
            for end in [None, some("a/"), some("ab"), some("🙂"), some("")] {
                for after in [None, some("a/"), some("a/b0"), some("🙂")] {
                    for (limit, reverse) in [(1, false), (1, true), (3, false), (3, true), (1000, false), (1000, true)]
                    {
                        let (prefix, start, end, after) = (prefix.into(), start.clone(), end.clone(), after.clone());
                        let shape = Shape::Keys;
                        compare(&bench, Query { prefix, start, end, after, limit, reverse, shape }).await;
                    }
                }
            }
        }
    }
    for shape in [Shape::Entries, Shape::Count] {
        for (prefix, after, reverse) in [("", None, false), ("a", some("a/"), false), ("a", some("a/"), true)] {
            let query = Query { prefix: prefix.into(), after, reverse, shape, limit: 4, ..Query::default() };
            compare(&bench, query).await;
        }
    }
}

async fn keys_are_ordered_by_their_bytes(bench: Bench) {
    fill(&bench).await;
    let page = bench.scan(Query::default()).await;
    assert_eq!(names(&page), ORDERED);
    let page = bench.scan(Query { reverse: true, ..Query::default() }).await;
    assert_eq!(names(&page), ORDERED.iter().rev().copied().collect::<Vec<_>>());
}

async fn a_page_says_whether_another_follows(bench: Bench) {
    fill(&bench).await;
    let all = ORDERED.len();
    for (limit, more) in [(all - 1, true), (all, false), (all + 1, false), (usize::MAX, false)] {
        for reverse in [false, true] {
            let page = bench.scan(Query { limit, reverse, ..Query::default() }).await;
            assert_eq!(page.cursor.is_some(), more, "{limit} of {all}");
        }
    }
    assert_eq!(bench.scan(Query { limit: 0, ..Query::default() }).await.entries, []);
    // What follows must be there: an expired entry is no further page.
    bench.write(put_until("\u{10ffff}z", "x", bench.secs_ahead(1))).await;
    assert!(bench.scan(Query { limit: all, ..Query::default() }).await.cursor.is_some());
    bench.advance(1);
    assert_eq!(bench.scan(Query { limit: all, ..Query::default() }).await.cursor, None);
}

/// Adds a page to what was found and moves the query on behind it. Whether another follows.
async fn turn_page(bench: &Bench, query: &mut Query, found: &mut Vec<String>) -> bool {
    let page = bench.scan(query.clone()).await;
    found.extend(names(&page).into_iter().map(str::to_owned));
    let Some(cursor) = page.cursor else { return false };
    query.after = Some(cursor.as_str().to_owned());
    true
}

async fn pages(bench: &Bench, mut query: Query) -> Vec<String> {
    let mut found = vec![];
    while turn_page(bench, &mut query, &mut found).await {}
    found
}

async fn pages_put_together_are_the_whole(bench: Bench) {
    fill(&bench).await;
    for limit in [1, 2, 7, ORDERED.len()] {
        let query = Query { limit, shape: Shape::Keys, ..Query::default() };
        assert_eq!(pages(&bench, query.clone()).await, ORDERED, "pages of {limit}");
        let mut backwards = pages(&bench, Query { reverse: true, ..query }).await;
        backwards.reverse();
        assert_eq!(backwards, ORDERED, "pages of {limit}, from the end");
    }
}

async fn a_count_is_not_bounded_by_the_limit(bench: Bench) {
    fill(&bench).await;
    let count = Query { shape: Shape::Count, limit: 2, ..Query::default() };
    assert_eq!(bench.scan(count.clone()).await.count, Some(ORDERED.len() as u64));
    let prefix = Query { prefix: "a/".into(), limit: 0, ..count };
    assert_eq!(bench.scan(prefix).await.count, Some(3));
}

async fn expired_entries_are_not_in_pages(bench: Bench) {
    for name in ["a", "c", "e"] {
        bench.write(put_until(name, "x", bench.secs_ahead(1))).await;
    }
    bench.commit(vec![Write::put(key("b"), "1"), Write::put(key("d"), "1")]).await;
    bench.advance(1);
    let limit = 2;
    for shape in [Shape::Entries, Shape::Keys] {
        let page = bench.scan(Query { limit, shape, ..Query::default() }).await;
        assert_eq!((names(&page), page.cursor.clone()), (vec!["b", "d"], None), "they do not count for the limit");
    }
    assert_eq!(bench.scan(Query { shape: Shape::Count, ..Query::default() }).await.count, Some(2));
}

async fn a_page_has_the_revision_of_the_bucket(bench: Bench) {
    fill(&bench).await;
    let (revision, _) = bench.commit(vec![Write::Delete { key: key("a") }]).await;
    for shape in [Shape::Entries, Shape::Keys, Shape::Count] {
        let page = bench.scan(Query { shape, prefix: "none".into(), ..Query::default() }).await;
        assert_eq!(page.revision, revision, "{shape:?}");
    }
}

async fn entries_are_as_get_gives_them(bench: Bench) {
    fill(&bench).await;
    bench.write(put_until("a", "{}", bench.secs_ahead(60))).await;
    for (name, entry) in bench.seen().await.entries {
        assert_eq!(bench.entry(name.as_str()).await, entry, "{name}");
    }
}

async fn cursors_hold_while_others_write(bench: Bench) {
    let kept: Vec<String> = (0..40).map(|n| format!("k{n:02}")).collect();
    for reverse in [false, true] {
        bench.commit(kept.iter().map(|name| Write::put(key(name), "kept")).collect()).await;
        let mut query = Query { limit: 3, reverse, ..Query::default() };
        let mut found = vec![];
        let mut turn = 0;
        while turn_page(&bench, &mut query, &mut found).await {
            // Before the cursor, behind it and beside it; some come and go.
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
        assert_eq!(seen, kept, "what stands all the time is seen just once");
        let ordered = if reverse { found.is_sorted_by(|a, b| a > b) } else { found.is_sorted_by(|a, b| a < b) };
        assert!(ordered, "nothing twice, nothing out of order: {found:?}");
    }
}

async fn a_cursor_need_not_be_there_any_more(bench: Bench) {
    fill(&bench).await;
    let page = bench.scan(Query { limit: 5, ..Query::default() }).await;
    let cursor = page.cursor.unwrap();
    bench.write(Write::Delete { key: cursor.clone() }).await;
    let rest = bench.scan(Query { after: Some(cursor.as_str().to_owned()), ..Query::default() }).await;
    assert_eq!(names(&rest), &ORDERED[5..]);
}

async fn a_missing_bucket_is_an_empty_page(bench: Bench) {
    for (shape, count) in [(Shape::Entries, None), (Shape::Keys, None), (Shape::Count, Some(0))] {
        let page = bench.scan(Query { shape, ..Query::default() }).await;
        assert_eq!(page, Page { count, ..Page::default() });
    }
}

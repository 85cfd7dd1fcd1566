//! Combinations of all preconditions, against an oracle written from RFC 9110 section 13.2.2 and the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kvs::model::{Batch, Bucket, Entry, Key, Write};

use super::date;
use super::scans::Dice;
use crate::store::{Make, named};
use crate::support::endpoint::{Endpoint, Headers, JSON, NOBODY, cases};

cases! {
    repeated_etag_headers_are_one_list_and_repeated_dates_invalid,
    operations_and_forms_obey_preconditions,
    preconditions_on_many_keys_are_rejected,
    last_modified_is_not_later_than_the_request,
}

/// The meaning of a header with entity tags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Tags {
    Absent,
    Any,
    /// Contains the current tag as a strong one.
    Strong,
    /// Contains it only as a weak one.
    Weak,
    Other,
    Malformed,
}

/// The meaning of a header with a date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Date {
    Absent,
    /// Before the modification of the entry.
    Earlier,
    /// At that time or later.
    Since,
    Malformed,
}

/// `TAG` stands for the current tag.
const TAGS: [(&str, Tags); 14] = [
    ("", Tags::Absent),
    ("\"TAG\"", Tags::Strong),
    ("\"zzz\"", Tags::Other),
    ("\"no revision of ours\"", Tags::Other),
    ("*", Tags::Any),
    ("\"zzz\", \"TAG\"", Tags::Strong),
    (",\"y,z\" ,\tW/\"zzz\",", Tags::Other),
    ("W/\"TAG\"", Tags::Weak),
    ("W/\"zzz\", W/\"TAG-br\"", Tags::Weak),
    ("\"TAG-gzip\"", Tags::Strong),
    ("TAG", Tags::Malformed),
    ("\"TAG", Tags::Malformed),
    ("\"TAG\" \"zzz\"", Tags::Malformed),
    ("*, \"TAG\"", Tags::Malformed),
];

/// `SAME`, `BEFORE` and `AFTER` stand for dates relative to the modification of the entry.
const DATES: [(&str, Date); 6] = [
    ("", Date::Absent),
    ("SAME", Date::Since),
    ("BEFORE", Date::Earlier),
    ("AFTER", Date::Since),
    ("yesterday", Date::Malformed),
    ("*", Date::Malformed),
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Conditions {
    matches: Tags,
    unmodified_since: Date,
    none_matches: Tags,
    modified_since: Date,
}

/// The status that the RFC and the contract require.
fn expected(method: &str, present: bool, conditions: Conditions) -> u16 {
    let is_read = method == "GET" || method == "HEAD";
    if is_read && !present {
        return 404;
    }
    let (mut im, mut inm) = (conditions.matches, conditions.none_matches);
    if is_read {
        // A malformed header is ignored.
        let ignored = |tags: Tags| if tags == Tags::Malformed { Tags::Absent } else { tags };
        (im, inm) = (ignored(im), ignored(inm));
    } else {
        let broken_date = conditions.unmodified_since == Date::Malformed && im == Tags::Absent;
        if im == Tags::Malformed || inm == Tags::Malformed || broken_date {
            return 400;
        }
    }
    // Steps 1 and 2.
    let first = match im {
        Tags::Absent => !present || conditions.unmodified_since != Date::Earlier,
        Tags::Any | Tags::Strong => present,
        Tags::Weak | Tags::Other | Tags::Malformed => false,
    };
    if !first {
        return 412;
    }
    // Steps 3 and 4.
    let passes = match inm {
        Tags::Absent => !(is_read && conditions.modified_since == Date::Since),
        Tags::Any | Tags::Strong | Tags::Weak => !present,
        Tags::Other | Tags::Malformed => true,
    };
    match (method, passes, present) {
        ("GET" | "HEAD", false, _) => 304,
        (_, false, _) => 412,
        ("PUT", true, false) => 201,
        ("DELETE", true, false) => 404,
        _ => 200,
    }
}

async fn prepare(kvs: &Endpoint, key: &str, present: bool) -> Option<Entry> {
    kvs.clock.advance(Duration::from_secs(3));
    if !present {
        return None;
    }
    let writes = vec![Write::put(Key::new(key).unwrap(), "before")];
    kvs.store.apply(&Bucket::default(), Batch::new(writes)).await.unwrap();
    kvs.clock.advance(Duration::from_secs(3));
    kvs.stored("default", key).await
}

async fn case(
    kvs: &Endpoint,
    method: &str,
    before: Option<&Entry>,
    (key, fields, conditions): (&str, [&str; 4], Conditions),
) {
    let tag = before.map_or("k2".to_owned(), |entry| entry.revision.to_string());
    let modified = before.map_or("2026-11-20T12:00:00Z".parse().unwrap(), Entry::last_modified);
    let before_it = kvs::model::Time::from_secs(modified.secs() - 1);
    let fill = |text: &str| {
        let text = text.replace("TAG", &tag).replace("SAME", &date(modified)).replace("BEFORE", &date(before_it));
        text.replace("AFTER", &date(modified.plus(Duration::from_secs(1))))
    };
    let names = ["if-match", "if-unmodified-since", "if-none-match", "if-modified-since"];
    let filled = fields.map(fill);
    let mut headers = vec![];
    headers.extend(names.into_iter().zip(&filled).filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n, v.as_str())));
    let answer = kvs.ask(method, &format!("/kv/default/{key}"), &headers, "after").await;
    let context = format!("{method}, there: {}, {headers:?}", before.is_some());
    assert_eq!(answer.status, expected(method, before.is_some(), conditions), "{context}");
    let quoted = format!("\"{tag}\"");
    match (method, answer.status) {
        ("GET", 200) => assert_eq!((answer.tag(), answer.text()), (quoted.as_str(), "before"), "{context}"),
        ("HEAD", 200) | (_, 304) => assert_eq!((answer.tag(), answer.text()), (quoted.as_str(), ""), "{context}"),
        _ => {}
    }
    let after = kvs.stored("default", key).await;
    match (method, answer.status) {
        ("PUT", 200 | 201) => {
            let after = after.unwrap();
            assert_eq!(after.value, "after", "{context}");
            assert_eq!(answer.tag(), format!("\"{}\"", after.revision), "{context}");
            let by_date = conditions.matches == Tags::Absent && conditions.unmodified_since == Date::Since;
            assert!(!by_date || before.is_none_or(|b| b.last_modified() < after.last_modified()), "{context}");
        }
        ("DELETE", 200) => assert_eq!(after, None, "{context}"),
        _ => assert_eq!(after.as_ref(), before, "{context}: nothing may have changed"),
    }
}

/// The headers of a request, and their meaning.
type Cell = ([&'static str; 4], Conditions);

/// Every combination of all spellings.
fn all() -> Vec<Cell> {
    let mut cells = vec![];
    for (im, matches) in TAGS {
        for (ius, unmodified_since) in DATES {
            for (inm, none_matches) in TAGS {
                let cell = |(ims, modified_since)| {
                    let conditions = Conditions { matches, unmodified_since, none_matches, modified_since };
                    ([im, ius, inm, ims], conditions)
                };
                cells.extend(DATES.map(cell));
            }
        }
    }
    cells
}

/// Every combination of all meanings, each in a pseudorandom spelling.
fn distinct() -> Vec<Cell> {
    let mut by_meaning = BTreeMap::<Conditions, Vec<Cell>>::new();
    for cell in all() {
        by_meaning.entry(cell.1).or_default().push(cell);
    }
    let mut dice = Dice(7);
    by_meaning.into_values().map(|cells| cells[dice.below(cells.len())]).collect()
}

async fn combined_preconditions_match_the_oracle(make: Make, cells: Vec<Cell>) {
    let kvs = Endpoint::new(make);
    for (number, (fields, conditions)) in cells.into_iter().enumerate() {
        for (method, present) in [("PUT", true), ("PUT", false), ("DELETE", true), ("DELETE", false)] {
            let key = format!("{method}{present}{number}");
            let before = prepare(&kvs, &key, present).await;
            case(&kvs, method, before.as_ref(), (&key, fields, conditions)).await;
        }
        for (key, present) in [("there", true), ("missing", false)] {
            let before = match kvs.stored("default", key).await {
                None => prepare(&kvs, key, present).await,
                found => found,
            };
            for method in ["GET", "HEAD"] {
                case(&kvs, method, before.as_ref(), (key, fields, conditions)).await;
            }
        }
    }
}

#[tokio::test]
async fn combined_preconditions_match_the_oracle_on_memory() {
    combined_preconditions_match_the_oracle(named("memory"), all()).await;
}

#[tokio::test]
async fn combined_preconditions_match_the_oracle_on_yaml() {
    combined_preconditions_match_the_oracle(named("yaml"), all()).await;
}

/// Only the distinct ones: 56,000 requests over a socket take minutes.
#[tokio::test]
async fn combined_preconditions_match_the_oracle_on_postgresql() {
    combined_preconditions_match_the_oracle(named("postgresql"), distinct()).await;
}

#[test]
fn distinct_cells_cover_every_spelling() {
    assert_eq!(all().len(), 14 * 6 * 14 * 6);
    let distinct = distinct();
    assert_eq!(distinct.len(), 6 * 4 * 6 * 4);
    let spelled = |field: usize| distinct.iter().map(|(fields, _)| fields[field]).collect::<BTreeSet<_>>().len();
    assert_eq!([0, 1, 2, 3].map(spelled), [14, 6, 14, 6]);
}

async fn repeated_etag_headers_are_one_list_and_repeated_dates_invalid(make: Make) {
    let kvs = Endpoint::new(make);
    let tag = kvs.put("/kv/default/a", "1").await.tag().to_owned();
    let now = date(kvs.stored("default", "a").await.unwrap().last_modified());
    let get = async |headers: Headers<'_>| kvs.ask("GET", "/kv/default/a", headers, "").await.status;
    assert_eq!(get(&[("if-none-match", "\"x\""), ("if-none-match", &tag)]).await, 304);
    assert_eq!(get(&[("if-match", "\"x\""), ("if-match", "\"y\"")]).await, 412);
    assert_eq!(get(&[("if-modified-since", &now), ("if-modified-since", &now)]).await, 200);
    assert_eq!(get(&[NOBODY, ("if-none-match", &tag)]).await, 304);
    let put = async |headers: Headers<'_>| kvs.ask("PUT", "/kv/default/a", headers, "2").await.status;
    assert_eq!(put(&[("if-match", "\"x\""), ("if-match", "\"y\"")]).await, 412);
    assert_eq!(put(&[("if-match", "*"), ("if-match", "soon")]).await, 400);
    assert_eq!(put(&[("if-match", "*"), ("if-match", &tag)]).await, 400, "* is no member of a list");
    assert_eq!(put(&[("if-unmodified-since", &now), ("if-unmodified-since", &now)]).await, 400);
    assert_eq!(put(&[("if-none-match", "\"x\""), ("if-none-match", "soon")]).await, 400);
    assert_eq!(kvs.get("/kv/default/a").await.text(), "1");
    assert_eq!(put(&[("if-match", "\"x\""), ("if-match", &tag)]).await, 200);
}

async fn operations_and_forms_obey_preconditions(make: Make) {
    let kvs = Endpoint::new(make);
    for uri in ["incr", "append", "prepend", "touch&ttl=60", "persist", ""] {
        let key = format!("/kv/default/{}", if uri.is_empty() { "plain" } else { &uri[..4] });
        let uri = if uri.is_empty() { key.clone() } else { format!("{key}?op={uri}") };
        let tag = kvs.put(&key, "7").await.tag().to_owned();
        let before = kvs.stored("default", &key[12..]).await;
        for (name, value, status) in [
            ("if-match", "\"zzz\"", 412),
            ("if-match", "W/\"zzz\"", 412),
            ("if-none-match", "*", 412),
            ("if-none-match", tag.as_str(), 412),
            ("if-unmodified-since", "Fri, 20 Nov 2020 12:00:00 GMT", 412),
            ("if-match", "zzz", 400),
            ("if-unmodified-since", "soon", 400),
        ] {
            assert_eq!(kvs.ask("POST", &uri, &[(name, value)], "1").await.status, status, "{uri} {name}: {value}");
            assert_eq!(kvs.stored("default", &key[12..]).await, before, "{uri} {name}: {value}");
        }
        assert_eq!(kvs.ask("POST", &uri, &[("if-match", &tag)], "1").await.status, 200, "{uri}");
        assert_ne!(kvs.stored("default", &key[12..]).await, before.filter(|_| !uri.contains("persist")), "{uri}");
    }
    for uri in ["touch&ttl=60", "persist"] {
        let uri = format!("/kv/default/none?op={uri}");
        assert_eq!(kvs.ask("POST", &uri, &[("if-match", "*")], "").await.status, 412);
        assert_eq!(kvs.ask("POST", &uri, &[("if-none-match", "*")], "").await.status, 404);
    }
}

async fn preconditions_on_many_keys_are_rejected(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    kvs.put("/kv/poky/a", "1").await;
    for bucket in ["default", "poky"] {
        for (name, value) in [
            ("if-match", "*"),
            ("if-none-match", "*"),
            ("if-unmodified-since", "Fri, 20 Nov 2026 12:00:00 GMT"),
            ("if-match", "broken"),
            ("x-if-match", "*"),
        ] {
            if bucket == "default" && name == "x-if-match" {
                continue;
            }
            let headers = [(name, value), JSON];
            let asks = [
                ("PUT", format!("/multi/{bucket}"), r#"[{"key":"a","data":"2"}]"#),
                ("DELETE", format!("/multi/{bucket}"), r#"["a"]"#),
                ("POST", format!("/txn/{bucket}"), r#"{"ops":[{"op":"delete","key":"a"}]}"#),
                ("DELETE", format!("/kv/{bucket}?prefix="), ""),
            ];
            for (method, uri, body) in asks {
                let answer = kvs.ask(method, &uri, &headers, body).await;
                assert_eq!(answer.status, 400, "{method} {uri} {name}");
                assert_eq!(kvs.get(&format!("/kv/{bucket}/a")).await.text(), "1", "{method} {uri} {name}");
            }
        }
    }
}

async fn last_modified_is_not_later_than_the_request(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.put("/kv/default/a", "1").await;
    let last_modified = async || kvs.get("/kv/default/a").await.header("last-modified").to_owned();
    let first = last_modified().await;
    for (value, status) in [("2", 200), ("3", 412), ("4", 412)] {
        let precondition = [("if-unmodified-since", first.as_str())];
        assert_eq!(kvs.ask("PUT", "/kv/default/a", &precondition, value).await.status, status);
        assert_eq!(last_modified().await, first, "the new entry is from the next second, which has not begun");
    }
    kvs.clock.advance(Duration::from_secs(1));
    assert_ne!(last_modified().await, first);
    assert_eq!(kvs.get("/kv/default/a").await.text(), "2");
}

//! Conditions, all with all: RFC 9110 section 13.2.2 and what the contract adds, against an oracle written from these two.

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

/// What a field with tags comes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Tags {
    Absent,
    Any,
    /// Names the tag of what is there, and not as a weak one.
    Strong,
    /// Names it as a weak one only.
    Weak,
    Other,
    Malformed,
}

/// What a field with a date comes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Date {
    Absent,
    /// Before what is there was modified.
    Earlier,
    /// Then, or afterwards.
    Since,
    Malformed,
}

/// `TAG` stands for the tag of what is there.
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

/// `SAME`, `BEFORE` and `AFTER` stand for dates beside that of what is there.
const DATES: [(&str, Date); 6] = [
    ("", Date::Absent),
    ("SAME", Date::Since),
    ("BEFORE", Date::Earlier),
    ("AFTER", Date::Since),
    ("yesterday", Date::Malformed),
    ("*", Date::Malformed),
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Given {
    matches: Tags,
    unmodified_since: Date,
    none_matches: Tags,
    modified_since: Date,
}

/// The status that is due, from the text of the RFC and of the contract.
fn due(method: &str, present: bool, given: Given) -> u16 {
    let is_read = method == "GET" || method == "HEAD";
    if is_read && !present {
        return 404;
    }
    let (mut im, mut inm) = (given.matches, given.none_matches);
    if is_read {
        // Ignored is as good as absent.
        let ignored = |tags: Tags| if tags == Tags::Malformed { Tags::Absent } else { tags };
        (im, inm) = (ignored(im), ignored(inm));
    } else {
        let broken_date = given.unmodified_since == Date::Malformed && im == Tags::Absent;
        if im == Tags::Malformed || inm == Tags::Malformed || broken_date {
            return 400;
        }
    }
    // Steps 1 and 2.
    let first = match im {
        Tags::Absent => !present || given.unmodified_since != Date::Earlier,
        Tags::Any | Tags::Strong => present,
        Tags::Weak | Tags::Other | Tags::Malformed => false,
    };
    if !first {
        return 412;
    }
    // Steps 3 and 4.
    let passes = match inm {
        Tags::Absent => !(is_read && given.modified_since == Date::Since),
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

async fn case(kvs: &Endpoint, method: &str, before: Option<&Entry>, (key, fields, given): (&str, [&str; 4], Given)) {
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
    let told = format!("{method}, there: {}, {headers:?}", before.is_some());
    assert_eq!(answer.status, due(method, before.is_some(), given), "{told}");
    let quoted = format!("\"{tag}\"");
    match (method, answer.status) {
        ("GET", 200) => assert_eq!((answer.tag(), answer.text()), (quoted.as_str(), "before"), "{told}"),
        ("HEAD", 200) | (_, 304) => assert_eq!((answer.tag(), answer.text()), (quoted.as_str(), ""), "{told}"),
        _ => {}
    }
    let after = kvs.stored("default", key).await;
    match (method, answer.status) {
        ("PUT", 200 | 201) => {
            let after = after.unwrap();
            assert_eq!(after.value, "after", "{told}");
            assert_eq!(answer.tag(), format!("\"{}\"", after.revision), "{told}");
            let by_date = given.matches == Tags::Absent && given.unmodified_since == Date::Since;
            assert!(!by_date || before.is_none_or(|b| b.last_modified() < after.last_modified()), "{told}");
        }
        ("DELETE", 200) => assert_eq!(after, None, "{told}"),
        _ => assert_eq!(after.as_ref(), before, "{told}: nothing may have changed"),
    }
}

/// The fields of a request, and what they come to.
type Cell = ([&'static str; 4], Given);

/// Every field with every other, however it is written.
fn all() -> Vec<Cell> {
    let mut cells = vec![];
    for (im, matches) in TAGS {
        for (ius, unmodified_since) in DATES {
            for (inm, none_matches) in TAGS {
                let cell = |(ims, modified_since)| {
                    let given = Given { matches, unmodified_since, none_matches, modified_since };
                    ([im, ius, inm, ims], given)
                };
                cells.extend(DATES.map(cell));
            }
        }
    }
    cells
}

/// What fields can come to with what the others come to, each once, written now this way and now that: the
/// same in every run.
fn distinct() -> Vec<Cell> {
    let mut by_meaning = BTreeMap::<Given, Vec<Cell>>::new();
    for cell in all() {
        by_meaning.entry(cell.1).or_default().push(cell);
    }
    let mut dice = Dice(7);
    by_meaning.into_values().map(|cells| cells[dice.below(cells.len())]).collect()
}

async fn combined_preconditions_match_the_oracle(make: Make, cells: Vec<Cell>) {
    let kvs = Endpoint::new(make);
    for (number, (fields, given)) in cells.into_iter().enumerate() {
        for (method, present) in [("PUT", true), ("PUT", false), ("DELETE", true), ("DELETE", false)] {
            let key = format!("{method}{present}{number}");
            let before = prepare(&kvs, &key, present).await;
            case(&kvs, method, before.as_ref(), (&key, fields, given)).await;
        }
        for (key, present) in [("there", true), ("missing", false)] {
            let before = match kvs.stored("default", key).await {
                None => prepare(&kvs, key, present).await,
                found => found,
            };
            for method in ["GET", "HEAD"] {
                case(&kvs, method, before.as_ref(), (key, fields, given)).await;
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

/// A server is asked over a socket, which 56,000 times takes minutes.
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
    let told = async || kvs.get("/kv/default/a").await.header("last-modified").to_owned();
    let first = told().await;
    for (value, status) in [("2", 200), ("3", 412), ("4", 412)] {
        let guard = [("if-unmodified-since", first.as_str())];
        assert_eq!(kvs.ask("PUT", "/kv/default/a", &guard, value).await.status, status);
        assert_eq!(told().await, first, "what replaced it lies in the next second, which has not come");
    }
    kvs.clock.advance(Duration::from_secs(1));
    assert_ne!(told().await, first);
    assert_eq!(kvs.get("/kv/default/a").await.text(), "2");
}

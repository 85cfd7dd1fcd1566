//! Concurrent clients on several threads, on every store: preconditions of writes.

use std::collections::HashMap;
use std::time::Duration;

use kvs::model::Time;
use serde_json::json;
use tokio::task::JoinSet;

use super::date;
use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! { on threads:
    increments_of_100_clients_are_exact,
    only_one_client_creates_the_key,
    same_date_never_passes_twice,
    one_row_per_key_passes_its_precondition,
    latest_client_timestamp_wins,
    increments_without_a_date_are_exact,
}

/// Runs this for each number at once and returns the results.
pub(super) async fn at_once<F: Future<Output: Send + 'static> + Send + 'static>(
    number: usize,
    go: impl Fn(usize) -> F,
) -> Vec<F::Output> {
    (0..number).map(go).collect::<JoinSet<_>>().join_all().await
}

/// A write that is repeated while the response asks for it.
async fn patient(kvs: &Endpoint, uri: &str) -> String {
    loop {
        let answer = kvs.post(uri, "").await;
        match answer.status {
            200 => return answer.text().to_owned(),
            status => assert_eq!(status, 503, "{}", answer.text()),
        }
    }
}

async fn increments_of_100_clients_are_exact(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    let numbers = at_once(100, |_| {
        let kvs = kvs.clone();
        async move {
            let mut numbers = vec![];
            for _ in 0..5 {
                numbers.push(patient(&kvs, "/kv/default/n?op=incr").await.parse::<u64>().unwrap());
            }
            numbers
        }
    });
    let mut numbers = numbers.await.concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=500).collect::<Vec<_>>(), "each number was given to one client");
    kvs.put("/kv/default/m", "0").await;
    let done = at_once(100, |_| {
        let kvs = kvs.clone();
        async move {
            for _ in 0..2 {
                loop {
                    let found = kvs.get("/kv/default/m").await;
                    let next = found.text().parse::<u64>().unwrap() + 1;
                    let precondition = [("if-match", found.tag())];
                    let answer = kvs.ask("PUT", "/kv/default/m", &precondition, next.to_string()).await;
                    match answer.status {
                        200 => break,
                        status => assert!(matches!(status, 412 | 503), "{}", answer.text()),
                    }
                }
            }
        }
    });
    done.await;
    assert_eq!(kvs.get("/kv/default/m").await.text(), "200");
}

async fn only_one_client_creates_the_key(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    for round in 0..12 {
        let statuses = at_once(12, |n| {
            let kvs = kvs.clone();
            async move {
                let headers = [("if-none-match", "*")];
                let uri = format!("/kv/default/new{round}");
                (kvs.ask("PUT", &uri, &headers, n.to_string()).await.status, n)
            }
        });
        let statuses = statuses.await;
        let winners: Vec<_> = statuses.iter().filter(|(status, _)| *status == 201).collect();
        assert_eq!(winners.len(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|(status, _)| matches!(status, 201 | 412)), "{statuses:?}");
        assert_eq!(kvs.get(&format!("/kv/default/new{round}")).await.text(), winners[0].1.to_string());
    }
}

async fn same_date_never_passes_twice(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    kvs.put("/kv/default/a", "first").await;
    let mut passed: HashMap<String, usize> = HashMap::new();
    for _ in 0..12 {
        let date = kvs.get("/kv/default/a").await.header("last-modified").to_owned();
        let won = at_once(8, |n| {
            let (kvs, date) = (kvs.clone(), date.clone());
            async move {
                let headers = [("if-unmodified-since", date.as_str())];
                let (method, uri) =
                    if n % 2 == 0 { ("PUT", "/kv/default/a") } else { ("POST", "/kv/default/a?op=append") };
                let status = kvs.ask(method, uri, &headers, n.to_string()).await.status;
                assert!(matches!(status, 200 | 412), "{status}");
                usize::from(status == 200)
            }
        });
        *passed.entry(date).or_default() += won.await.into_iter().sum::<usize>();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(passed.values().all(|times| *times <= 1), "{passed:?}");
    assert!(passed.values().any(|times| *times == 1), "{passed:?}");
}

async fn one_row_per_key_passes_its_precondition(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    for key in ["a", "b", "c"] {
        kvs.put(&format!("/kv/default/{key}"), "first").await;
    }
    let since = |entry: kvs::model::Entry| date(entry.last_modified());
    let (a, b) = (kvs.stored("default", "a").await.map(since), kvs.stored("default", "b").await.map(since));
    let results = at_once(12, |n| {
        let (kvs, a, b) = (kvs.clone(), a.clone(), b.clone());
        async move {
            let rows = json!([{"key": "a", "data": format!("{n}"), "modified_at": a},
                    {"key": "b", "data": format!("{n}"), "modified_at": b},
                    {"key": "c", "data": format!("{n}")}]);
            let answer = kvs.json("PUT", "/multi/default", rows).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let result = |row: usize| answer.json()[row]["result"].as_str().unwrap().to_owned();
            [result(0), result(1), result(2)]
        }
    });
    let results = results.await;
    for row in [0, 1] {
        let winners: Vec<_> = results.iter().enumerate().filter(|(_, r)| r[row] == "updated").collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        assert!(results.iter().filter(|r| r[row] == "rejected").count() == 11, "{results:?}");
    }
    assert!(results.iter().all(|r| r[2] == "updated"), "{results:?}");
}

async fn latest_client_timestamp_wins(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    let statuses = at_once(40, |n| {
        let kvs = kvs.clone();
        async move {
            let at = date(Time::from_secs(1_700_000_000 + i64::try_from(n * 7 % 40).unwrap()));
            if n % 4 == 0 {
                let rows = json!([{"key": "a", "data": at, "modified_at": at}]);
                return kvs.json("PUT", "/multi/poky", rows).await.status;
            }
            kvs.ask("PUT", "/kv/poky/a", &[("if-unmodified-since", at.as_str())], at.clone()).await.status
        }
    });
    let statuses = statuses.await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 412)), "{statuses:?}");
    let last = date(Time::from_secs(1_700_000_039));
    let found = kvs.get("/kv/poky/a").await;
    assert_eq!((found.text(), found.header("last-modified")), (last.as_str(), last.as_str()));
}

async fn increments_without_a_date_are_exact(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    let at = date(Time::from_secs(1_700_000_000));
    kvs.ask("PUT", "/kv/poky/n", &[("if-unmodified-since", at.as_str())], "0").await;
    at_once(20, |_| {
        let kvs = kvs.clone();
        async move {
            for _ in 0..3 {
                patient(&kvs, "/kv/poky/n?op=incr").await;
            }
        }
    })
    .await;
    let found = kvs.get("/kv/poky/n").await;
    assert_eq!((found.text(), found.header("last-modified")), ("60", at.as_str()));
}

//! Transfers between accounts by transactions, and concurrent readers that add up all accounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::sync::Barrier;

use super::races::at_once;
use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! { on threads:
    transfers_keep_the_total_for_every_reader,
}

const ACCOUNTS: usize = 5;
const EACH: i64 = 100;

fn total(balances: impl Iterator<Item = String>) -> i64 {
    balances.map(|text| text.parse::<i64>().unwrap()).sum()
}

/// The total of all accounts, read in one transaction or as several keys in one read.
async fn added_up(kvs: &Endpoint, by_txn: bool) -> i64 {
    let names = (0..ACCOUNTS).map(|n| format!("account{n}"));
    if by_txn {
        let ops: Vec<_> = names.map(|key| json!({"op": "get", "key": key})).collect();
        let found = kvs.json("POST", "/txn/default", json!({ "ops": ops })).await.json();
        let balance = |n: usize| found["results"][n]["value"].as_str().unwrap().to_owned();
        return total((0..ACCOUNTS).map(balance));
    }
    let rows: Vec<_> = names.map(|key| json!({ "key": key })).collect();
    let found = kvs.json("POST", "/multi/default", json!(rows)).await.json();
    assert_eq!(found.as_object().unwrap().len(), ACCOUNTS);
    total(found.as_object().unwrap().values().map(|value| value.as_str().unwrap().to_owned()))
}

/// Moves 1 from one account to another, by checked values or by increments. Returns whether it was done.
async fn transfer(kvs: &Endpoint, (from, to): (usize, usize), by_check: bool) -> bool {
    let (from, to) = (format!("account{from}"), format!("account{to}"));
    let ops = if by_check {
        let read = async |key: &str| kvs.get(&format!("/kv/default/{key}")).await;
        let (a, b) = (read(&from).await, read(&to).await);
        let more = |text: &str, by: i64| (text.parse::<i64>().unwrap() + by).to_string();
        json!({"checks": [{"key": from, "value": a.text()}, {"key": to, "revision": b.tag()}],
            "ops": [{"op": "set", "key": from, "value": more(a.text(), -1)},
                {"op": "set", "key": to, "value": more(b.text(), 1)}]})
    } else {
        json!({"checks": [{"key": from, "absent": false}],
            "ops": [{"op": "incr", "key": from, "by": -1}, {"op": "incr", "key": to, "by": 1}]})
    };
    let answer = kvs.json("POST", "/txn/default", ops).await;
    assert!(matches!(answer.status, 200 | 409), "{} {}", answer.status, answer.text());
    answer.status == 200
}

async fn transfers_keep_the_total_for_every_reader(make: Make) {
    let kvs = Endpoint::in_real_time(make);
    for n in 0..ACCOUNTS {
        kvs.put(&format!("/kv/default/account{n}"), EACH.to_string()).await;
    }
    let expected = EACH * i64::try_from(ACCOUNTS).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(4 + 8));
    let readers = (0..4).map(|n| {
        let (kvs, done, start) = (kvs.clone(), Arc::clone(&done), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            while !done.load(Ordering::SeqCst) {
                assert_eq!(added_up(&kvs, n % 2 == 0).await, expected);
                // A store in memory never waits, so without this the writers would get no thread.
                tokio::task::yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let moved = at_once(8, |n| {
        let (kvs, start) = (kvs.clone(), Arc::clone(&start));
        async move {
            start.wait().await;
            let mut moved = 0;
            for round in 0..25 {
                let from = (n + round) % ACCOUNTS;
                let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
                moved += usize::from(transfer(&kvs, (from, to), n % 2 == 0).await);
            }
            moved
        }
    });
    let moved: usize = moved.await.into_iter().sum();
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(moved >= 4 * 25, "{moved}");
    assert_eq!(added_up(&kvs, true).await, expected);
}

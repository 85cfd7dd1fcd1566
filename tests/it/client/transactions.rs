//! Transactions: atomic, with reads of one moment, and retried after a conflict.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvs::client::{Client, Options};
use kvs::memory::MemoryStore;
use kvs::model::{Clock, Error, ErrorKind, Result, SystemClock};
use kvs::store::Limits;
use tokio::task::JoinSet;

use super::on_each_store;
use crate::store::STORES;

/// Counts the runs of a transaction.
#[derive(Default)]
struct Runs(AtomicUsize);

impl Runs {
    /// Starts a run and returns its number, from 1.
    fn begin(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::Invalid, "given up")
}

#[tokio::test]
async fn writes_are_done_at_the_end_and_not_before() {
    on_each_store(async |client, _| {
        let client = &client;
        client.set_many(&[("a", "1"), ("old", "x")]).await.unwrap();
        let work = client.transaction(|mut t| async move {
            t.set("a", "2")?;
            t.set_with("b", "3", &Options::ttl(Duration::from_secs(60)))?;
            t.delete("old")?;
            t.expire("a", Duration::from_secs(60))?;
            assert_eq!(client.get_many(&["a", "b"]).await?, [Some("1".into()), None], "others do not see it yet");
            Ok("done")
        });
        assert_eq!(work.await.unwrap(), "done");
        assert_eq!(client.get_many(&["a", "b", "old"]).await.unwrap(), [Some("2".into()), Some("3".into()), None]);
        assert!(client.ttl("a").await.unwrap().is_some() && client.ttl("b").await.unwrap().is_some());
        client.transaction(|mut t| async move { t.persist("b") }).await.unwrap();
        assert_eq!(client.ttl("b").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_error_rolls_back() {
    on_each_store(async |client, _| {
        let client = &client;
        let work: Result<()> = client
            .transaction(|mut t| async move {
                t.set("a", "1")?;
                t.increment("n", 1).await?;
                Err(given_up())
            })
            .await;
        assert_eq!(work.unwrap_err().to_string(), "given up");
        assert_eq!(client.buckets().await.unwrap(), [], "nothing was written");
        // A batch that the store refuses is rolled back too.
        let large = &vec![0; 200_001];
        let work = client.transaction(|mut t| async move {
            t.set("a", "1")?;
            t.set("b", large.clone())
        });
        assert_eq!(work.await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(!client.exists("a").await.unwrap());
        for name in ["", "a\n"] {
            assert!(client.transaction(|mut t| async move { t.set(name, "1") }).await.unwrap_err().is_invalid());
            assert!(client.transaction(|mut t| async move { t.get(name).await }).await.unwrap_err().is_invalid());
        }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes() {
    on_each_store(async |client, clock| {
        let (client, clock) = (&client, &clock);
        client.set("a", "1").await.unwrap();
        let work = client.transaction(|mut t| async move {
            assert_eq!(t.increment("a", 4).await?, 5);
            assert_eq!(t.decrement("a", 2).await?, 3);
            assert_eq!(t.get_string("a").await?.as_deref(), Some("3"));
            t.expire("a", Duration::from_secs(60))?;
            let end = t.get_entry("a").await?.unwrap().expires;
            assert_eq!(end, Some(clock.now().plus(Duration::from_secs(60))));
            t.delete("a")?;
            assert!(!t.exists("a").await?);
            assert_eq!(t.increment("a", 1).await?, 1);
            t.set("b", "new")?;
            assert_eq!(t.get_many(&["b", "c", "a"]).await?, [Some("new".into()), None, Some("1".into())]);
            Ok(())
        });
        work.await.unwrap();
        assert_eq!(client.get_many(&["a", "b"]).await.unwrap(), [Some("1".into()), Some("new".into())]);
        assert_eq!(client.ttl("a").await.unwrap(), None, "it is a new entry");
    })
    .await;
}

#[tokio::test]
async fn a_failed_step_leaves_no_trace() {
    on_each_store(async |client, _| {
        let client = &client;
        client.set("name", "Ada").await.unwrap();
        let work = client.transaction(|mut t| async move {
            assert!(t.increment("name", 1).await.unwrap_err().is_invalid());
            t.set("n", i64::MAX.to_string())?;
            assert!(t.increment("n", 1).await.unwrap_err().is_invalid());
            assert!(t.decrement("n", i64::MIN).await.unwrap_err().is_invalid());
            assert!(t.expire("n", Duration::ZERO).unwrap_err().is_invalid());
            assert_eq!(t.get_typed::<u64>("name").await.unwrap_err().kind(), ErrorKind::Invalid);
            t.set("done", "1")
        });
        work.await.unwrap();
        assert_eq!(client.get_string("name").await.unwrap().as_deref(), Some("Ada"));
        assert!(client.exists("done").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_change_of_what_was_read_makes_it_run_again() {
    on_each_store(async |client, _| {
        let client = &client;
        client.set_many(&[("a", "1"), ("gone", "1")]).await.unwrap();
        for theirs in ["a", "missing", "gone"] {
            let runs = &Runs::default();
            let work = client.transaction(|mut t| async move {
                let run = runs.begin();
                let seen = t.get_many(&["a", "missing", "gone"]).await?;
                if run == 1 {
                    match theirs {
                        "gone" => client.delete("gone").await.map(drop)?,
                        name => client.set(name, "theirs").await.map(drop)?,
                    }
                }
                t.set("seen", format!("{seen:?}"))
            });
            work.await.unwrap();
            assert_eq!(runs.count(), 2, "{theirs}");
            let now = client.get_many(&["a", "missing", "gone"]).await.unwrap();
            assert_eq!(client.get_string("seen").await.unwrap().unwrap(), format!("{now:?}"));
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_were_not_read_may_change() {
    on_each_store(async |client, _| {
        let client = &client;
        client.set("read", "1").await.unwrap();
        let runs = &Runs::default();
        let work = client.transaction(|mut t| async move {
            runs.begin();
            t.get("read").await?;
            t.set("written", "ours")?;
            client.set("other", "x").await?;
            client.set("written", "theirs").await?;
            client.expire("read", Duration::from_secs(60)).await?;
            t.get("written").await
        });
        assert_eq!(work.await.unwrap(), Some("ours".into()));
        assert_eq!(runs.count(), 1);
        assert_eq!(client.get_string("written").await.unwrap().as_deref(), Some("ours"));
    })
    .await;
}

#[tokio::test]
async fn reads_are_of_one_moment() {
    on_each_store(async |client, _| {
        let client = &client;
        client.set_many(&[("a", "1"), ("b", "1")]).await.unwrap();
        let runs = &Runs::default();
        let work = client.transaction(|mut t| async move {
            let run = runs.begin();
            let a = t.get("a").await?;
            if run == 1 {
                client.set_many(&[("a", "2"), ("b", "2")]).await?;
            }
            let b = t.get("b").await.inspect_err(|error| assert!(run == 1 && error.is_retryable()))?;
            assert_eq!(a, b, "a state that did not exist");
            Ok(a)
        });
        assert_eq!(work.await.unwrap(), Some("2".into()));
        assert_eq!(runs.count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_function_that_ignores_a_conflict_is_run_again() {
    on_each_store(async |client, _| {
        let client = &client;
        let runs = &Runs::default();
        let work = client.transaction(|mut t| async move {
            let run = runs.begin();
            t.get("a").await?;
            if run == 1 {
                client.set("a", "theirs").await?;
                assert!(t.get("b").await.is_err());
                assert!(t.get("a").await.is_err(), "and so is all it reads from then on");
            }
            t.set("b", format!("run {run}"))
        });
        work.await.unwrap();
        assert_eq!(client.get_string("b").await.unwrap().as_deref(), Some("run 2"));
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_expires_during_a_transaction_has_changed() {
    on_each_store(async |client, clock| {
        let (client, clock) = (&client, &clock);
        client.set_ex("a", "1", Duration::from_secs(5)).await.unwrap();
        let runs = &Runs::default();
        let seen = client.transaction(|mut t| async move {
            runs.begin();
            let seen = t.get("a").await?;
            clock.advance(Duration::from_secs(5));
            Ok(seen)
        });
        assert_eq!((seen.await.unwrap(), runs.count()), (None, 2));
    })
    .await;
}

#[tokio::test]
async fn it_gives_up_after_the_last_attempt() {
    let client = &Client::new(Arc::new(MemoryStore::default()));
    let runs = &Runs::default();
    let work = client.transaction(|mut t| async move {
        runs.begin();
        t.get("a").await?;
        client.set("a", "its own enemy").await?;
        t.set("b", "1")
    });
    assert!(work.await.unwrap_err().is_retryable());
    assert_eq!(runs.count(), 1000);
    assert!(!client.exists("b").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tasks_move_money_and_none_is_lost() {
    on_each_store(async |client, _| {
        let client = &client;
        let names: Vec<String> = (0..4).map(|n| format!("account/{n}")).collect();
        client.set_many(&names.iter().map(|name| (name, "100")).collect::<Vec<_>>()).await.unwrap();
        let torn = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..16_usize {
            let (client, names, torn) = (client.clone(), names.clone(), torn.clone());
            tasks.spawn(async move {
                let names = &names;
                for turn in 0..10 {
                    let (from, to) = (&names[(n + turn) % 4], &names[(n + turn + 1 + turn % 3) % 4]);
                    let paid = client.transaction(|mut t| async move {
                        t.increment(to, 30).await?;
                        if t.decrement(from, 30).await? < 0 { Err(given_up()) } else { Ok(()) }
                    });
                    let paid = paid.await;
                    assert!(paid.as_ref().err().is_none_or(Error::is_invalid), "{paid:?}");
                    let seen = client.transaction(|mut t| async move {
                        let mut sum = 0;
                        for name in names {
                            sum += t.get_typed::<i64>(name).await?.unwrap_or(0);
                        }
                        Ok(sum)
                    });
                    torn.fetch_add(usize::from(seen.await.unwrap() != 400), Ordering::SeqCst);
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(torn.load(Ordering::SeqCst), 0, "sums that did not exist");
        let end = client.typed::<i64>().get_many(&names).await.unwrap();
        let end: Vec<i64> = end.into_iter().flatten().collect();
        assert_eq!((end.len(), end.iter().sum::<i64>()), (4, 400));
        assert!(end.iter().all(|sum| *sum >= 0), "{end:?}");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_is_kept_after_its_end_does_nothing() {
    let client = Client::new(Arc::new(MemoryStore::default()));
    let mut kept = vec![];
    let work = client.transaction(|mut t| {
        let written = t.set("a", "1");
        kept.push(t);
        async move { written }
    });
    assert!(work.await.unwrap_err().is_invalid());
    drop(kept);
    assert!(!client.exists("a").await.unwrap());
}

#[test]
fn the_blocking_client_runs_transactions() {
    for (name, make) in STORES {
        println!("on {name}");
        let folder = tempfile::tempdir().unwrap();
        let client = kvs::blocking::Client::new(make(Arc::new(SystemClock), Limits::default(), folder.path())).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let work = client.transaction(|mut t| {
                            let n: u64 = t.get_typed("n")?.unwrap_or(0);
                            t.set_typed("n", &(n + 1))?;
                            t.set(&format!("turn/{n}"), "")
                        });
                        work.unwrap();
                    }
                });
            }
        });
        assert_eq!(client.typed::<u64>().get("n").unwrap(), Some(40));
        assert_eq!(client.count("turn/").unwrap(), 40);
        let work: Result<()> = client.transaction(|mut t| {
            t.delete("n")?;
            Err(given_up())
        });
        assert!(work.is_err() && client.exists("n").unwrap());
    }
}

#[test]
fn the_blocking_client_gives_up_after_the_last_attempt() {
    let client = kvs::blocking::Client::new(Arc::new(MemoryStore::default())).unwrap();
    let mut runs = 0;
    let work = client.transaction(|mut t| {
        runs += 1;
        t.get("n")?;
        client.increment("n", 1)?;
        t.set("m", "1")
    });
    assert!(work.unwrap_err().is_retryable());
    assert_eq!((runs, client.exists("m").unwrap()), (1000, false));
}

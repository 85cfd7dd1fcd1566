//! The suite that every store and every layer must pass: the contract, case by case.
//!
//! A store's tests call [`run`] with a way to make an empty store; each case gets one of its own. What only a store with
//! files or a server can show (that data outlives the process, that other processes see it) is not asked here.
//!
//! Every case is a named function in one of the files beside this one; a failure names it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is test code; it lives in the library so that stores elsewhere can run it"
)]

mod batches;
mod bench;
mod clock;
mod dates;
mod expectations;
mod limits;
mod nasty;
mod restores;
mod scans;
mod text;
mod together;
mod upkeep;
mod waiting;
mod writes;

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use clock::TestClock;
pub use nasty::{nasty_keys, nasty_strings};

use super::{Limits, Store, Task};
use bench::Bench;

/// How long a case may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a store under test is to be made with.
#[derive(Clone)]
pub struct Setup {
    /// The clock it shall use.
    pub clock: Arc<TestClock>,
    /// The limits it shall keep.
    pub limits: Limits,
}

impl Default for Setup {
    /// A clock of its own, and values of at most 200,000 bytes.
    fn default() -> Self {
        Self { clock: Arc::default(), limits: Limits { value: 200_000 } }
    }
}

/// A case: its name, and what it does with an empty store.
type Case = (&'static str, fn(Bench) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// The cases of one file, by name. A case that is not listed is dead code, which the compiler reports.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[$((
            concat!(module_path!(), "::", stringify!($case)),
            |bench| Box::pin($case(bench)),
        )),+];
    };
}
use cases;

/// Runs every case against an empty store from `make`, all of them even if some fail.
///
/// Call it on a runtime with several threads: some cases look for what only shows when things happen at once.
///
/// # Panics
/// At the end, naming the cases that failed and why.
pub async fn run(make: impl AsyncFn(Setup) -> Arc<dyn Store>) {
    let files = [
        expectations::CASES,
        writes::CASES,
        restores::CASES,
        batches::CASES,
        dates::CASES,
        limits::CASES,
        scans::CASES,
        text::CASES,
        together::CASES,
        waiting::CASES,
        upkeep::CASES,
    ];
    if let Err(text) = failures(&files.concat(), make).await {
        panic!("{text}");
    }
}

/// Runs these cases, all of them, and tells which failed.
async fn failures(cases: &[Case], make: impl AsyncFn(Setup) -> Arc<dyn Store>) -> Result<(), String> {
    let mut failed = vec![];
    for (name, case) in cases {
        let setup = Setup::default();
        let bench = Bench::new(make(setup.clone()).await, setup);
        if let Err(why) = attempt(*case, bench).await {
            failed.push(format!("{}: {why}", name.rsplit("suite::").next().unwrap_or(name)));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n")))
}

/// Runs one case, and behind it the store's own check; or says why it failed.
async fn attempt(case: fn(Bench) -> Pin<Box<dyn Future<Output = ()> + Send>>, bench: Bench) -> Result<(), String> {
    let store = bench.store.clone();
    let task = tokio::spawn(async move {
        case(bench).await;
        for bucket in store.buckets().await.unwrap() {
            let mut findings = store.upkeep(&bucket, Task::Check).await.unwrap().findings;
            findings.retain(|finding| !finding.harmless);
            assert!(findings.is_empty(), "left behind in {bucket}: {findings:?}");
        }
    });
    let stop = task.abort_handle();
    let Ok(ended) = tokio::time::timeout(PATIENCE, task).await else {
        stop.abort();
        return Err(format!("not done after {PATIENCE:?}"));
    };
    let Err(error) = ended else { return Ok(()) };
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => return Err(error.to_string()),
    };
    match payload.downcast::<String>() {
        Ok(text) => Err(*text),
        Err(payload) => match payload.downcast::<&str>() {
            Ok(text) => Err((*text).to_owned()),
            Err(payload) => resume_unwind(payload),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Batch, Bucket, Key, Outcome, Page, Query, Revision, Snapshot};
    use crate::store::Report;

    /// Says that everything was done and does nothing.
    struct Forgetting;

    #[async_trait::async_trait]
    impl Store for Forgetting {
        async fn get(&self, _: &Bucket, keys: &[Key]) -> model::Result<Snapshot> {
            Ok(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] })
        }
        async fn values(&self, bucket: &Bucket, keys: &[Key]) -> model::Result<Vec<Option<bytes::Bytes>>> {
            Ok(self.get(bucket, keys).await?.into_values())
        }
        async fn apply(&self, _: &Bucket, _: Batch) -> model::Result<Outcome> {
            Ok(Outcome::Committed { revision: Revision::ZERO, changes: vec![] })
        }
        async fn scan(&self, _: &Bucket, _: Query) -> model::Result<Page> {
            Ok(Page::default())
        }
        async fn changed(&self, _: &Bucket, _: Revision) -> model::Result<Revision> {
            std::future::pending().await
        }
        async fn buckets(&self) -> model::Result<Vec<Bucket>> {
            Ok(vec![])
        }
        async fn upkeep(&self, _: &Bucket, _: Task) -> model::Result<Report> {
            Ok(Report::default())
        }
    }

    #[tokio::test]
    async fn a_store_that_forgets_fails_and_the_cases_are_named() {
        let cases = [writes::CASES, text::CASES, upkeep::CASES].concat();
        let text = failures(&cases, async |_| Arc::new(Forgetting) as Arc<dyn Store>).await.unwrap_err();
        for name in
            ["writes::put_makes_an_entry", "text::any_key_is_kept_to_the_byte", "upkeep::tasks_count_what_is_there"]
        {
            assert!(text.contains(&format!("\n{name}: ")), "{name} is missing in {text}");
        }
    }

    #[tokio::test]
    async fn a_case_that_passes_is_not_named() {
        let cases: [Case; 2] =
            [("suite::good", |_| Box::pin(async {})), ("suite::bad", |_| Box::pin(async { panic!("as it should") }))];
        let text = failures(&cases, async |_| Arc::new(Forgetting) as Arc<dyn Store>).await.unwrap_err();
        assert_eq!(text, "1 of 2 cases failed:\nbad: as it should");
        let good = failures(&cases[..1], async |_| Arc::new(Forgetting) as Arc<dyn Store>).await;
        assert_eq!(good, Ok(()));
    }
}

//! Runs the cases of the suite against a store.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use super::cases::Case;
use super::optional_parts::{blobs, changes_since, log_retention, logs};
use super::store_under_test::{Setup, TestBench};
use super::{
    batches, concurrency, dates, expectations, limits, maintenance_cases, restores, scans, text, waiting, writes,
};
use crate::store::all_buckets::all_buckets;
use crate::store::contract::{Severity, Store, Task};

/// The maximum duration of a case; a longer one counts as hanging.
const CASE_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs all cases, each against an empty store from `make`, even if some fail.
///
/// Call it on a multi-threaded runtime: some cases test concurrency.
///
/// # Panics
/// At the end, with the names of the failed cases and the reasons.
pub async fn run(make: impl AsyncFn(Setup) -> Arc<dyn Store>) {
    let mut files = vec![
        expectations::CASES,
        writes::CASES,
        restores::CASES,
        batches::CASES,
        dates::CASES,
        limits::CASES,
        scans::CASES,
        text::CASES,
        concurrency::CASES,
        waiting::CASES,
        maintenance_cases::CASES,
    ];
    if make(Setup::default()).await.changes().is_some() {
        files.push(changes_since::CASES);
    }
    if make(Setup::default()).await.logs().is_some() {
        files.extend([logs::CASES, log_retention::CASES]);
    }
    if make(Setup::default()).await.blobs().is_some() {
        files.push(blobs::CASES);
    }
    if let Err(text) = failures(&files.concat(), make).await {
        panic!("{text}");
    }
}

/// Runs these cases and reports those that failed.
async fn failures(cases: &[Case], make: impl AsyncFn(Setup) -> Arc<dyn Store>) -> Result<(), String> {
    let mut failed = vec![];
    for case in cases {
        let setup = Setup::default();
        let bench = TestBench::new(make(setup.clone()).await, setup);
        if let Err(why) = attempt(*case, bench).await {
            let (name, _) = case;
            failed.push(format!("{}: {why}", name.rsplit("suite::").next().unwrap_or(name)));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n")))
}

/// Runs one case and then the store's own check. Returns the reason if one fails.
async fn attempt((_, case): Case, bench: TestBench) -> Result<(), String> {
    let store = bench.store.clone();
    let task = tokio::spawn(async move {
        case(bench).await;
        for bucket in all_buckets(&*store).await.unwrap() {
            let mut findings = store.maintain(&bucket, Task::Check).await.unwrap().findings;
            findings.retain(|finding| finding.severity == Severity::Damage);
            assert!(findings.is_empty(), "damage in {bucket} after the case: {findings:?}");
        }
    });
    let stop = task.abort_handle();
    let Ok(ended) = tokio::time::timeout(CASE_TIMEOUT, task).await else {
        stop.abort();
        return Err(format!("did not end within {CASE_TIMEOUT:?}"));
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
    use crate::model;
    use crate::model::{Batch, Bucket, Key, Outcome, Page, Revision, Scan, Snapshot};
    use crate::store::contract::{Blobs, Changes, Logs, Report};

    /// Reports success and does nothing.
    struct ForgetfulStore;

    #[async_trait::async_trait]
    impl Store for ForgetfulStore {
        async fn get(&self, _: &Bucket, keys: &[Key]) -> model::Result<Snapshot> {
            Ok(Snapshot { revision: Revision::ZERO, entries: vec![None; keys.len()] })
        }
        async fn get_values(&self, bucket: &Bucket, keys: &[Key]) -> model::Result<Vec<Option<bytes::Bytes>>> {
            Ok(self.get(bucket, keys).await?.into_values())
        }
        async fn apply(&self, _: &Bucket, _: Batch) -> model::Result<Outcome> {
            Ok(Outcome::Committed { revision: Revision::ZERO, changes: vec![] })
        }
        async fn scan(&self, _: &Bucket, _: Scan) -> model::Result<Page> {
            Ok(Page::default())
        }
        async fn changed(&self, _: &Bucket, _: Revision) -> model::Result<Revision> {
            std::future::pending().await
        }
        async fn buckets(&self) -> model::Result<Vec<Bucket>> {
            Ok(vec![])
        }
        async fn maintain(&self, _: &Bucket, _: Task) -> model::Result<Report> {
            Ok(Report::default())
        }
        fn changes(&self) -> Option<&dyn Changes> {
            None
        }
        fn logs(&self) -> Option<&dyn Logs> {
            None
        }
        fn blobs(&self) -> Option<&dyn Blobs> {
            None
        }
    }

    #[tokio::test]
    async fn a_forgetful_store_fails_and_the_failed_cases_are_named() {
        let cases = [writes::CASES, text::CASES, maintenance_cases::CASES].concat();
        let text = failures(&cases, async |_| Arc::new(ForgetfulStore) as Arc<dyn Store>).await.unwrap_err();
        for name in [
            "writes::put_creates_an_entry",
            "text::any_key_is_kept_exactly",
            "maintenance_cases::tasks_count_the_entries",
        ] {
            assert!(text.contains(&format!("\n{name}: ")), "{name} is missing in {text}");
        }
    }

    #[tokio::test]
    async fn a_passed_case_is_not_named() {
        let cases: [Case; 2] =
            [("suite::good", |_| Box::pin(async {})), ("suite::bad", |_| Box::pin(async { panic!("on purpose") }))];
        let text = failures(&cases, async |_| Arc::new(ForgetfulStore) as Arc<dyn Store>).await.unwrap_err();
        assert_eq!(text, "1 of 2 cases failed:\nbad: on purpose");
        let good = failures(&cases[..1], async |_| Arc::new(ForgetfulStore) as Arc<dyn Store>).await;
        assert_eq!(good, Ok(()));
    }
}

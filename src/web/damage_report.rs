//! The report of `/status`: the problems of the store that a person must fix.
//!
//! The store is checked at most once per second, even if many requests arrive. The report has the name of a damaged
//! file and the line, but not its folder.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::metrics::counted::Counted;
use super::response::api_error;
use super::response::api_error::ApiError;
use crate::model::{Bucket, Error, ErrorKind};
use crate::store::{Finding, Severity, Task};

/// How long a report is reused.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How many problems and how many notes one report lists.
const MAX_LISTED: usize = 5;

/// The last report. The mutex is locked during a check, so requests that arrive meanwhile share its result.
#[derive(Default)]
pub(crate) struct DamageReport(Mutex<CheckState>);

impl DamageReport {
    /// `ok` with a line for each note, or an error that names the damage.
    pub(crate) async fn text(&self, store: &Counted) -> Result<String, ApiError> {
        let mut checked = self.0.lock().await;
        if let Some((at, text)) = &checked.last
            && at.elapsed() < MAX_AGE
        {
            return text.clone();
        }
        let text = checked.check_all(store).await;
        checked.last = Some((Instant::now(), text.clone()));
        text
    }
}

#[derive(Default)]
struct CheckState {
    last: Option<(Instant, Result<String, ApiError>)>,
    /// The buckets of the last check. A bucket with a problem stays here even if the store does not list it any more.
    buckets: BTreeSet<Bucket>,
    /// The problems of the last check. They are logged only when they change.
    text: String,
}

/// What a check has found so far.
#[derive(Default)]
struct Found {
    /// For the response.
    problems: Vec<String>,
    notes: Vec<String>,
    /// Where the disk is full.
    full: Vec<String>,
    /// The problems with their folders, for the log.
    logged: Vec<String>,
    /// The buckets that could not be checked.
    unknown: Vec<Bucket>,
}

impl CheckState {
    /// `ok` with a line for each note, or an error that names the damage.
    async fn check_all(&mut self, store: &Counted) -> Result<String, ApiError> {
        let mut found = Found::default();
        let mut buckets = self.buckets.clone();
        match store.buckets().await {
            Ok(listed) => self.buckets = listed.into_iter().collect(),
            // Nothing of the store can be used.
            Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable) => return Err(error.into()),
            Err(error) => found.failed(&Bucket::default(), &error),
        }
        // A bucket may have logs only.
        if let Some(logs) = store.logs() {
            match logs.buckets().await {
                Ok(listed) => self.buckets.extend(listed),
                Err(error) => found.failed(&Bucket::default(), &error),
            }
        }
        buckets.extend(self.buckets.iter().cloned());
        // The default bucket is checked even if it was never written, so that each check reads the store.
        buckets.insert(Bucket::default());
        for bucket in buckets {
            let before = found.count();
            match store.maintain(&bucket, Task::Status).await {
                Ok(report) => found.findings(&report.findings),
                Err(error) => found.failed(&bucket, &error),
            }
            if found.count() > before {
                self.buckets.insert(bucket);
            }
            // Each of them may have waited for another machine.
            if found.unknown.len() >= MAX_LISTED {
                break;
            }
        }
        self.report(found)
    }

    /// The response, and lines in the log if the problems have changed.
    fn report(&mut self, mut found: Found) -> Result<String, ApiError> {
        found.notes.sort();
        found.notes.truncate(MAX_LISTED);
        let is_only_full = found.problems.is_empty() && found.unknown.is_empty();
        let text = found.summarize();
        if text != self.text {
            found.logged.sort();
            found.logged.dedup();
            for problem in &found.logged {
                api_error::report_damage(problem);
            }
            self.text.clone_from(&text);
        }
        let notes: String = found.notes.iter().map(|note| format!("\nnote: {note}")).collect();
        match text.is_empty() {
            true => Ok(format!("ok{notes}")),
            false if is_only_full => Err(ApiError::disk_full(text)),
            false => Err(ApiError::needs_operator(text)),
        }
    }
}

impl Found {
    /// How many problems there are.
    fn count(&self) -> usize {
        self.problems.len() + self.full.len() + self.unknown.len()
    }

    fn findings(&mut self, findings: &[Finding]) {
        for finding in findings {
            if finding.severity == Severity::Note {
                self.notes.push(describe(finding));
            } else {
                self.problems.push(describe(finding));
                self.logged.push(describe(finding));
            }
        }
    }

    /// A check that failed. Only the log gets the text of an error that may describe another server.
    fn failed(&mut self, bucket: &Bucket, error: &Error) {
        match error.kind() {
            // Another process has the lock, so the bucket is in use.
            ErrorKind::Busy => return,
            ErrorKind::Corrupt | ErrorKind::PermissionDenied => self.problems.push(without_folders(&error.to_string())),
            ErrorKind::StorageFull => self.full.push(without_folders(&error.to_string())),
            _ => self.unknown.push(bucket.clone()),
        }
        self.logged.push(error.to_string());
    }

    /// The problems on one line, each once. One cause that concerns many buckets is one problem.
    fn summarize(&self) -> String {
        let mut causes = vec![];
        if let Some((first, others)) = self.full.split_first() {
            let others = if others.is_empty() { String::new() } else { format!(" (and {} more files)", others.len()) };
            causes.push(format!("the disk is full: {first}{others}; free some space; reads and deletions still work"));
        }
        if let Some((first, others)) = self.unknown.split_first() {
            let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            causes.push(format!("bucket {first}{others}: the store could not be read; the log of the server says why"));
        }
        causes
            .into_iter()
            .chain(Some(summarize(self.problems.clone())))
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// A finding without its folder.
fn describe(finding: &Finding) -> String {
    let text = without_folders(&finding.text);
    match (file_name(finding), finding.line.filter(|line| *line > 0)) {
        (Some(name), Some(line)) => format!("{name}, line {line}: {text}"),
        (Some(name), None) => format!("{name}: {text}"),
        (None, _) => text,
    }
}

/// The name of the file with a finding, without its folder.
pub(crate) fn file_name(finding: &Finding) -> Option<Cow<'_, str>> {
    finding.file.as_ref().and_then(|file| file.file_name()).map(|name| name.to_string_lossy())
}

/// The problems on one line, each once.
fn summarize(mut problems: Vec<String>) -> String {
    problems.sort();
    problems.dedup();
    let more = problems.len().saturating_sub(MAX_LISTED);
    problems.truncate(MAX_LISTED);
    if more > 0 {
        problems.push(format!("and {more} more; `kvs check` reports all of them"));
    }
    problems.join("; ")
}

/// The text with every path reduced to its file name. A folder may have spaces in its name, so everything is removed
/// from the word that begins a path to the word that contains the last slash, or ends with a punctuation mark: what
/// follows may be "Input/output error".
pub(crate) fn without_folders(text: &str) -> String {
    let mut words: Vec<&str> = vec![];
    let mut start = None;
    for word in text.split(' ') {
        let bare = word.trim_start_matches(['"', '\'', '(', '`']);
        if start.is_none() && (bare.starts_with('/') || bare.starts_with("./") || bare.starts_with("../")) {
            start = Some(words.len());
        }
        match (start, word.rsplit_once('/')) {
            (Some(from), Some((_, name))) => {
                words.truncate(from);
                words.push(name);
            }
            (None, Some((_, name))) if [".yaml", ".lock", ".log"].iter().any(|ending| name.contains(ending)) => {
                words.push(name);
            }
            _ => words.push(word),
        }
        if word.ends_with([':', ',', ';']) {
            start = None;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_reduced_to_file_names() {
        let cases = [
            ("/srv/kv/data/default.yaml:12: not YAML", "default.yaml:12: not YAML"),
            ("data/default.yaml, line 12: not YAML", "default.yaml, line 12: not YAML"),
            ("reading /home/my own/kv data/default.yaml:3: bad", "reading default.yaml:3: bad"),
            ("\"/srv/kv/default.yaml\" line 3", "default.yaml\" line 3"),
            ("reading /srv/kv/default.yaml: Input/output error", "reading default.yaml: Input/output error"),
            ("the key \"kitchen/temp\" is given twice", "the key \"kitchen/temp\" is given twice"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_folders(text), expected);
        }
    }

    fn failed(kinds: &[ErrorKind]) -> Result<String, String> {
        let (mut found, mut state) = (Found::default(), CheckState::default());
        for kind in kinds {
            found.failed(&Bucket::default(), &Error::new(*kind, "cannot write to /srv/a/default.yaml"));
        }
        state.report(found).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn files_of_this_machine_are_named_without_their_folders() {
        for kind in [ErrorKind::Corrupt, ErrorKind::PermissionDenied, ErrorKind::StorageFull] {
            let text = failed(&[kind]).unwrap_err();
            assert!(text.contains("cannot write to default.yaml") && !text.contains("srv"), "{text}");
        }
        let text = failed(&[ErrorKind::Unavailable]).unwrap_err();
        assert!(text.contains("bucket default: ") && !text.contains("default.yaml"), "{text}");
        assert_eq!(failed(&[ErrorKind::Busy]), Ok("ok".into()));
    }

    #[test]
    fn full_disk_hides_no_other_problem() {
        let full = failed(&[ErrorKind::StorageFull; 7]).unwrap_err();
        assert!(full.contains("507") && full.contains("(and 6 more files)"), "{full}");
        let both = failed(&[ErrorKind::StorageFull, ErrorKind::StorageFull, ErrorKind::Corrupt]).unwrap_err();
        assert!(both.contains("500") && both.contains("the disk is full: "), "{both}");
        assert!(both.contains("still work; cannot write to default.yaml"), "{both}");
    }

    #[test]
    fn each_problem_is_listed_once_and_the_rest_are_counted() {
        assert_eq!(summarize(vec![]), "");
        assert_eq!(summarize(["b", "a", "b"].map(String::from).into()), "a; b");
        let text = summarize((0..7).map(|n| n.to_string()).collect());
        assert_eq!(text, "0; 1; 2; 3; 4; and 2 more; `kvs check` reports all of them");
    }
}

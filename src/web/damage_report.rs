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

impl CheckState {
    /// `ok` with a line for each note, or an error that names the damage.
    async fn check_all(&mut self, store: &Counted) -> Result<String, ApiError> {
        let mut buckets = self.buckets.clone();
        let listed: BTreeSet<Bucket> = store.buckets().await.map_err(report_error)?.into_iter().collect();
        buckets.extend(listed.iter().cloned());
        // The default bucket is checked even if it was never written, so that each check reads the store.
        buckets.insert(Bucket::default());
        self.buckets = listed;
        let (mut problems, mut notes): (Vec<String>, Vec<String>) = (vec![], vec![]);
        for bucket in buckets {
            let (bucket_problems, bucket_notes) = check(store, &bucket).await?;
            if !bucket_problems.is_empty() {
                self.buckets.insert(bucket);
            }
            problems.extend(bucket_problems);
            notes.extend(bucket_notes);
        }
        notes.sort();
        notes.truncate(MAX_LISTED);
        let text = summarize(problems.clone());
        if text != self.text {
            for problem in &problems {
                api_error::report_damage(problem);
            }
            self.text.clone_from(&text);
        }
        let notes: String = notes.iter().map(|note| format!("\nnote: {note}")).collect();
        if text.is_empty() { Ok(format!("ok{notes}")) } else { Err(ApiError::needs_operator(text)) }
    }
}

/// The problems of this bucket that a person must fix, and its notes.
async fn check(store: &Counted, bucket: &Bucket) -> Result<(Vec<String>, Vec<String>), ApiError> {
    match store.maintain(bucket, Task::Status).await {
        Ok(report) => {
            let (notes, problems): (Vec<_>, Vec<_>) =
                report.findings.iter().partition(|finding| finding.severity == Severity::Note);
            Ok((problems.into_iter().map(describe).collect(), notes.into_iter().map(describe).collect()))
        }
        // Another process has the lock, so the bucket is in use.
        Err(error) if error.kind() == ErrorKind::Busy => Ok((vec![], vec![])),
        Err(error) => Err(report_error(error)),
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

/// The error of a failed check. Damage is reported in the response and in the log, any other error only in the log.
fn report_error(error: Error) -> ApiError {
    if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::PermissionDenied) {
        return error.into();
    }
    api_error::report_damage(&error);
    ApiError::needs_operator(without_folders(&error.to_string()))
}

/// The text with every path reduced to its file name. A folder may have spaces in its name, so everything is removed
/// from the word that begins a path to the word that contains the last slash.
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
            (None, Some((_, name))) if name.contains(".yaml") || name.contains(".lock") => words.push(name),
            _ => words.push(word),
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
            ("the key \"kitchen/temp\" is given twice", "the key \"kitchen/temp\" is given twice"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_folders(text), expected);
        }
    }

    #[test]
    fn only_damage_is_reported_with_its_file() {
        let text_of = |kind| format!("{:?}", report_error(Error::new(kind, "/srv/a/default.yaml:3: bad")));
        for kind in [ErrorKind::Corrupt, ErrorKind::PermissionDenied] {
            assert!(text_of(kind).contains("default.yaml:3"));
            assert!(!text_of(kind).contains("srv"));
        }
        assert!(!text_of(ErrorKind::Unavailable).contains("default.yaml"));
    }

    #[test]
    fn each_problem_is_listed_once_and_the_rest_are_counted() {
        assert_eq!(summarize(vec![]), "");
        assert_eq!(summarize(["b", "a", "b"].map(String::from).into()), "a; b");
        let text = summarize((0..7).map(|n| n.to_string()).collect());
        assert_eq!(text, "0; 1; 2; 3; 4; and 2 more; `kvs check` reports all of them");
    }
}

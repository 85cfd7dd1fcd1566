//! `GET /status`: `ok`, or what a person must mend.
//!
//! Open to all, so it is cheap however often it is asked: the store is looked at once a second at most. It tells the name and
//! line of a damaged file but not the folder it is in.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::response::Response;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Service;
use super::reply::{self, Cache, Refusal};
use crate::model::{Bucket, Error, Kind};
use crate::store::{Finding, Task};

/// For so long an answer holds.
const FRESH: Duration = Duration::from_secs(1);

/// So many faults are named in one answer.
const NAMED: usize = 5;

/// What `/status` knows. Locked while one looks at the store; all who ask meanwhile are answered by that look.
#[derive(Default)]
pub(crate) struct Overview(Mutex<Looked>);

#[derive(Default)]
struct Looked {
    last: Option<(Instant, Result<String, Refusal>)>,
    /// The buckets of the last look, and those that something was wrong with: one that vanished is still looked at.
    buckets: BTreeSet<Bucket>,
    /// What was wrong, to be logged when it is another.
    text: String,
}

/// Answers `GET /status`.
pub(crate) async fn answer(service: &Service) -> Result<Response, Refusal> {
    let mut looked = service.overview.0.lock().await;
    if let Some((at, answer)) = &looked.last
        && at.elapsed() < FRESH
    {
        return answer.clone().map(|text| reply::text(text, Cache::Never));
    }
    let answer = looked.look(service).await;
    looked.last = Some((Instant::now(), answer.clone()));
    answer.map(|text| reply::text(text, Cache::Never))
}

impl Looked {
    /// `ok`, with a line for each thing that a person should know.
    async fn look(&mut self, service: &Service) -> Result<String, Refusal> {
        let mut ask = self.buckets.clone();
        let listed: BTreeSet<Bucket> = service.store.buckets().await.map_err(told)?.into_iter().collect();
        ask.extend(listed.iter().cloned());
        // Also if it has never been written: at least one bucket tells how the store is.
        ask.insert(Bucket::default());
        self.buckets = listed;
        let (mut found, mut notes): (Vec<String>, Vec<String>) = (vec![], vec![]);
        for bucket in ask {
            let (texts, harmless) = check(service, &bucket).await?;
            if !texts.is_empty() {
                self.buckets.insert(bucket);
            }
            found.extend(texts);
            notes.extend(harmless);
        }
        notes.sort();
        notes.truncate(NAMED);
        let text = summed_up(found.clone());
        if text != self.text {
            for text in &found {
                reply::report_damage(text);
            }
            self.text.clone_from(&text);
        }
        let notes: String = notes.iter().map(|note| format!("\nnote: {note}")).collect();
        if text.is_empty() { Ok(format!("ok{notes}")) } else { Err(Refusal::damaged(text)) }
    }
}

/// What a person must mend of this bucket, and what a person should know.
async fn check(service: &Service, bucket: &Bucket) -> Result<(Vec<String>, Vec<String>), Refusal> {
    match service.store.upkeep(bucket, Task::Status).await {
        Ok(report) => {
            let (notes, faults): (Vec<_>, Vec<_>) = report.findings.iter().partition(|finding| finding.harmless);
            Ok((faults.into_iter().map(shown).collect(), notes.into_iter().map(shown).collect()))
        }
        // Others hold it, so it works.
        Err(error) if error.kind() == Kind::Busy => Ok((vec![], vec![])),
        Err(error) => Err(told(error)),
    }
}

/// A finding without its folder.
fn shown(finding: &Finding) -> String {
    let text = without_folders(&finding.text);
    let name = finding.file.as_ref().and_then(|file| file.file_name()).map(|name| name.to_string_lossy());
    match (name, finding.line.filter(|line| *line > 0)) {
        (Some(name), Some(line)) => format!("{name}, line {line}: {text}"),
        (Some(name), None) => format!("{name}: {text}"),
        (None, _) => text,
    }
}

/// All that was found, each once, on one line.
fn summed_up(mut found: Vec<String>) -> String {
    found.sort();
    found.dedup();
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    if more > 0 {
        found.push(format!("and {more} more: `kvs check` names them all"));
    }
    found.join("; ")
}

fn told(error: Error) -> Refusal {
    if !matches!(error.kind(), Kind::Damaged | Kind::PermissionDenied) {
        return error.into();
    }
    reply::report_damage(&error);
    Refusal::damaged(without_folders(&error.to_string()))
}

/// The text with every path in it cut down to its last part. A folder may have blanks in its name: from a word that
/// begins a path up to the word that holds the last slash, all is cut.
fn without_folders(text: &str) -> String {
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
    fn a_path_is_cut_to_its_last_part() {
        let cases = [
            ("/srv/kv/data/default.yaml:12: not YAML", "default.yaml:12: not YAML"),
            ("data/default.yaml, line 12: not YAML", "default.yaml, line 12: not YAML"),
            ("reading /home/my own/kv data/default.yaml:3: bad", "reading default.yaml:3: bad"),
            ("\"/srv/kv/default.yaml\" line 3", "default.yaml\" line 3"),
            ("the key \"kitchen/temp\" stands twice", "the key \"kitchen/temp\" stands twice"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_folders(text), expected);
        }
    }

    #[test]
    fn only_what_a_person_must_mend_is_told() {
        let told = |kind| format!("{:?}", told(Error::new(kind, "/srv/a/default.yaml:3: bad")));
        for kind in [Kind::Damaged, Kind::PermissionDenied] {
            assert!(told(kind).contains("default.yaml:3"));
            assert!(!told(kind).contains("srv"));
        }
        assert!(!told(Kind::Failed).contains("default.yaml"));
    }

    #[test]
    fn each_fault_is_named_once_and_many_are_counted() {
        assert_eq!(summed_up(vec![]), "");
        assert_eq!(summed_up(["b", "a", "b"].map(String::from).into()), "a; b");
        let text = summed_up((0..7).map(|n| n.to_string()).collect());
        assert_eq!(text, "0; 1; 2; 3; 4; and 2 more: `kvs check` names them all");
    }
}

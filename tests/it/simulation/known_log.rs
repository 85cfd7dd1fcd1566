//! What is known of a log: all states that it can have, like those of a bucket.

use std::collections::VecDeque;

use kvs::model::{AppendOutcome, ErrorKind, LogPage, Result as Answer};

/// A log as readers see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct LogState {
    entries: VecDeque<(u64, String)>,
    first: u64,
    pub(super) next: u64,
    max_entries: Option<u64>,
}

/// What is done to a log.
#[derive(Clone, Debug)]
pub(super) enum LogDeed {
    Append {
        values: Vec<String>,
        index: Option<u64>,
        #[expect(clippy::option_option, reason = "as before, everything, or so many")]
        keeps: Option<Option<u64>>,
    },
    Remove {
        before: Option<u64>,
    },
}

/// The answer to a deed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LogAnswer {
    Appended(u64),
    Taken(u64),
    Removed(Option<u64>),
}

impl From<AppendOutcome> for LogAnswer {
    fn from(outcome: AppendOutcome) -> Self {
        match outcome {
            AppendOutcome::Appended { index } => Self::Appended(index),
            AppendOutcome::IndexTaken { next } => Self::Taken(next),
        }
    }
}

impl LogState {
    fn trim(&mut self, from: u64) -> u64 {
        let before = self.entries.len();
        while self.entries.front().is_some_and(|(index, _)| *index < from) {
            self.entries.pop_front();
        }
        if self.entries.len() < before {
            self.first = self.entries.front().map_or(self.next, |(index, _)| *index);
        }
        (before - self.entries.len()) as u64
    }

    fn keep(&mut self) {
        if let Some(max) = self.max_entries {
            self.trim(self.next.saturating_sub(max));
        }
    }

    fn is(&self, page: &LogPage) -> bool {
        let found = page.entries.iter().map(|entry| (entry.index, entry.as_text().unwrap_or("no text")));
        let known = self.entries.iter().map(|(index, value)| (*index, value.as_str()));
        found.eq(known)
            && (self.first, self.next, self.max_entries) == (page.first, page.next, page.retention.max_entries)
    }
}

/// The state after a deed, and the answer.
fn done(state: Option<&LogState>, deed: &LogDeed) -> (Option<LogState>, LogAnswer) {
    match deed {
        LogDeed::Append { values, index, keeps } => {
            let mut log = state.cloned().unwrap_or_default();
            let first = index.unwrap_or(log.next);
            if first < log.next {
                return (state.cloned(), LogAnswer::Taken(log.next));
            }
            log.max_entries = keeps.unwrap_or(log.max_entries);
            if log.entries.is_empty() {
                log.first = first;
            }
            log.next = first;
            for value in values {
                log.entries.push_back((log.next, value.clone()));
                log.next += 1;
            }
            log.keep();
            (Some(log), LogAnswer::Appended(first))
        }
        LogDeed::Remove { before } => {
            let Some(mut log) = state.cloned() else { return (None, LogAnswer::Removed(None)) };
            let removed = log.trim(before.unwrap_or(u64::MAX));
            let left = before.map(|_| log);
            (left, LogAnswer::Removed(Some(removed)))
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Candidate {
    state: Option<LogState>,
    /// The answer to the deed in progress, if it is done already.
    early: Option<LogAnswer>,
    /// Earlier states that a read in progress may return.
    earlier: Vec<Option<LogState>>,
    /// These two of the deed within which another one is in progress.
    outer: (Option<LogAnswer>, Vec<Option<LogState>>),
}

impl Candidate {
    /// After a deed, or after a read.
    fn with(&self, state: Option<LogState>) -> Self {
        Self { state, outer: self.outer.clone(), ..Self::default() }
    }
}

#[derive(Debug)]
pub(super) struct KnownLog {
    candidates: Vec<Candidate>,
    /// Whether a removal of the whole log may come undone: its outcome is unknown, and nobody has appended since.
    may_return: bool,
    /// Every value that was ever to be appended.
    pub(super) ever: Vec<String>,
}

impl Default for KnownLog {
    fn default() -> Self {
        Self { candidates: vec![Candidate::default()], may_return: false, ever: vec![] }
    }
}

impl KnownLog {
    /// The index of the next entry, as far as is known.
    pub(super) fn next(&self) -> u64 {
        self.candidates[0].state.as_ref().map_or(0, |state| state.next)
    }

    /// Another process will do something now, while this is in progress; `None`: a read.
    pub(super) fn fork(&mut self, deed: Option<&LogDeed>) {
        let mut early = vec![];
        for candidate in &mut self.candidates {
            match deed {
                None => candidate.earlier.push(candidate.state.clone()),
                Some(deed) if candidate.early.is_none() => {
                    let (state, answer) = done(candidate.state.as_ref(), deed);
                    early.push(Candidate { early: Some(answer), ..candidate.with(state) });
                }
                Some(_) => {}
            }
        }
        self.candidates.extend(early);
    }

    /// Another process begins to do something within the deed in progress.
    pub(super) fn begin_inner(&mut self) {
        for candidate in &mut self.candidates {
            candidate.outer = (candidate.early.take(), std::mem::take(&mut candidate.earlier));
        }
    }

    pub(super) fn end_inner(&mut self) {
        for candidate in &mut self.candidates {
            (candidate.early, candidate.earlier) = std::mem::take(&mut candidate.outer);
        }
    }

    fn keep(&mut self, candidates: Vec<Candidate>, found: &str) -> Result<(), String> {
        let mut kept: Vec<Candidate> = vec![];
        for candidate in candidates {
            let candidate = candidate.with(candidate.state.clone());
            if !kept.contains(&candidate) {
                kept.push(candidate);
            }
        }
        if kept.is_empty() {
            return Err(format!("{found}, but expected one of {:?}", self.candidates));
        }
        self.candidates = kept;
        Ok(())
    }

    /// A deed has this answer; `None` if its process ended before it was known.
    pub(super) fn has_done(&mut self, deed: &LogDeed, answer: Option<&Answer<LogAnswer>>) -> Result<(), String> {
        if let LogDeed::Append { values, .. } = deed {
            self.ever.extend(values.iter().cloned());
        }
        let is_whole = matches!(deed, LogDeed::Remove { before: None });
        let mut kept = vec![];
        match answer {
            Some(Ok(answer)) => {
                for candidate in &self.candidates {
                    let (state, expected) = match &candidate.early {
                        Some(early) => (candidate.state.clone(), early.clone()),
                        None => done(candidate.state.as_ref(), deed),
                    };
                    if expected == *answer {
                        kept.push(candidate.with(state));
                    }
                }
                if *answer == LogAnswer::Removed(None) && self.may_return {
                    kept.clone_from(&self.candidates);
                } else {
                    self.may_return = false;
                }
            }
            Some(Err(error)) if !error.is_outcome_unknown() => {
                if !matches!(error.kind(), ErrorKind::Busy | ErrorKind::StorageFull | ErrorKind::PermissionDenied) {
                    return Err(format!("{deed:?} failed: {error}"));
                }
                kept.extend(self.candidates.iter().filter(|candidate| candidate.early.is_none()).cloned());
            }
            None | Some(Err(_)) => {
                kept.clone_from(&self.candidates);
                for candidate in self.candidates.iter().filter(|candidate| candidate.early.is_none()) {
                    let state = done(candidate.state.as_ref(), deed).0;
                    kept.push(candidate.with(state));
                }
                self.may_return |= is_whole;
            }
        }
        self.keep(kept, &format!("{deed:?} has the answer {answer:?}"))
    }

    /// A read has returned this.
    pub(super) fn has_read(&mut self, page: Option<&LogPage>) -> Result<(), String> {
        if page.is_none() && self.may_return && self.candidates.iter().any(|candidate| candidate.state.is_none()) {
            return Ok(());
        }
        let is = |state: &Option<LogState>| match (state, page) {
            (None, None) => true,
            (Some(state), Some(page)) => state.is(page),
            _ => false,
        };
        let fits = |candidate: &&Candidate| is(&candidate.state) || candidate.earlier.iter().any(is);
        let kept = self.candidates.iter().filter(fits).cloned().collect();
        self.keep(kept, &format!("read {page:?}"))
    }

    pub(super) fn has_not_read(&mut self) {
        for candidate in &mut self.candidates {
            candidate.earlier.clear();
        }
    }
}

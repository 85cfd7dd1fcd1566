//! What is wrong with a deployment, and what to change in which file: of a folder, and of a site by its address.

pub(crate) mod deployment;
pub(crate) mod folder;
mod site_files;

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// It does not work, loses data, or shows secrets.
    Problem(String),
    /// It works, but somebody may want to know.
    Note(String),
}

/// The findings of a series of checks.
#[derive(Default, Debug)]
pub(crate) struct Diagnosis {
    /// The number of checks.
    pub(crate) checks: u64,
    pub(crate) findings: Vec<Finding>,
}

impl Diagnosis {
    /// Counts a check, and keeps what it found.
    pub(crate) fn check(&mut self, found: Option<Finding>) {
        self.checks += 1;
        self.findings.extend(found);
    }

    /// The number of problems.
    pub(crate) fn problems(&self) -> u64 {
        self.findings.iter().filter(|finding| matches!(finding, Finding::Problem(_))).count() as u64
    }
}

/// A problem if `is_wrong`.
fn problem_if(is_wrong: bool, text: impl FnOnce() -> String) -> Option<Finding> {
    is_wrong.then(|| Finding::Problem(text()))
}

/// A note if `is_odd`.
fn note_if(is_odd: bool, text: impl FnOnce() -> String) -> Option<Finding> {
    is_odd.then(|| Finding::Note(text()))
}

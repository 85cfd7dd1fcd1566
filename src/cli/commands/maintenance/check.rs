//! `kvs check`: looks for damage in the stored data, without changing it.

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::each_bucket;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::store::{Finding, Severity, Task};

const EXAMPLES: &str = "\
Examples:
  kvs check                      all buckets
  kvs check --bucket default     one bucket
  kvs check --quiet || mail -s 'kvs is damaged' me@example.org < /dev/null";

/// Look for damage
///
/// Changes nothing. Prints a line for each finding: the file, its line, what is wrong and what to do. Exit code 1 if
/// data is damaged. A note is not damage: it is about something that the store repairs at the next write, or about an
/// auth file or encryption keys that every user of the machine can read.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

pub(crate) async fn run(settings: &CliSettings, _: Args) -> CliResult {
    let mut output = Output::new();
    let checked = each_bucket::each(settings, "checking", async |store, bucket| {
        let report = store.maintain(bucket, Task::Check).await?;
        for finding in &report.findings {
            output.line(&line(finding))?;
        }
        if report.findings.iter().any(|finding| finding.severity == Severity::Damage) {
            return Err(Failure::AlreadyReported);
        }
        let is_sound = report.findings.is_empty();
        Ok(is_sound.then(|| format!("{}, no damage", count_noun(report.entries, "entry", "entries"))))
    });
    let checked = checked.await;
    if let Some(exposure) = settings.exposure() {
        output.line(&format!("note: {exposure}"))?;
    }
    output.finish()?;
    checked
}

/// A finding in the format of compilers, so that editors can jump to it.
fn line(finding: &Finding) -> String {
    let position = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        (None, _) => String::new(),
    };
    let note = if finding.severity == Severity::Note { "note: " } else { "" };
    format!("{position}{note}{}", finding.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_begins_with_its_file_and_line() {
        let finding = |file: Option<&str>, line, severity| Finding {
            file: file.map(Into::into),
            line,
            text: "bad".into(),
            severity,
        };
        assert_eq!(line(&finding(Some("data/a.yaml"), Some(3), Severity::Damage)), "data/a.yaml:3: bad");
        assert_eq!(line(&finding(Some("data/a.yaml"), None, Severity::Note)), "data/a.yaml: note: bad");
        assert_eq!(line(&finding(None, None, Severity::Damage)), "bad");
    }
}

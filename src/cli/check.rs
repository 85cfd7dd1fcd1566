//! `kvs check`: reads all that is stored and says what is wrong, changing nothing.

use clap::Args;

use super::buckets;
use super::failure::{Done, Failure};
use super::output::Output;
use super::settings::Settings;
use super::units::counted;
use crate::store::{Finding, Task};

const EXAMPLES: &str = "\
Examples:
  kvs check                      all buckets
  kvs check --bucket default     one
  kvs check --quiet || mail -s 'kvs is damaged' me@example.org < /dev/null";

/// Look for damage, changing nothing
///
/// Prints a line for each finding: the file, the line in it, what is wrong and what to do. Exit code 1 if something is
/// damaged; what the store mends by itself at the next write is told, but is no damage. Nor is a file of secrets that
/// every user of the machine can read.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {}

pub(super) async fn run(settings: &Settings, _: Given) -> Done {
    let mut output = Output::new();
    let checked = buckets::each(settings, "checking", async |store, bucket| {
        let report = store.upkeep(bucket, Task::Check).await?;
        for finding in &report.findings {
            output.line(&line(finding))?;
        }
        if report.findings.iter().any(|finding| !finding.harmless) {
            return Err(Failure::Told);
        }
        let sound = report.findings.is_empty();
        Ok(sound.then(|| format!("{}, all in order", counted(report.entries, "entry", "entries"))))
    });
    let checked = checked.await;
    if let Some(exposure) = settings.auth.exposure() {
        output.line(&format!("note: {exposure}"))?;
    }
    output.done()?;
    checked
}

/// A finding as compilers write it, so that editors can jump to the place.
fn line(finding: &Finding) -> String {
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        (None, _) => String::new(),
    };
    let note = if finding.harmless { "note: " } else { "" };
    format!("{place}{note}{}", finding.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_begins_with_its_place() {
        let finding = |file: Option<&str>, line, harmless| Finding {
            file: file.map(Into::into),
            line,
            text: "bad".into(),
            harmless,
        };
        assert_eq!(line(&finding(Some("data/a.yaml"), Some(3), false)), "data/a.yaml:3: bad");
        assert_eq!(line(&finding(Some("data/a.yaml"), None, true)), "data/a.yaml: note: bad");
        assert_eq!(line(&finding(None, None, false)), "bad");
    }
}

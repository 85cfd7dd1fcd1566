//! `kvs doctor`: checks a deployment, and says what to change in which file.

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::remote_secret;
use crate::cli::diagnosis::deployment::Site;
use crate::cli::diagnosis::{Diagnosis, Finding, folder};
use crate::cli::exit::{CliResult, Failure};
use crate::cli::output::Output;
use crate::remote::RemoteAddress;

const EXAMPLES: &str = "\
Examples:
  kvs doctor                                   this folder, its store and this machine
  KVS_HOME=/srv/site kvs doctor                the folder of a site
  kvs doctor --url https://example.org/kvs/    a site, as its clients see it";

/// Check a deployment, and say what to change
///
/// Without --url it checks the folder of auth.txt, the store and this machine: rights, disk, locks, clock, data, the
/// program and .htaccess. Run it as the user who runs kvs. With --url it sends requests to a site, and checks what the web
/// server does with them: whether files can be downloaded, and what happens to paths, headers, methods and bodies.
///
/// Prints a line for each problem. Exit code 1 if there is one. Nothing is stored. The requests contain the secret in
/// `KVS_SECRET` or --secret-file; without one a wrong secret, which the server counts as one guess.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The address of a site
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let mut diagnosis = Diagnosis::default();
    match &args.url {
        Some(url) => {
            let address: RemoteAddress = url.parse().map_err(|e| Failure::Usage(format!("--url: {e}")))?;
            let secret = remote_secret::given(settings.store_options.secret_file.as_deref())?;
            Site::new(&address, secret).check(&mut diagnosis).await;
        }
        None => folder::check(settings, &mut diagnosis).await?,
    }
    let mut output = Output::new();
    for finding in &diagnosis.findings {
        output.line(&match finding {
            Finding::Problem(text) => format!("problem: {text}"),
            Finding::Note(text) => format!("note: {text}"),
        })?;
    }
    output.finish()?;
    let problems = diagnosis.problems();
    settings.note(&format!(
        "{}, {}",
        count_noun(diagnosis.checks, "check", "checks"),
        count_noun(problems, "problem", "problems")
    ));
    if problems > 0 { Err(Failure::AlreadyReported) } else { Ok(()) }
}

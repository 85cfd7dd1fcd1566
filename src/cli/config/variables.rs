//! The `KVS_*` environment variables. An unknown name is an error, as in `config.yaml`: after `KVS_READ=secret` nothing
//! would be secret.

use clap::Command;

use super::suggest::nearest;
use crate::cli::exit::{CliResult, Failure};

const PREFIX: &str = "KVS_";

/// Variables that are not settings: of the program itself, of a request under a web server, of the programs in
/// `examples/` and of the files in `deploy/`.
const OTHERS: [&str; 14] = [
    "KVS_HOME",
    "KVS_LOG",
    "KVS_CLIENT_LENGTH",
    "KVS_CLIENT_CHUNKED",
    "KVS_URL",
    "KVS_SECRET",
    "KVS_DEPLOY",
    "KVS_GROUP",
    "KVS_MODULES",
    "KVS_PORT",
    "KVS_RUN",
    "KVS_SITE",
    "KVS_SOCKET",
    "KVS_USER",
];

/// Checks that each variable with our prefix is known. `program` builds the parser with all flags.
///
/// # Errors
/// The first unknown name, with a suggestion.
pub(crate) fn check(names: impl Iterator<Item = String>, program: impl FnOnce() -> Command) -> CliResult {
    let may_be_setting = |name: &String| name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str());
    let names: Vec<String> = names.filter(may_be_setting).filter(|name| !is_of_a_cluster(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let program = &program();
    let commands = std::iter::once(program).chain(program.get_subcommands());
    let args = commands.flat_map(Command::get_arguments);
    let mut settings: Vec<String> = args.filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())).collect();
    settings.sort();
    settings.dedup();
    let Some(name) = names.into_iter().filter(|name| !settings.contains(name)).min() else { return Ok(()) };
    // People also set the first two of the others. The common prefix does not make two names similar.
    let all: Vec<&str> = settings.iter().map(String::as_str).chain(OTHERS.into_iter().take(2)).collect();
    let bare = |name: &'_ str| name.get(PREFIX.len()..).unwrap_or_default().to_owned();
    let bares: Vec<String> = all.iter().map(|name| bare(name)).collect();
    let bares: Vec<&str> = bares.iter().map(String::as_str).collect();
    let hint = match nearest(&bare(&name), &bares) {
        Some(bare) => format!("did you mean `{PREFIX}{bare}`?"),
        None => format!("the names are {}.", all.join(", ")),
    };
    Err(Failure::Usage(format!("there is no variable `{name}`; {hint} Correct its name or unset it")))
}

/// Kubernetes and Docker set variables of this form for a service named `kvs` or `kvs-...`.
fn is_of_a_cluster(name: &str) -> bool {
    let ends = |end: &str| name.ends_with(end);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_port = |rest: &str| rest.split('_').next().is_some_and(is_number);
    ends("_SERVICE_HOST")
        || ends("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (ends("_PORT") && name != "KVS_PORT")
        || name.match_indices("_PORT_").any(|(at, end)| name.get(at + end.len()..).is_some_and(is_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn checked(name: &str) -> Result<(), String> {
        let command = Command::new("kvs").arg(Arg::new("reads").env("KVS_READS"));
        let names = ["PATH", "KVS_READS", name].map(ToOwned::to_owned);
        check(names.into_iter(), || command.clone()).map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn an_unknown_name_is_an_error_with_a_suggestion() {
        let text = checked("KVS_READ").unwrap_err();
        assert!(text.starts_with("there is no variable `KVS_READ`; did you mean `KVS_READS`?"), "{text}");
        assert!(checked("KVS_HOMES").unwrap_err().contains("did you mean `KVS_HOME`?"));
        assert!(checked("KVS_TOTALLY_ELSE").unwrap_err().contains("the names are KVS_READS, KVS_HOME, KVS_LOG"));
    }

    #[test]
    fn variables_of_other_programs_are_ignored() {
        for name in ["KVSREADS", "KVS", "XKVS_READ", "KVS_URL", "KVS_CLIENT_LENGTH", "REDIRECT_KVS_CLIENT_LENGTH"] {
            assert!(checked(name).is_ok(), "{name}");
        }
        for name in [
            "KVS_SERVICE_HOST",
            "KVS_SERVICE_PORT",
            "KVS_SERVICE_PORT_HTTP",
            "KVS_PORT",
            "KVS_PORT_8080_TCP",
            "KVS_PORT_8080_TCP_ADDR",
            "KVS_CACHE_PORT",
            "KVS_CACHE_PORT_80_TCP",
        ] {
            assert!(checked(name).is_ok(), "{name}");
        }
        assert!(checked("KVS_PORT_NUMBER").is_err());
    }
}

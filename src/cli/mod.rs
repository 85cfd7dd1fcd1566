//! The program: what was started decides what is done. The one floor that knows all others, and puts them together.
//!
//! Started by a web server (CGI, FastCGI) it serves and never reads its arguments, which a client may have chosen;
//! else they are a command line. Data goes to standard output, all else to standard error.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use tracing_subscriber::filter::LevelFilter;

use crate::door::{Activated, Spawned};

mod app;
mod args;
mod buckets;
mod check;
mod check_config;
mod compact;
mod completions;
mod config;
mod copy;
mod delete;
mod edit;
mod existing;
mod export;
mod failure;
mod format;
mod get;
mod home;
mod hooks;
mod import;
mod incr;
mod layers;
mod lines;
mod list;
mod logs;
mod man;
mod nearest;
mod open;
mod output;
mod passcode;
mod place;
mod policies;
mod serve;
mod set;
mod settings;
mod spawned;
mod store;
mod sweep;
mod units;
mod usage;
mod variables;

use args::{Command, Typed};
use failure::{Done, Failure};
use place::Place;
use settings::Settings;

/// Does what the program was started for.
pub fn run() -> ExitCode {
    // What cannot be looked at was not put there by a web server.
    match Spawned::detect().unwrap_or(Spawned::No) {
        Spawned::Cgi => spawned::cgi(),
        Spawned::FastCgi(listener) => spawned::fastcgi(listener),
        Spawned::No => commands(),
    }
}

fn commands() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let (typed, matches) = match Typed::parse(arguments.clone()) {
        Ok(parsed) => parsed,
        Err(error) => return usage::failure(error, &arguments).report(),
    };
    let (usual, of) = match typed.command {
        Command::Serve(_) => (LevelFilter::INFO, logs::Of::Server),
        _ => (LevelFilter::WARN, logs::Of::Command),
    };
    let log = logs::start(logs::level(usual, typed.global.quiet, typed.global.verbose), of);
    let mends = matches!(typed.command, Command::Edit(_));
    let outcome = command(typed, &matches);
    if mends && outcome.is_ok() {
        log.forget();
    }
    log.finish(&outcome);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn command(typed: Typed, matches: &ArgMatches) -> Done {
    match typed.command {
        // These need no settings, so that a slip in config.yaml does not stand in their way.
        Command::Completions(given) => return completions::run(given),
        Command::Man(given) => return man::run(given),
        _ => {}
    }
    let settings = Settings::resolve(typed.global, matches, &Place::for_commands()?);
    let settings = match typed.command {
        Command::Passcode(given) => return passcode::run(&settings?, given),
        Command::Serve(given) if given.check_config => return check_config::run(settings),
        _ => settings?,
    };
    // Before the threads of the runtime: it changes the environment.
    let activated = match typed.command {
        Command::Serve(_) => Activated::from_env()?,
        _ => Activated::default(),
    };
    let mut runtime = match typed.command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Failed(format!("cannot start: {e}")))?;
    let is_server = matches!(typed.command, Command::Serve(_));
    let done = runtime.block_on(async {
        match typed.command {
            Command::Serve(_) => serve::run(settings, activated).await,
            other => {
                let done = on_data(&settings, other).await;
                // Also of what was written before something failed.
                settings.delivery.finish(Duration::MAX).await;
                done
            }
        }
    });
    if is_server {
        // Whoever is still at work has no client any more, and a store expects its process to end at any moment.
        runtime.shutdown_timeout(serve::LAST);
    }
    done
}

/// The commands that read and write what is stored.
async fn on_data(settings: &Settings, command: Command) -> Done {
    match command {
        Command::Get(given) => get::run(settings, given).await,
        Command::Set(given) => set::run(settings, given).await,
        Command::Delete(given) => delete::run(settings, given).await,
        Command::List(given) => list::run(settings, given).await,
        Command::Incr(given) => incr::run(settings, given).await,
        Command::Edit(given) => edit::run(settings, given).await,
        Command::Export(given) => export::run(settings, given).await,
        Command::Import(given) => import::run(settings, given).await,
        Command::Copy(given) => copy::run(settings, given).await,
        Command::Check(given) => check::run(settings, given).await,
        Command::Compact(given) => compact::run(settings, given).await,
        Command::Sweep(given) => sweep::run(settings, given).await,
        Command::Store(given) => store::run(settings, given).await,
        Command::Serve(_) | Command::Passcode(_) | Command::Completions(_) | Command::Man(_) => Ok(()),
    }
}

//! The program `kvs`: the command line, and what runs under a web server. This floor knows all others.
//!
//! If a web server started the program (CGI, FastCGI), it serves and ignores its arguments, because a client may choose
//! them. Otherwise the arguments are a command line. Data goes to standard output, everything else to standard error.

mod command;
mod commands;
mod config;
mod data;
mod diagnosis;
mod exit;
mod format;
mod log;
mod new_file;
mod new_secret;
mod output;
mod random;
mod serving;
mod stderr;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use tracing_subscriber::filter::LevelFilter;

use self::command::{Command, CommandLine};
use self::commands::backups::{backup, restore};
use self::commands::maintenance::{check, compact, doctor, rekey, sweep};
use self::commands::{
    buckets, check_config, completions, copy, delete, edit, export, get, import, incr, init, list, logs, man, passcode,
    serve, set, store_init, watch,
};
use self::config::home::HomeDir;
use self::config::settings::CliSettings;
use self::exit::CliResult;
use self::log::{Log, LogKind};
use self::serving::runtimes::Runtimes;
use self::serving::under_web_server;
use crate::server::{Activated, Launch};

/// Runs the program and returns its exit code.
pub fn run() -> ExitCode {
    // Standard input that cannot be examined does not come from a web server.
    match Launch::detect().unwrap_or(Launch::Standalone) {
        Launch::Cgi => under_web_server::cgi(),
        Launch::FastCgi(listener) => under_web_server::fastcgi(listener),
        Launch::Standalone => run_command_line(),
    }
}

fn run_command_line() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let (typed, matches) = match CommandLine::parse(&arguments) {
        Ok(parsed) => parsed,
        Err(failure) => return failure.report(),
    };
    let (default, kind) = match typed.command {
        Command::Serve(_) => (LevelFilter::INFO, LogKind::Server),
        _ => (LevelFilter::WARN, LogKind::Command),
    };
    let log = log::start(log::level(default, typed.global.quiet, typed.global.verbose), kind);
    let is_edit = matches!(typed.command, Command::Edit(_));
    let outcome = run_command(typed, &matches, &log);
    if is_edit && outcome.is_ok() {
        // The damage that the store found is repaired.
        log.forget_damage();
    }
    log.finish(&outcome);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run_command(typed: CommandLine, matches: &ArgMatches, log: &Log) -> CliResult {
    match typed.command {
        // These need no settings, so they work even if config.yaml has an error.
        Command::Completions(args) => return completions::run(args, command::parser()),
        Command::Man(args) => return man::run(args, command::parser()),
        Command::Init(args) => return init::run(args, typed.global.quiet),
        _ => {}
    }
    let settings = command::settings(typed.global, matches, &HomeDir::for_commands()?);
    let settings = match typed.command {
        Command::Passcode(args) => return passcode::run(&settings?, args),
        Command::Serve(args) if args.check_config => return check_config::run(settings),
        _ => settings?,
    };
    if matches!(typed.command, Command::Serve(_)) {
        log.configure(settings.server.log.log_format, settings.server.log.request_log);
        serving::disable_huge_pages();
        serving::disable_core_files();
    }
    // Before the runtime starts threads, because it changes the environment.
    let activated = match typed.command {
        Command::Serve(_) => Activated::from_env()?,
        _ => Activated::default(),
    };
    let is_server = matches!(typed.command, Command::Serve(_));
    let runtimes = if is_server { Runtimes::of_server(settings.store.is_database()) } else { Runtimes::of_command() }?;
    let done = runtimes.block_on(async {
        match typed.command {
            Command::Serve(_) => serve::run(settings, activated, runtimes.workers()).await,
            other => {
                let done = on_store(&settings, other).await;
                // Also after an error: some writes may have succeeded.
                settings.hooks.finish(Duration::MAX).await;
                done
            }
        }
    });
    if is_server {
        // Threads that still work have no client any more, and a store may be killed at any time.
        runtimes.shut_down(serve::THREAD_TIMEOUT);
    }
    done
}

/// The commands that read or write the store.
async fn on_store(settings: &CliSettings, command: Command) -> CliResult {
    match command {
        Command::Get(args) => get::run(settings, args).await,
        Command::Set(args) => set::run(settings, args).await,
        Command::Delete(args) => delete::run(settings, args).await,
        Command::List(args) => list::run(settings, args).await,
        Command::Buckets(args) => buckets::run(settings, args).await,
        Command::Watch(args) => watch::run(settings, args).await,
        Command::Log(args) => logs::show::run(settings, args).await,
        Command::Append(args) => logs::append::run(settings, args).await,
        Command::Incr(args) => incr::run(settings, args).await,
        Command::Edit(args) => edit::run(settings, args).await,
        Command::Export(args) => export::run(settings, args).await,
        Command::Import(args) => import::run(settings, args).await,
        Command::Copy(args) => copy::run(settings, args).await,
        Command::Backup(args) => backup::run(settings, args).await,
        Command::Restore(args) => restore::run(settings, args).await,
        Command::Check(args) => check::run(settings, args).await,
        Command::Doctor(args) => doctor::run(settings, args).await,
        Command::Compact(args) => compact::run(settings, args).await,
        Command::Rekey(args) => rekey::run(settings, args).await,
        Command::Sweep(args) => sweep::run(settings, args).await,
        Command::Store(args) => store_init::run(settings, args).await,
        Command::Serve(_) | Command::Init(_) | Command::Passcode(_) | Command::Completions(_) | Command::Man(_) => {
            Ok(())
        }
    }
}

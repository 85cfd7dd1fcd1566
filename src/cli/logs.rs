//! The log: lines on standard error. Nothing secret is ever given to it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts the log. `KVS_LOG` (`debug`, `kvs::yaml=trace,warn`) wins over the level. The time is left out where another
/// log, as the one of Apache, puts its own in front.
pub(super) fn start(level: LevelFilter, with_time: bool) {
    // Of what the libraries below have to say only the warnings: they do not know what is secret.
    let usual = format!("{},kvs={level}", level.min(LevelFilter::WARN));
    let wished = std::env::var("KVS_LOG").ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::builder().parse_lossy(wished.unwrap_or(usual));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(with_time && std::io::stderr().is_terminal());
    // A log that has been started already stays as it is.
    let _ = if with_time { lines.try_init() } else { lines.without_time().try_init() };
}

/// The level that flags ask for, where `usual` is that without any.
pub(super) fn level(usual: LevelFilter, quiet: bool, verbose: u8) -> LevelFilter {
    match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => usual,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_raise_and_lower_the_level() {
        assert_eq!(level(LevelFilter::INFO, false, 0), LevelFilter::INFO);
        assert_eq!(level(LevelFilter::INFO, true, 0), LevelFilter::ERROR);
        assert_eq!(level(LevelFilter::WARN, false, 1), LevelFilter::DEBUG);
        assert_eq!(level(LevelFilter::WARN, false, 9), LevelFilter::TRACE);
    }
}

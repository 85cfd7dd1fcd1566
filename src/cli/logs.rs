//! The log: lines on standard error. Nothing secret is ever given to it.
//!
//! A line that cannot be written is lost, and nothing else happens. Damage is told once: by the store, when it meets a
//! state of a file that it has not met before, and not again by each request and command that suffers from it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::failure::Done;
use super::failure::Failure;
use super::lines::Lines;
use super::output::say;
use super::usage::NOT_TEXT;

/// Where the store tells of a damaged file, once for each state of it.
const FOUND: &str = "kvs::yaml::file::catch_up";
/// Where a request tells of damage that it has met.
const MET: &str = "kvs::damage";
/// Damage that is met again and again is told again after so long.
const AGAIN: Duration = Duration::from_secs(3600);
/// So many damages are remembered.
const REMEMBERED: usize = 64;
/// So long the end waits for lines that nobody reads.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose log it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    /// Of a command: a person reads it, beside what the command says itself.
    Command,
    /// Of `kvs serve`.
    Server,
    /// Of a program that a web server started, whose log puts the time in front itself.
    Spawned,
}

/// The log of this process.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

struct Shared {
    of: Of,
    lines: Lines,
    /// What a command has found damaged, until it is known what it says of that itself.
    held: Mutex<Vec<String>>,
    told: Mutex<Vec<Told>>,
}

/// Damage that was told, until when that is enough.
struct Told {
    text: String,
    until: Option<Instant>,
}

/// Starts the log. `KVS_LOG` (`debug`, `kvs::yaml=trace,warn`) wins over the level.
pub(super) fn start(level: LevelFilter, of: Of) -> Log {
    // Of what the libraries below have to say only the warnings: they do not know what is secret.
    let usual = format!("{},kvs={level}", level.min(LevelFilter::WARN));
    let wished = std::env::var_os("KVS_LOG").filter(|text| !text.is_empty());
    let wished = wished.map(|text| filter(text.to_str().ok_or(NOT_TEXT)?));
    let (filter, wrong) = match wished {
        Some(Ok(filter)) => (filter, None),
        Some(Err(why)) => (EnvFilter::new(usual), Some(why)),
        None => (EnvFilter::new(usual), None),
    };
    let shared = Shared { of, lines: Lines::to_stderr(), held: Mutex::default(), told: Mutex::default() };
    let log = Log(Arc::new(shared));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        // They would go to standard error as well, and panic if that is what fails.
        .log_internal_errors(false)
        .with_ansi(of != Of::Spawned && io::stderr().is_terminal());
    // A log that has been started already stays as it is.
    let _ = match of {
        Of::Server => lines.try_init(),
        Of::Spawned => lines.without_time().try_init(),
        Of::Command => lines.without_time().with_target(false).try_init(),
    };
    if let Some(why) = wrong {
        tracing::warn!("KVS_LOG is left out: {why}");
    }
    log
}

/// What `KVS_LOG` asks for.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    // A word that is no level would be taken for the name of a part of the program, and nothing would be logged.
    let unknown = text.split(',').map(str::trim).find(|word| {
        let target = word.split(['=', '[']).next().unwrap_or_default();
        !word.is_empty() && !is_level(word) && *word == target && !target.starts_with("kvs")
    });
    match unknown {
        Some(word) => Err(format!("`{word}` is no level; write error, warn, info, debug or trace, or PART=LEVEL")),
        None => EnvFilter::builder().parse(text).map_err(|e| e.to_string()),
    }
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

impl Log {
    /// Writes what is left. What the end of a command says itself is not said twice.
    pub(super) fn finish(&self, outcome: &Done) {
        let Self(shared) = self;
        for line in std::mem::take(&mut *shared.held.lock()) {
            let is_said = match outcome {
                Ok(()) => false,
                Err(Failure::Told) => true,
                Err(failure) => failure.text().contains(damage(&line)),
            };
            if !is_said {
                say(line.trim_end());
            }
        }
        shared.lines.finish(PATIENCE);
    }

    /// What was found damaged is no longer worth a word: it has been mended.
    pub(super) fn forget(&self) {
        self.0.held.lock().clear();
    }
}

impl Shared {
    fn take(&self, target: Target, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        match target {
            Target::Found if self.of == Of::Command => return self.held.lock().push(text.into_owned()),
            Target::Found if self.was_met(damage(&text)) => return,
            Target::Found => self.remember(Told { text: damage(&text).to_owned(), until: None }),
            Target::Met if self.is_told(&text) => return,
            Target::Met => {
                let until = Instant::now().checked_add(AGAIN);
                self.remember(Told { text: message(&text).to_owned(), until });
            }
            Target::Other => {}
        }
        match self.of {
            // A command may wait for whoever reads it, as `kvs check | less` does.
            Of::Command => drop(io::stderr().lock().write_all(line)),
            Of::Server | Of::Spawned => self.lines.push(line),
        }
    }

    fn is_told(&self, line: &str) -> bool {
        let mut told = self.told.lock();
        told.retain(|told| told.until.is_none_or(|until| Instant::now() < until));
        told.iter().any(|told| line.contains(&told.text))
    }

    /// Whether a request has met this damage, and told of it, before the store did. From now on it is the store's.
    fn was_met(&self, damage: &str) -> bool {
        let mut told = self.told.lock();
        let met = told.iter_mut().find(|told| told.until.is_some() && told.text.contains(damage));
        let Some(met) = met else { return false };
        *met = Told { text: damage.to_owned(), until: None };
        true
    }

    fn remember(&self, new: Told) {
        let mut told = self.told.lock();
        told.retain(|known| known.text != new.text);
        if told.len() == REMEMBERED {
            told.remove(0);
        }
        told.push(new);
    }
}

/// What stands in a line behind the place in the program that it comes from.
fn message(line: &str) -> &str {
    line.rsplit_once(MET).map_or(line, |(_, rest)| rest).trim_end()
}

/// What is damaged, in a line that tells of a file: its name without the folder, the line in it, and what is wrong.
fn damage(line: &str) -> &str {
    let line = line.trim_end();
    let place = line.find(", line ").unwrap_or(0);
    let start = line.get(..place).and_then(|before| before.rfind(['/', ' '])).map_or(0, |at| at + 1);
    line.get(start..).unwrap_or(line)
}

/// What a line is about, as far as it matters here.
#[derive(Clone, Copy)]
enum Target {
    Found,
    Met,
    Other,
}

/// One line, as the formatter writes it.
pub(super) struct Line {
    shared: Arc<Shared>,
    target: Target,
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.take(self.target, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { shared: Arc::clone(&self.0), target: Target::Other }
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Line {
        let target = match meta.target() {
            FOUND => Target::Found,
            MET => Target::Met,
            _ => Target::Other,
        };
        Line { target, ..self.make_writer() }
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

    #[test]
    fn a_level_that_is_none_is_named() {
        for good in ["debug", "TRACE", "off", "kvs::yaml=trace,warn", "kvs", "hyper=debug, info", "warn,"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["debgu", "warn,loud", "kvs=loud", "="] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn damage_is_the_same_whoever_tells_of_it() {
        let found =
            "2026-11-28T18:18:39Z ERROR kvs::yaml::file::catch_up: my data/default.yaml, line 7: a b/c, line 2\n";
        assert_eq!(damage(found), "default.yaml, line 7: a b/c, line 2");
        assert_eq!(damage("no place\n"), "no place");
    }

    #[test]
    fn what_requests_meet_is_told_once_and_a_new_state_is_told_again() {
        let shared =
            Shared { of: Of::Server, lines: Lines::new(|_| {}), held: Mutex::default(), told: Mutex::default() };
        let met = "ERROR kvs::damage: default.yaml, line 7: bad. Nothing is written to it until it is mended\n";
        assert!(!shared.is_told(met));
        shared.take(Target::Found, b"ERROR kvs::yaml::file::catch_up: /srv/default.yaml, line 7: bad\n");
        assert!(shared.is_told(met));
        assert!(!shared.was_met("default.yaml, line 7: bad"), "a new state that looks the same is told again");
        shared.take(Target::Met, b"ERROR kvs::damage: other.yaml, line 2: bad. Nothing is written to it\n");
        assert!(shared.was_met("other.yaml, line 2: bad") && !shared.was_met("other.yaml, line 2: bad"));
        let row = "1 ERROR kvs::damage: the row of \"a\" is damaged\n";
        assert!(!shared.is_told(row));
        shared.take(Target::Met, row.as_bytes());
        assert!(shared.is_told("2 ERROR kvs::damage: the row of \"a\" is damaged\n"));
        assert!(!shared.is_told("2 ERROR kvs::damage: the row of \"b\" is damaged\n"));
        (0..2 * REMEMBERED).for_each(|n| shared.take(Target::Met, format!("kvs::damage: {n}x\n").as_bytes()));
        assert_eq!(shared.told.lock().len(), REMEMBERED);
    }
}

//! The log: lines on standard error. It never contains secrets.
//!
//! A line that cannot be written is lost. Damage is logged once for each state of a file: when the store finds it, and
//! not again for each request and command that it affects.

mod line_format;
mod log_writer;

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, registry, reload};

use self::line_format::{FieldFormat, JsonSwitch, LineFormat, message_of};
use self::log_writer::LogWriter;
use super::exit::{CliResult, Failure};
use super::stderr::say;
use super::usage::NOT_TEXT;

/// The log target of a store that finds a damaged file, once for each state of the file.
const FOUND_TARGET: &str = crate::yaml::DAMAGE_LOG_TARGET;
/// The log target of the request log.
const REQUEST_TARGET: &str = "kvs::request";
/// The log target of a request that damage affects.
const AFFECTED_TARGET: &str = "kvs::damage";
/// After this time, damage that still affects requests is logged again.
const REPEAT_AFTER: Duration = Duration::from_secs(3600);
const MAX_REMEMBERED_DAMAGES: usize = 64;
/// The longest time that the program waits at its end for its log to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogKind {
    /// Of a command. A person reads it together with the messages of the command.
    Command,
    /// Of `kvs serve`.
    Server,
    /// Of a program that a web server started. The web server adds the time to each line.
    UnderWebServer,
}

/// The form of the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("bad value {text:?}: write text or json")),
        }
    }
}

/// Whether requests are logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestLog {
    Off,
    On,
}

impl FromStr for RequestLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            _ => Err(format!("bad value {text:?}: write on or off")),
        }
    }
}

/// The log of this process.
#[derive(Clone)]
pub(crate) struct Log(Arc<LogState>);

struct LogState {
    kind: LogKind,
    form: JsonSwitch,
    filter: Option<reload::Handle<Targets, Registry>>,
    writer: LogWriter,
    /// Damage that a command found. It is printed at the end, unless the error of the command has the same text.
    postponed: Mutex<Vec<String>>,
    logged: Mutex<Vec<LoggedDamage>>,
}

struct LoggedDamage {
    text: String,
    /// When it may be logged again; none for damage that the store found.
    repeat_at: Option<Instant>,
}

/// Starts the log. `KVS_LOG` (`debug`, `kvs::yaml=trace,warn`) overrides the level.
pub(crate) fn start(level: LevelFilter, kind: LogKind) -> Log {
    // Only warnings of the libraries: they do not know what is secret.
    let default = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("kvs", level);
    let wanted = std::env::var_os("KVS_LOG").filter(|text| !text.is_empty());
    let wanted = wanted.map(|text| filter(text.to_str().ok_or(NOT_TEXT)?));
    let (filter, wrong) = match wanted {
        Some(Ok(filter)) => (filter, None),
        Some(Err(why)) => (default, Some(why)),
        None => (default, None),
    };
    let form = JsonSwitch::default();
    let (filter, handle) = reload::Layer::new(without_requests(filter));
    let state = LogState::new(kind, form.clone(), LogWriter::to_stderr(form));
    let log = Log(Arc::new(LogState { filter: Some(handle), ..state }));
    match kind {
        LogKind::Server => install(&log, format(), filter),
        LogKind::UnderWebServer => install(&log, format().without_time(), filter),
        LogKind::Command => install(&log, format().without_time().with_target(false), filter),
    }
    if let Some(why) = wrong {
        tracing::warn!("KVS_LOG is ignored: {why}");
    }
    log
}

/// Makes this the log of the process, unless it has one.
fn install<F>(log: &Log, text: F, filter: reload::Layer<Targets, Registry>)
where
    F: fmt::FormatEvent<WithFilter, FieldFormat> + Send + Sync + 'static,
{
    let LogState { kind, form, .. } = &*log.0;
    let lines = fmt::layer()
        .fmt_fields(FieldFormat(form.clone()))
        .event_format(LineFormat { text, form: form.clone() })
        .with_writer(log.clone())
        // They also go to standard error, and would panic if that fails.
        .log_internal_errors(false)
        .with_ansi(*kind != LogKind::UnderWebServer && io::stderr().is_terminal());
    // A log that is already started stays.
    let _ = registry().with(filter).with(lines).try_init();
}

type WithFilter = tracing_subscriber::layer::Layered<reload::Layer<Targets, Registry>, Registry>;

/// The filter with the request log off, unless it is named, or the level is `debug`.
fn without_requests(filter: Targets) -> Targets {
    let is_named = filter.iter().any(|(target, _)| target == REQUEST_TARGET);
    if is_named || filter.would_enable(REQUEST_TARGET, &Level::DEBUG) {
        return filter;
    }
    filter.with_target(REQUEST_TARGET, LevelFilter::WARN)
}

/// Parses `KVS_LOG`.
fn filter(text: &str) -> Result<Targets, String> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    // An unknown level would count as the name of a module, and nothing would be logged.
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let unknown = words.iter().find(|word| {
        let target = word.split('=').next().unwrap_or_default();
        target.is_empty() || !is_level(word) && **word == target && !target.starts_with("kvs")
    });
    match unknown {
        Some(word) => Err(format!("`{word}` is not a level; write error, warn, info, debug or trace, or MODULE=LEVEL")),
        None => words.join(",").parse().map_err(|e: ParseError| e.to_string()),
    }
}

/// The level for these flags.
pub(crate) fn level(default: LevelFilter, quiet: bool, verbose: u8) -> LevelFilter {
    match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => default,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}

impl Log {
    /// Sets the form of the lines, and whether requests are logged, once the settings are known. `KVS_LOG` and
    /// `--verbose` log requests too.
    pub(crate) fn configure(&self, form: LogFormat, requests: RequestLog) {
        let Self(state) = self;
        state.form.set(form == LogFormat::Json);
        if let (RequestLog::On, Some(filter)) = (requests, &state.filter) {
            // It fails if there is no log any more.
            let _ = filter.modify(|filter| {
                *filter = std::mem::take(filter).with_target(REQUEST_TARGET, LevelFilter::INFO);
            });
        }
    }

    /// Writes the remaining lines, without damage that the error of the command reports anyway.
    pub(crate) fn finish(&self, outcome: &CliResult) {
        let Self(state) = self;
        for line in std::mem::take(&mut *state.postponed.lock()) {
            let is_reported = match outcome {
                Ok(()) => false,
                Err(Failure::AlreadyReported) => true,
                Err(failure) => failure.text().contains(damage(&line)),
            };
            if !is_reported {
                say(line.trim_end());
            }
        }
        state.writer.finish(FINISH_TIMEOUT);
    }

    /// Does not print the damage that was found, because it is repaired.
    pub(crate) fn forget_damage(&self) {
        self.0.postponed.lock().clear();
    }
}

impl LogState {
    fn new(kind: LogKind, form: JsonSwitch, writer: LogWriter) -> Self {
        Self { kind, form, filter: None, writer, postponed: Mutex::default(), logged: Mutex::default() }
    }

    fn add(&self, kind: LineKind, line: &[u8]) {
        let text = match kind {
            LineKind::Other => String::new(),
            LineKind::Found | LineKind::Affected => message_of(line, &[FOUND_TARGET, AFFECTED_TARGET]),
        };
        match kind {
            LineKind::Found if self.kind == LogKind::Command => return self.postponed.lock().push(text),
            LineKind::Found if self.is_logged_by_request(damage(&text)) => return,
            LineKind::Found => self.remember(LoggedDamage { text: damage(&text).to_owned(), repeat_at: None }),
            LineKind::Affected if self.is_logged(&text) => return,
            LineKind::Affected => {
                let repeat_at = Instant::now().checked_add(REPEAT_AFTER);
                self.remember(LoggedDamage { text, repeat_at });
            }
            LineKind::Other => {}
        }
        match self.kind {
            // A command may wait for its reader, as in `kvs check | less`.
            LogKind::Command => drop(io::stderr().lock().write_all(line)),
            LogKind::Server | LogKind::UnderWebServer => self.writer.push(line),
        }
    }

    fn is_logged(&self, line: &str) -> bool {
        let mut logged = self.logged.lock();
        logged.retain(|damage| damage.repeat_at.is_none_or(|repeat_at| Instant::now() < repeat_at));
        logged.iter().any(|damage| line.contains(&damage.text))
    }

    /// Whether a request logged this damage before the store found it. From now on it counts as found by the store.
    fn is_logged_by_request(&self, damage: &str) -> bool {
        let mut logged = self.logged.lock();
        let by_request = logged.iter_mut().find(|logged| logged.repeat_at.is_some() && logged.text.contains(damage));
        let Some(by_request) = by_request else { return false };
        *by_request = LoggedDamage { text: damage.to_owned(), repeat_at: None };
        true
    }

    fn remember(&self, new: LoggedDamage) {
        let mut logged = self.logged.lock();
        logged.retain(|known| known.text != new.text);
        if logged.len() == MAX_REMEMBERED_DAMAGES {
            logged.remove(0);
        }
        logged.push(new);
    }
}

/// The part of a line that describes damage: the file name without its folder, the line number, and the error.
fn damage(line: &str) -> &str {
    let line = line.trim_end();
    let position = line.find(", line ").or_else(|| line.find(": ")).unwrap_or(0);
    let start = line.get(..position).and_then(|before| before.rfind(['/', ' '])).map_or(0, |at| at + 1);
    line.get(start..).unwrap_or(line)
}

#[derive(Clone, Copy)]
enum LineKind {
    /// The store found damage.
    Found,
    /// Damage affected a request.
    Affected,
    Other,
}

/// Receives one line of the formatter.
pub(crate) struct LineWriter {
    state: Arc<LogState>,
    kind: LineKind,
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.state.add(self.kind, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = LineWriter;

    fn make_writer(&self) -> LineWriter {
        LineWriter { state: Arc::clone(&self.0), kind: LineKind::Other }
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> LineWriter {
        let kind = match meta.target() {
            FOUND_TARGET => LineKind::Found,
            AFFECTED_TARGET => LineKind::Affected,
            _ => LineKind::Other,
        };
        LineWriter { kind, ..self.make_writer() }
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
    fn an_unknown_level_is_an_error() {
        for good in ["debug", "TRACE", "off", "kvs::yaml=trace,warn", "kvs", "hyper=debug, info", "warn,"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["debgu", "warn,loud", "kvs=loud", "="] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn damage_is_extracted_from_a_line() {
        let found = "2026-11-28T18:18:39Z ERROR kvs::yaml::damage: my data/default.yaml, line 7: a b/c, line 2\n";
        assert_eq!(damage(found), "default.yaml, line 7: a b/c, line 2");
        assert_eq!(damage("no place\n"), "no place");
    }

    #[test]
    fn damage_is_logged_once_for_each_state_of_a_file() {
        let writer = LogWriter::new(JsonSwitch::default(), |_| {});
        let state = LogState::new(LogKind::Server, JsonSwitch::default(), writer);
        let affected = "ERROR kvs::damage: default.yaml, line 7: bad. Writes are refused until the file is fixed\n";
        assert!(!state.is_logged(affected));
        state.add(LineKind::Found, b"ERROR kvs::yaml::damage: /srv/default.yaml, line 7: bad\n");
        assert!(state.is_logged(affected));
        assert!(
            !state.is_logged_by_request("default.yaml, line 7: bad"),
            "a new state that looks the same is logged again"
        );
        state.add(LineKind::Affected, b"ERROR kvs::damage: other.yaml, line 2: bad. Writes are refused\n");
        assert!(
            state.is_logged_by_request("other.yaml, line 2: bad")
                && !state.is_logged_by_request("other.yaml, line 2: bad")
        );
        let row = "1 ERROR kvs::damage: the row of \"a\" is damaged\n";
        assert!(!state.is_logged(row));
        state.add(LineKind::Affected, row.as_bytes());
        assert!(state.is_logged("2 ERROR kvs::damage: the row of \"a\" is damaged\n"));
        assert!(!state.is_logged("2 ERROR kvs::damage: the row of \"b\" is damaged\n"));
        (0..2 * MAX_REMEMBERED_DAMAGES)
            .for_each(|n| state.add(LineKind::Affected, format!("kvs::damage: row {n} is bad\n").as_bytes()));
        assert_eq!(state.logged.lock().len(), MAX_REMEMBERED_DAMAGES);
    }
}

//! The two forms of a line of the log: text for people, and JSON for programs.
//!
//! An event may have a message, and fields. Fields whose names begin with `request.` are in JSON only, because the
//! message has them already.

use std::fmt::{Debug, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::{MakeVisitor as _, RecordFields, VisitOutput as _};
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::model::{Clock as _, SystemClock};

/// The name of the field with the text of an event.
const MESSAGE: &str = "message";
/// The beginning of the names of the fields that are in JSON only.
const REQUEST: &str = "request.";

/// The form of all lines from now on.
#[derive(Clone, Default)]
pub(crate) struct JsonSwitch(Arc<AtomicBool>);

impl JsonSwitch {
    pub(crate) fn set(&self, is_json: bool) {
        self.0.store(is_json, Ordering::Relaxed);
    }

    pub(crate) fn is_json(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A line of the log about itself.
    pub(crate) fn line_of_log(&self, text: &str) -> String {
        if !self.is_json() {
            return format!("kvs: {text}\n");
        }
        let mut line = head(Level::WARN, "kvs::log");
        line.insert(MESSAGE.to_owned(), text.into());
        format!("{}\n", Value::Object(line))
    }
}

/// Formats a line with `text`, or as JSON.
pub(crate) struct LineFormat<F> {
    pub(crate) text: F,
    pub(crate) form: JsonSwitch,
}

impl<S, F> FormatEvent<S, FieldFormat> for LineFormat<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: FormatEvent<S, FieldFormat>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, FieldFormat>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> Result {
        if !self.form.is_json() {
            return self.text.format_event(context, writer, event);
        }
        let mut line = head(*event.metadata().level(), event.metadata().target());
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<FieldFormat>>().map(|fields| fields.as_str());
            let fields = fields.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
            line.extend(fields.into_iter().flatten().map(|(name, value)| (format!("{}_{name}", span.name()), value)));
        }
        event.record(&mut JsonFields(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The members that every line has.
fn head(level: Level, target: &str) -> Map<String, Value> {
    let level = level.as_str().to_ascii_lowercase();
    let members = [("time", format!("{:.6}", SystemClock.now())), ("level", level), ("target", target.to_owned())];
    members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// Formats the fields of an event or of a span.
pub(crate) struct FieldFormat(pub(crate) JsonSwitch);

impl<'a> FormatFields<'a> for FieldFormat {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, fields: R) -> Result {
        if self.0.is_json() {
            let mut map = Map::new();
            fields.record(&mut JsonFields(&mut map));
            return write!(writer, "{}", Value::Object(map));
        }
        let mut text = TextFields(DefaultFields::new().make_visitor(writer));
        fields.record(&mut text);
        text.0.finish()
    }
}

/// Passes on the fields that are not in JSON only.
struct TextFields<V>(V);

impl<V: Visit> Visit for TextFields<V> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if !field.name().starts_with(REQUEST) {
            self.0.record_debug(field, value);
        }
    }
}

/// The fields as members of a JSON object.
struct JsonFields<'a>(&'a mut Map<String, Value>);

impl JsonFields<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        let name = field.name();
        self.0.insert(name.strip_prefix(REQUEST).unwrap_or(name).to_owned(), value);
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.insert(field, format!("{value:?}").into());
    }
}

/// The message of a line in either form. `targets` are those of the lines that are asked for.
pub(crate) fn message_of(line: &[u8], targets: &[&str]) -> String {
    let message = serde_json::from_slice::<Map<String, Value>>(line).ok().and_then(|mut line| line.remove(MESSAGE));
    if let Some(Value::String(message)) = message {
        return message;
    }
    let text = String::from_utf8_lossy(line);
    let after = |target: &&str| text.split_once(&format!("{target}: ")).map(|(_, message)| message);
    targets.iter().find_map(after).unwrap_or(&text).trim_end().to_owned()
}

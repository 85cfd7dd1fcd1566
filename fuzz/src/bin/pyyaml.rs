//! What kvs reads from a text in the file format is what PyYAML reads, another implementation of YAML (1.1). It runs in a
//! process of its own, so there are fewer inputs than for `yaml_readers.rs`.
#![no_main]

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvs_fuzz::yaml_readers::{by_kvs, terminated, with_document_starts};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Reads texts, one in base64 per line, and writes one line of JSON for each. All scalars are strings, as kvs takes them,
/// except null. A mapping has the type `dict`, so that its fields are seen.
const SCRIPT: &str = r#"
import base64, json, re, sys, yaml

class Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer,
             yaml.constructor.SafeConstructor, yaml.resolver.BaseResolver):
    def __init__(self, text):
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)

Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])

for line in sys.stdin:
    try:
        documents = list(yaml.load_all(base64.b64decode(line).decode(), Loader=Loader))
        print(json.dumps({"documents": documents}))
    except Exception as error:
        print(json.dumps({"error": str(error)}))
    sys.stdout.flush()
"#;

static PYTHON: LazyLock<Mutex<(ChildStdin, BufReader<ChildStdout>)>> = LazyLock::new(|| {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python3 with PyYAML; see tests/packages.sh");
    let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    Mutex::new((input, BufReader::new(output)))
});

fn by_pyyaml(text: &str) -> Value {
    let mut python = PYTHON.lock().expect("one thread");
    let (input, output) = &mut *python;
    writeln!(input, "{}", STANDARD.encode(text)).expect("python reads");
    let mut line = String::new();
    output.read_line(&mut line).expect("python answers");
    serde_json::from_str(&line).expect("JSON")
}

/// Whether a value is what the text says: JSON and lists are compared as JSON with numbers and booleans as strings.
fn is_same(value: &[u8], found: &Value) -> bool {
    match found {
        Value::Null => value.is_empty() || ["~", "null", "Null", "NULL"].iter().any(|null| null.as_bytes() == value),
        Value::String(text) => text.as_bytes() == value,
        Value::Object(fields) => match (fields.get("value"), fields.get("base64"), fields.get("json")) {
            (Some(text), None, None) => is_same(value, text),
            (None, Some(Value::String(text)), None) => {
                let plain: String = text.split_whitespace().collect();
                STANDARD.decode(plain).is_ok_and(|bytes| bytes == value)
            }
            (None, None, Some(json)) => is_same_json(value, json),
            _ => is_same_json(value, found),
        },
        other => is_same_json(value, other),
    }
}

fn is_same_json(value: &[u8], found: &Value) -> bool {
    let Ok(read) = serde_json::from_slice::<Value>(value) else { return true };
    as_texts(&read) == as_texts(found)
}

/// JSON with its scalars as texts. The text of a number has many forms, so numbers are left out.
fn as_texts(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(as_texts).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), as_texts(value))).collect(),
        Value::Number(_) => Value::Bool(true),
        Value::Bool(flag) => Value::String(flag.to_string()),
        Value::String(text) if text.parse::<f64>().is_ok() => Value::Bool(true),
        other => other.clone(),
    }
}

fuzz_target!(|text: &str| {
    let text = &terminated(text);
    // PyYAML takes a question mark in a flow for an explicit key, against YAML 1.2.
    if text.contains('?') {
        return;
    }
    let Some(by_kvs) = by_kvs(text) else { return };
    let answer = by_pyyaml(&with_document_starts(text));
    let documents = answer["documents"].as_array();
    // It refuses the text.
    let Some(documents) = documents else { return };
    let mut found = serde_json::Map::new();
    for (number, document) in documents.iter().enumerate() {
        match document {
            Value::Null => {}
            Value::Object(entries) => {
                for (key, value) in entries {
                    // Null deletes; for kvs only if it is written.
                    if number > 0 && value.is_null() && !by_kvs.iter().any(|(name, _)| name == key) {
                        found.remove(key);
                    } else {
                        found.insert(key.clone(), value.clone());
                    }
                }
            }
            other => panic!("kvs reads {text:?}, but it is {other}"),
        }
    }
    for (key, entry) in &by_kvs {
        let value = found.get(key).unwrap_or_else(|| panic!("PyYAML does not read {key:?} in {text:?}: {answer}"));
        assert!(is_same(&entry.value, value), "{key:?} in {text:?}: kvs {:?}, PyYAML {value}", entry.value);
    }
    assert_eq!(by_kvs.len(), found.len(), "{text:?}: {by_kvs:?}, PyYAML {answer}");
});

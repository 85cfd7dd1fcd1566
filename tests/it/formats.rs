//! The format against what wrote and what reads it elsewhere: golden files that must open for ever, and PyYAML, which
//! must find in our files what we find.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvs::yaml::YamlStore;

use crate::bench::all;

/// Reads a file with PyYAML, document after document, as the format says: a later entry replaces an earlier one, and nothing
/// removes it. Any key or value that PyYAML does not take for a string is told as `!` and what it took it for.
const SCRIPT: &str = r#"
import base64, json, sys, yaml
loader = getattr(yaml, sys.argv[2])
found = {}
for document in yaml.load_all(open(sys.argv[1], encoding="utf-8-sig", newline=""), Loader=loader):
    for key, entry in (document or {}).items():
        key = key if isinstance(key, str) else "!" + repr(key)
        value = entry.get("value") if isinstance(entry, dict) else entry
        if entry is None:
            found.pop(key, None)
            continue
        if isinstance(entry, dict) and "base64" in entry:
            value = base64.b64decode(entry["base64"], validate=True)
        elif isinstance(value, str):
            value = value.encode()
        else:
            value = ("!" + repr(value)).encode()
        found[key] = base64.b64encode(value).decode()
json.dump(found, sys.stdout)
"#;

fn read_with(loader: &str, path: &Path) -> BTreeMap<String, Vec<u8>> {
    let output = Command::new("/usr/bin/python3").args(["-c", SCRIPT]).arg(path).arg(loader).output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    let found: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap();
    found.into_iter().map(|(key, value)| (key, STANDARD.decode(value).unwrap())).collect()
}

/// What PyYAML finds in a file: keys and values.
pub(crate) fn pyyaml(path: &Path) -> BTreeMap<String, Vec<u8>> {
    read_with("SafeLoader", path)
}

/// What a store finds, likewise.
pub(crate) fn bytes(store: &YamlStore) -> BTreeMap<String, Vec<u8>> {
    all(store).unwrap().1.into_iter().map(|(key, entry)| (key, entry.value.to_vec())).collect()
}

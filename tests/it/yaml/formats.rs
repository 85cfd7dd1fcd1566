//! The file format and other programs: golden files, which every version must open, and `PyYAML`, which must read the
//! same from our files as we do.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kvs::model::{Revision, Write};
use kvs::store::suite::{hostile_keys, hostile_strings};
use kvs::store::{Severity, Task};
use kvs::yaml::{YamlOptions, YamlStore};

use crate::support::disks::seed::Seed;
use crate::yaml::fixtures::{Values, all, commit, key, put, upkeep, values};

/// Reads a file with `PyYAML`, document after document, as the format says: a later entry replaces an earlier one, and
/// null removes it. A key or value that is not a string for `PyYAML` is printed as `!` and its Python value.
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

/// What `PyYAML` reads from a file: keys and values.
pub(crate) fn pyyaml(path: &Path) -> BTreeMap<String, Vec<u8>> {
    read_with("SafeLoader", path)
}

/// What a store reads, in the same form.
pub(crate) fn bytes(store: &YamlStore) -> BTreeMap<String, Vec<u8>> {
    all(store).unwrap().1.into_iter().map(|(key, entry)| (key, entry.value.to_vec())).collect()
}

/// A golden file, and the entries it holds; `\0` before a value: it is not text.
type Golden = (&'static str, &'static [(&'static str, &'static str)]);

const GOLDEN: &[Golden] = &[
    ("example.yaml", &[("kitchen/temp", "21.6")]),
    (
        "hand.yaml",
        &[
            ("clock", "12:30"),
            ("door", "yes"),
            ("empty", ""),
            ("hex", "0x1F"),
            ("it's", "quoted 'twice'"),
            ("json", "{\"a\": [1, 2]}"),
            ("kitchen/temp", "21.50"),
            ("nothing here", ""),
            ("octal", "010"),
            ("picture", "\u{fffd}\0\u{1}"),
            ("roku", "http://example.com/live.m3u8"),
            ("since", "2026-11-20"),
            ("spaced out", "a value"),
            ("tab and", "a\tb"),
            ("url", "http://example.com/?a=1&b=2#top"),
            ("version", "1.0"),
        ],
    ),
    ("crlf.yaml", &[("a", "one"), ("b", "four"), ("c d", "three")]),
    ("bom.yaml", &[("a", "one"), ("b", "two")]),
    (
        "blocks.yaml",
        &[
            ("double", "goes on\nhere"),
            ("folded", "one line ---"),
            ("indented", "  two before\n"),
            ("kept", "with an empty line\n\n"),
            ("literal", "two\nlines: here\n# no comment\n"),
            ("plain", "goes on here"),
            ("single", "one\ntwo"),
        ],
    ),
    ("documents.yaml", &[("a", "1"), ("c", "three"), ("d", "4")]),
    (APPENDED, &[("a", "other"), ("b", "by hand"), ("c", "also")]),
    ("long-keys.yaml", &[("a", "x"), ("by hand", "short"), (LONG, "longer")]),
    ("deletions.yaml", &[("b", "why"), ("c", "z")]),
];

/// An addition by a person after the last end mark. `PyYAML` requires `---` there, so it cannot read this file until it
/// is rewritten.
const APPENDED: &str = "appended.yaml";

/// A placeholder for a key of 1024 letters `k`.
const LONG: &str = "k...k";

/// A folder with a golden file as the file of the bucket.
fn with_golden(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::copy(golden, folder.path().join("default.yaml")).unwrap();
    folder
}

fn opened(folder: &tempfile::TempDir) -> YamlStore {
    // Files stay as they are, even if the test takes long.
    let options = YamlOptions { tidy_after: std::time::Duration::ZERO, ..YamlOptions::default() };
    YamlStore::open(folder.path(), options).unwrap()
}

#[test]
fn reading_golden_files_does_not_change_them() {
    for (name, entries) in GOLDEN {
        let folder = with_golden(name);
        let file = folder.path().join("default.yaml");
        let before = std::fs::read(&file).unwrap();
        let long = |key: &str| if key == LONG { "k".repeat(1024) } else { key.to_owned() };
        let wanted: Values = entries.iter().map(|(key, value)| (long(key), (*value).to_owned())).collect();
        assert_eq!(values(&opened(&folder)), wanted, "{name}");
        let (revision, found) = all(&opened(&folder)).unwrap();
        assert_eq!(all(&opened(&folder)).unwrap(), (revision, found.clone()), "{name}: opened again");
        assert!(found.values().all(|entry| entry.revision > Revision::ZERO && entry.revision <= revision), "{name}");
        let mut report = upkeep(&opened(&folder), Task::Check).unwrap();
        // It is a note that a line deletes a key.
        report.findings.retain(|finding| finding.severity == Severity::Damage);
        assert_eq!((report.findings, report.entries), (vec![], wanted.len() as u64), "{name}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{name}: changed by reading");
    }
}

#[test]
fn golden_files_keep_their_entries_when_written() {
    for (name, entries) in GOLDEN {
        let folder = with_golden(name);
        let (first, reader) = (opened(&folder), opened(&folder));
        let (revision, before) = all(&first).unwrap();
        assert!(commit(&first, vec![put("new", "entry")]) > revision, "{name}");
        for store in [&first, &reader, &opened(&folder)] {
            let mut after = all(store).unwrap().1;
            assert_eq!(after.remove("new").unwrap().value, "entry", "{name}");
            assert_eq!(after, before, "{name}");
        }
        upkeep(&first, Task::Compact).unwrap();
        assert_eq!(all(&opened(&folder)).unwrap(), all(&reader).unwrap(), "{name}: compacted");
        // Values without quotes stay unquoted, and other readers may read them as numbers.
        let mut found = pyyaml(&folder.path().join("default.yaml"));
        found.retain(|_, value| !value.starts_with(b"!"));
        let ours = bytes(&first);
        assert!(found.iter().all(|(key, value)| ours.get(key) == Some(value)), "{name}: {found:?}");
        assert!(found.contains_key("new") && found.len() + 12 > ours.len(), "{name}: {found:?}");
        assert_eq!(values(&reader).len(), entries.len() + 1, "{name}");
    }
}

#[test]
fn golden_files_are_yaml_for_other_readers() {
    for (name, _) in GOLDEN.iter().filter(|(name, _)| *name != APPENDED) {
        let folder = with_golden(name);
        for loader in ["SafeLoader", "CSafeLoader", "BaseLoader"] {
            let found = read_with(loader, &folder.path().join("default.yaml"));
            let keys = |found: BTreeMap<String, Vec<u8>>| found.into_keys().collect::<Vec<_>>();
            let mut ours = bytes(&opened(&folder));
            if loader == "BaseLoader" {
                assert!(ours.keys().all(|key| found.contains_key(key)), "{name}, {loader}");
            } else {
                // A missing value is the empty text for us, and null for a reader with types.
                ours.remove("empty");
                assert_eq!(keys(found), keys(ours), "{name}, {loader}");
            }
        }
    }
}

#[test]
fn details_of_golden_files_are_read() {
    let folder = with_golden("deletions.yaml");
    let (revision, found) = all(&opened(&folder)).unwrap();
    assert_eq!(revision.time().to_string(), "2026-11-20T12:00:11Z");
    let b = &found["b"];
    assert_eq!(b.updated().to_string(), "2026-11-20T12:00:01Z");
    assert_eq!(b.created.to_string(), "2026-11-19T00:00:00Z");
    assert_eq!(b.modified.unwrap().to_string(), "2026-11-18T00:00:00Z");
    assert_eq!(b.expires.unwrap().to_string(), "2126-01-01T00:00:00Z");
    let folder = with_golden("hand.yaml");
    let found = all(&opened(&folder)).unwrap().1;
    assert_eq!(found["roku"].content_type.as_str(), "application/x-mpegurl");
    assert_eq!(found["picture"].value, [255_u8, 0, 1][..]);
    assert!(found["json"].revision > found["clock"].revision, "the later one is newer");
}

#[test]
fn pyyaml_reads_the_same_from_hostile_strings() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let file = folder.path().join("default.yaml");
    let strings = hostile_strings();
    assert!(strings.len() >= 300);
    let keys = hostile_keys().into_iter().enumerate();
    let as_keys = keys.map(|(n, key)| Write::put(key, strings[n % strings.len()].clone()));
    let as_values = strings.iter().enumerate().map(|(n, value)| Write::put(key(&format!("value {n}")), value.clone()));
    let writes: Vec<Write> = as_keys.chain(as_values).collect();
    // As documents of one entry, as one document, and as a snapshot.
    for part in writes.chunks(1).take(200).chain(std::iter::once(&writes[..])) {
        commit(&store, part.to_vec());
    }
    commit(&store, hostile_keys().into_iter().step_by(3).map(|key| Write::Delete { key }).collect());
    for compacted in [false, true] {
        if compacted {
            upkeep(&store, Task::Compact).unwrap();
        }
        let found = bytes(&store);
        assert!(found.len() > 500);
        assert_eq!(bytes(&opened(&folder)), found, "compacted: {compacted}");
        for loader in ["SafeLoader", "CSafeLoader"] {
            let theirs = read_with(loader, &file);
            for (key, value) in &found {
                assert_eq!(theirs.get(key), Some(value), "{loader}, compacted: {compacted}: {key:?}");
            }
            assert_eq!(theirs.len(), found.len(), "{loader}, compacted: {compacted}");
        }
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().all(|line| line.chars().all(|c| !c.is_control())));
    let again = kvs::yaml::read_text(&text).unwrap();
    assert_eq!(again.len(), bytes(&store).len());
}

/// Prints how `PyYAML` reads each of the texts: keys and texts unchanged, lists and mappings as JSON, without entries
/// that are null.
const FLATTEN: &str = r#"
import json, re, sys, yaml
NULL = ["~", "null", "Null", "NULL"]
def as_json(node):
    if isinstance(node, yaml.SequenceNode):
        return "[" + ",".join(map(as_json, node.value)) + "]"
    if isinstance(node, yaml.MappingNode):
        return "{" + ",".join(json.dumps(str(key.value), ensure_ascii=False) + ":" + as_json(value) for key, value in node.value) + "}"
    if node.style is None and node.value in NULL + [""]:
        return "null"
    if node.style is None and re.fullmatch(r"true|false|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", node.value):
        return node.value
    return json.dumps(node.value, ensure_ascii=False)
answers = []
for text in json.load(open(sys.argv[1])):
    try:
        found = {}
        for root in yaml.compose_all(text, Loader=yaml.SafeLoader):
            for key, value in (root.value if isinstance(root, yaml.MappingNode) else []):
                key.value = key.value if isinstance(key.value, str) else "!"
                fields = {str(k.value): v.value for k, v in value.value} if isinstance(value, yaml.MappingNode) else None
                if value.tag.endswith(":null") and value.value in NULL:
                    found.pop(key.value, None)
                elif isinstance(value, yaml.ScalarNode):
                    found[key.value] = value.value
                else:
                    found[key.value] = fields["value"] if fields and "value" in fields else as_json(value)
                if not isinstance(found.get(key.value, ""), str):
                    found[key.value] = "!"
        answers.append(found)
    except yaml.YAMLError as e:
        answers.append(str(e))
json.dump(answers, sys.stdout)
"#;

/// Texts as a person might write them, valid or not.
fn by_hand(seed: &mut Seed) -> String {
    const KEYS: [&str; 14] =
        ["a", "b c", "'d'", "\"e\"", "1", "yes", "kitchen/temp", "k:k", "ü", "- f", "? g", "x#y", "h ", "\"<<\""];
    const SEPARATORS: [&str; 6] = [": ", ":", ":  ", " : ", ":\t", ":\n  "];
    const VALUES: [&str; 40] = [
        "plain",
        "two words",
        "'it''s'",
        "\"q\\n\"",
        "\"\\x41\\u00e9\"",
        "|\n  two\n   lines",
        ">-\n  folded\n  text\n\n  more",
        "1.0",
        "~",
        "null",
        "",
        "# comment",
        "v # comment",
        "v#no comment",
        "http://x/?a=b",
        "a: b",
        "- x",
        "[1]",
        "{value: x}",
        "{value: 'x', type: a/b}",
        "&a x",
        "*a",
        "!!str x",
        "@x",
        "`x",
        "%x",
        "'open",
        "\"open",
        "over\n  two lines",
        "'over\n\n  two'",
        "a, b",
        "x]",
        "=",
        "|2\n    in",
        "|+\n  kept\n\n",
        "|+\n  kept\n\n\n  and\n\n\n",
        ">+\n  kept\n\n\n",
        "|-\n  cut\n\n",
        "|\n\n\n  late\n\n",
        "plain\n\n  after an empty line",
    ];
    let mut text = String::new();
    for _ in 0..=seed.below(4) {
        text += ["", "", "", "", "# comment\n", "\n", " ", "\t", "---\n"][seed.below(9)];
        text += KEYS[seed.below(KEYS.len())];
        text += SEPARATORS[if seed.below(3) > 0 { 0 } else { seed.below(SEPARATORS.len()) }];
        text += VALUES[seed.below(VALUES.len())];
        text += ["\n", "\n", "\n", "\n", "\r\n", " \n", "\n\n", "\n...\n"][seed.below(8)];
    }
    text
}

#[test]
fn handwritten_yaml_is_read_as_by_pyyaml() {
    let seed = &mut Seed::new(7);
    let texts: Vec<String> = (0..6000).map(|_| by_hand(seed)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts.json");
    std::fs::File::create(&file).unwrap().write_all(&serde_json::to_vec(&texts).unwrap()).unwrap();
    let output = Command::new("/usr/bin/python3").args(["-c", FLATTEN]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut taken = 0;
    let mut differ = vec![];
    for (text, theirs) in texts.iter().zip(answers) {
        let Ok(ours) = kvs::yaml::read_text(text) else { continue };
        // It refuses tabs that YAML allows, and a document without `---` after another one.
        if theirs.is_string() {
            continue;
        }
        taken += 1;
        let text_of = |given: kvs::yaml::ParsedEntry| String::from_utf8(given.value.to_vec()).unwrap();
        let ours: Values = ours.into_iter().map(|(key, given)| (key.to_string(), text_of(given))).collect();
        if theirs != serde_json::to_value(&ours).unwrap() {
            differ.push(format!("{text:?}\n  ours {ours:?}\n  theirs {theirs}"));
        }
    }
    assert!(taken > 500, "only {taken} were valid");
    assert!(
        differ.is_empty(),
        "{} of {taken} differ, such as\n{}",
        differ.len(),
        differ[..differ.len().min(12)].join("\n")
    );
}

//! Lines, written and read back, here and by another YAML reader.

use proptest::prelude::*;

use super::*;

fn written(key: &Key, entry: Option<&Entry>, revision: Option<Revision>) -> String {
    let mut out = Vec::new();
    write(&mut out, key, entry, revision);
    String::from_utf8(out).unwrap()
}

fn times() -> impl Strategy<Value = Time> {
    (0..=Time::LATEST_COMMIT.nanos()).prop_map(Time::from_nanos)
}

fn entries() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()];
    let option = || proptest::option::of(times());
    (value, times(), times(), option(), option(), "(a/b|text/html; x=\"1\"|image/png)").prop_map(
        |(value, updated, created, modified, expires, kind): (Vec<u8>, Time, Time, _, _, String)| Entry {
            value: value.into(),
            content_type: ContentType::new(&kind).unwrap(),
            revision: updated.into(),
            created,
            modified,
            expires,
        },
    )
}

#[test]
fn lines_have_the_documented_form() {
    let key = Key::new("kitchen/temp").unwrap();
    let time: Time = "2026-11-20T12:00:00.123456789Z".parse().unwrap();
    let entry = ParsedEntry::text("21.5").at(time.into());
    assert_eq!(
        written(&key, Some(&entry), None),
        "kitchen/temp: {value: \"21.5\", updated: 2026-11-20T12:00:00.123456789Z}\n"
    );
    assert_eq!(written(&key, None, Some(time.into())), "kitchen/temp: ~ # 2026-11-20T12:00:00.123456789Z\n");
}

#[test]
fn other_forms_are_left_to_the_careful_reader() {
    for line in [
        "a: 1",
        "a: {value: 1, updated: 2026-11-20T12:00:00Z}",
        "a: {value: yes, updated: 2026-11-20T12:00:00Z}",
        "a: {value: x}",
        "a: {value: x, updated: 2026-11-20T12:00:00Z} ",
        "a: {value: x, updated: 2026-02-29T12:00:00Z}",
        "a: {value: x, updated: 2026-11-20T12:00:00Z, expires: 2026-11-20T12:00:00Z, created: 2026-11-20T12:00:00Z}",
        "a : ~",
        "a: ~ # soon",
        "\"a\\x41\": ~",
    ] {
        assert_eq!(read(line), None, "{line}");
    }
}

proptest! {
    #[test]
    fn an_entry_is_read_back(key in "\\PC{1,40}", entry in entries(), revision in proptest::option::of(times())) {
        prop_assume!(Key::new(&key).is_ok());
        let key = Key::new(&key).unwrap();
        let revision = revision.map(Revision::from);
        let text = written(&key, Some(&entry), revision);
        let line = read(text.strip_suffix('\n').unwrap()).unwrap();
        prop_assert_eq!(&line.key, &key);
        prop_assert_eq!(line.revision, revision);
        let parsed = line.parsed.unwrap();
        let updated = parsed.updated.unwrap();
        prop_assert_eq!(parsed.at(updated.into()), entry);
    }

    #[test]
    fn serde_yaml_reads_the_same(key in "\\PC{1,40}", entry in entries()) {
        prop_assume!(Key::new(&key).is_ok());
        let text = written(&Key::new(&key).unwrap(), Some(&entry), None);
        let other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let fields = other.get(&key).unwrap();
        let value = match fields.get("value") {
            Some(value) => value.as_str().unwrap().as_bytes().to_vec(),
            None => STANDARD.decode(fields.get("base64").unwrap().as_str().unwrap()).unwrap(),
        };
        prop_assert_eq!(&value, &entry.value);
        prop_assert_eq!(fields.get("updated").unwrap().as_str().unwrap(), entry.updated().to_string());
    }
}

#[test]
fn a_long_key_takes_the_explicit_form() {
    let key = Key::new(&"\u{feff}".repeat(340)).unwrap();
    let entry = ParsedEntry::text("x").at(Revision::new(5));
    let text = written(&key, Some(&entry), None);
    assert!(text.starts_with("? \""), "{text}");
    assert_eq!(read(text.strip_suffix('\n').unwrap()).unwrap().key, key);
    let other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    assert!(other.get(key.as_str()).is_some());
}

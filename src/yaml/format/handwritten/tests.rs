//! What the careful reader reads, and what it refuses.

pub(super) mod layouts;

use super::*;
use crate::yaml::format::parsed::ParsedEntry;

fn error(text: &str) -> (u64, String) {
    let error = read(text, 1).unwrap_err();
    (error.line, error.text)
}

/// The entry of the key `a`.
fn parsed(text: &str) -> ParsedEntry {
    let lines = read(text, 1).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    let (line, _) = lines.into_iter().find(|(line, _)| line.key.as_str() == "a").unwrap();
    line.parsed.unwrap_or_else(|| panic!("{text:?} deletes"))
}

fn value(text: &str) -> String {
    String::from_utf8(parsed(text).value.to_vec()).unwrap()
}

#[test]
fn scalars_keep_their_spelling() {
    let lines =
        read("a: 1.0\nb: yes\nc: 2026-11-20\nd: 'it''s'\ne: |\n  two\n  lines\nf: ~\ng:\nh: Null\n", 10).unwrap();
    let values: Vec<_> = lines.iter().map(|(l, _)| l.parsed.clone().map(|g| g.value)).collect();
    let text = |t: &'static str| Some(bytes::Bytes::from_static(t.as_bytes()));
    assert_eq!(
        values,
        [text("1.0"), text("yes"), text("2026-11-20"), text("it's"), text("two\nlines\n"), None, text(""), None]
    );
    assert_eq!(lines.iter().map(|l| l.1).collect::<Vec<_>>(), [10, 11, 12, 13, 14, 17, 18, 19]);
}

#[test]
fn entries_may_span_lines() {
    let parsed = parsed("a:\n  value: x\n  expires: 2026-11-21T00:00:00Z\n  type: application/json\n");
    assert_eq!(parsed.content_type.as_str(), "application/json");
    assert_eq!(parsed.expires, Some("2026-11-21T00:00:00Z".parse().unwrap()));
}

#[test]
fn ambiguous_yaml_is_refused_with_its_line() {
    for (text, line, word) in [
        ("a: 1\nb: &x 2\n", 2, "anchors"),
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: !!str 1\n", 1, "tags"),
        ("a: 1\na: 2\n", 2, "twice"),
        ("a: {value: 1}\n<<: {value: 2}\n", 2, "merge"),
        ("a: {value: 1, valeu: 1}\n", 1, "unknown field"),
        ("a: {value: 1, valeu: 1}\n", 1, "under json:"),
        ("a: {value: 1, value: 2}\n", 1, "twice"),
        ("a: {value: 1, base64: aA==}\n", 1, "two values"),
        ("a: {value: 1, json: 1}\n", 1, "two values"),
        ("a: {updated: 2026-11-20T12:00:00Z}\n", 1, "neither"),
        ("a: {updated: 2026-11-20, name: x}\n", 1, "neither"),
        ("a: {type: text/html, text: x}\n", 1, "neither"),
        ("a: {ttl: 10m}\n", 1, "under json:"),
        ("a: {value: 1, expires: soon}\n", 1, "RFC 3339"),
        ("a: {value: 1, expires: }\n", 1, "is empty"),
        ("a: {value: 1, type: ~}\n", 1, "is empty"),
        ("a: {value: 1, type: [x/y]}\n", 1, "a list or a mapping"),
        ("a: {value: [1]}\n", 1, "under json:"),
        ("a: {value: ~}\n", 1, "write \"\""),
        ("a: {value: 1, ttl: 10m, expires: 2030-01-01}\n", 1, "both ttl and expires"),
        ("a: {value: 1, ttl: 10x}\n", 1, "1d12h"),
        ("a: {value: 1, ttl: 0}\n", 1, "greater than 0"),
        ("a: {value: 1, ttl: 36501d}\n", 1, "36500d"),
        ("a: {value: 1, updated: 2262-04-11T23:47:16.854775807Z}\n", 1, "too late"),
        ("a: {value: 1, updated: 9999-12-31}\n", 1, "too late"),
        ("a:\n  - b\n  - &x c\n", 3, "anchors"),
        ("a:\n  b: {c: !t d}\n", 2, "tags"),
        ("a: [1, {b: 1,\n  b: 2}]\n", 2, "twice"),
        ("a: {b: 1, \"b\": 2}\n", 1, "twice"),
        ("a:\n  x: {json: 1, b: 2}\n  <<: {c: 1}\n", 3, "merge"),
        ("a: {json: {b: [{c: 1, c: 2}]}}\n", 1, "twice"),
        ("a: {[1]: 2}\n", 1, "not a list"),
        ("a: {~: 2}\n", 1, "key is missing"),
        ("a: 1\nb: \"open\n", 3, "invalid YAML"),
        ("a: 1\nb: {c: [1,\n  2\n", 2, "flow"),
        ("just text\n", 1, "key: value"),
        ("- a\n- b\n", 1, "key: value"),
        ("a: 1\n  b: 2\n", 2, "invalid YAML"),
        ("\"a\\nb\": 1\n", 1, "control"),
    ] {
        let (at, what) = error(text);
        assert!(what.contains(word), "{text:?}: {what}");
        assert!(at == line || word == "invalid YAML", "{text:?}: line {at}");
    }
}

#[test]
fn lists_and_mappings_are_json() {
    for (text, wanted) in [
        ("a: [1, 2]\n", "[1, 2]"),
        ("a: [ 1,2 ] # c\n", "[ 1,2 ]"),
        ("a: [x, 2]\n", r#"["x",2]"#),
        ("a: []\n", "[]"),
        ("a: {}\n", "{}"),
        ("a: {\"b\":1}\n", "{\"b\":1}"),
        ("a: {b: 1}\n", "{\"b\":1}"),
        ("a: [1,\n  2]\n", "[1,2]"),
        ("a: [{\"b\":[1,2.50,{\"c\":null}]}]\n", "[{\"b\":[1,2.50,{\"c\":null}]}]"),
        ("a:\n- 1\n- x: y\n  z:\n  - ~\n-\n", r#"[1,{"x":"y","z":[null]},null]"#),
        (
            "a:\n  b:\n    c: 21.50\n    d: [1e3, -0, 1_000, 0x1F, 01, .5, 1., +1, 123456789012345678901234567890]\n",
            r#"{"b":{"c":21.50,"d":[1e3,-0,"1_000","0x1F","01",".5","1.","+1",123456789012345678901234567890]}}"#,
        ),
        (
            "a:\n  - true\n  - yes\n  - 'false'\n  - false\n  - 2026-11-20\n  - \"1\"\n  - null\n  - Null\n  -\n  - |\n\
                 \u{20}   x\n",
            r#"[true,"yes","false",false,"2026-11-20","1",null,null,null,"x\n"]"#,
        ),
        (
            "a: {type: x, updated: never, \"ä\\n\": \"\\x01\"}\n",
            "{\"type\":\"x\",\"updated\":\"never\",\"ä\\n\":\"\\u0001\"}",
        ),
        ("a: {1: 2, true: 3}\n", r#"{"1":2,"true":3}"#),
        ("a: {json: {\"theme\": \"dark\", \"sizes\": [1, 2]}}\n", r#"{"theme": "dark", "sizes": [1, 2]}"#),
        (
            "a: {json: {\"a\":1,\"b\":[1,{\"c\":\"}\"}]}, updated: 2026-01-01T00:00:00Z}\n",
            r#"{"a":1,"b":[1,{"c":"}"}]}"#,
        ),
        ("a: {json: 21.50}\n", "21.50"),
        ("a: {json: \"x\\u00e4\"}\n", "\"x\\u00e4\""),
        ("a: {json: 'x'}\n", "\"x\""),
        ("a: {json: }\n", "null"),
        ("a: {json: ~}\n", "null"),
        ("a: {json: yes}\n", "\"yes\""),
        ("a: {json: {value: 1, <<x: 2}}\n", r#"{"value":1,"<<x":2}"#),
        ("a: {json: {\"a\":\t1}}\n", "{\"a\":\t1}"),
    ] {
        assert_eq!(value(text), wanted, "{text:?}");
        assert_eq!(parsed(text).content_type.as_str(), "application/json", "{text:?}");
    }
    assert_eq!(parsed("a: {json: [1], type: application/geo+json}\n").content_type.as_str(), "application/geo+json");
    assert_eq!(parsed("a: {type: application/geo+json, json: [1]}\n").content_type.as_str(), "application/geo+json");
    assert_eq!(parsed("a: 21.5\n"), ParsedEntry::text("21.5"));
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(value(&nested(100)).len(), 200);
    for depth in [101, 250, 300, 100_000] {
        let (line, text) = error(&nested(depth));
        assert!(line == 1 && text.contains("100 deep"), "{text}");
    }
    let deep: String = (0..200).map(|n| format!("{}b:\n", " ".repeat(n + 1))).collect();
    assert!(error(&format!("a:\n{deep}")).1.contains("100 deep"));
}

#[test]
fn an_empty_value_is_the_empty_text() {
    for text in [
        "a:\n",
        "a: # c\n",
        "a:\nb: 1\n",
        "{a: , b: 1}\n",
        "{a}\n",
        "? a\n",
        "? a\n:\n",
        "a: {value: }\n",
        "a: {value:}\n",
    ] {
        assert_eq!(parsed(text), ParsedEntry::text(""), "{text:?}");
    }
    assert_eq!(value("a: {base64: }\n"), "");
    for text in ["a: ~\n", "a: null # c\n", "a: NULL\n", "{a: Null}\n"] {
        assert_eq!(read(text, 1).unwrap()[0].0.parsed, None, "{text:?}");
    }
}

#[test]
fn a_time_to_live_is_counted_from_the_write() {
    let parsed = parsed("a: {value: x, ttl: 1d12h}\n");
    assert_eq!((parsed.ttl, parsed.expires), (Some(std::time::Duration::from_secs(129_600)), None));
    assert_eq!(parsed.at(crate::model::Revision::new(5)).expires.unwrap().nanos(), 129_600_000_000_005);
}

#[test]
fn times_may_have_any_yaml_form() {
    let time = |text: &str| Some(text.parse().unwrap());
    let parsed = parsed(
        "a:\n  value: x\n  created: 2001-12-14 21:59:43.10 -5\n  updated: 2030-01-01\n  expires: 9999-12-31\n\
         \u{20} modified: 2001-12-15 2:59:43.10\n",
    );
    assert_eq!(parsed.created, time("2001-12-15T02:59:43.1Z"));
    assert_eq!(parsed.modified, time("2001-12-15T02:59:43.1Z"));
    assert_eq!((parsed.updated, parsed.expires), (time("2030-01-01T00:00:00Z"), None));
}

#[test]
fn tabs_are_white_space_where_yaml_allows_it() {
    for text in [
        "a:\t1",
        "a: \t1",
        "a:\t\t1\t",
        "a\t:\t1",
        "a: 1\t# c",
        "\"a\":\t1",
        "{a:\t1}",
        "a:\t\"1\"\t#c\n",
        "a:\t|-\t# c\n  1\n",
    ] {
        assert_eq!(value(text), "1", "{text:?}");
    }
    assert_eq!(value("a:\t-1"), "-1");
    assert_eq!(value("a:\n  - x:\ty\n"), r#"[{"x":"y"}]"#);
    assert_eq!(value("a: \"x:\ty\""), "x:\ty");
    for text in ["a:\t- 1", "a:\tb: 1"] {
        assert!(error(text).1.contains("invalid YAML"), "{text:?}");
    }
    assert!(error("\ta: 1").1.contains("use spaces"));
}

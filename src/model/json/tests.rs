//! Tests of JSON documents. The official suites of RFC 6902 and 7396 run over HTTP, in `tests/it`.

use super::json_error::JsonError;
use super::json_value::JsonValue;
use super::pointer::Pointer;

fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

fn put(document: &str, path: &str, value: &str) -> Result<String, JsonError> {
    let mut json = JsonValue::parse(document)?;
    json.put(&path.parse()?, JsonValue::parse(value)?)?;
    Ok(json.to_string())
}

fn get(document: &str, path: &str) -> Result<String, JsonError> {
    Ok(JsonValue::parse(document)?.get(&path.parse()?)?.to_string())
}

fn patch(document: &str, patch: &str) -> Result<String, JsonError> {
    let mut json = JsonValue::parse(document)?;
    json.patch(JsonValue::parse(patch)?, 100)?;
    Ok(json.to_string())
}

fn merge(document: &str, patch: &str) -> String {
    let mut json = JsonValue::parse(document).unwrap();
    json.merge_patch(JsonValue::parse(patch).unwrap()).unwrap();
    json.to_string()
}

#[test]
fn pointers_are_parsed_as_in_rfc_6901() {
    let document = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "k\"l": 6, " ": 7, "m~n": 8}"#;
    for (path, value) in [
        ("", JsonValue::parse(document).unwrap().to_string().as_str()),
        ("/foo", r#"["bar", "baz"]"#),
        ("/foo/0", r#""bar""#),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ] {
        assert_eq!(get(document, path).unwrap(), value, "{path}");
    }
    for bad in ["foo", "#/foo", "/~", "/~2", "/a~", &"/a".repeat(129)] {
        assert!(matches!(bad.parse::<Pointer>(), Err(JsonError::Invalid(_))), "{bad}");
    }
    assert_eq!(pointer("/~01").tokens(), ["~1"]);
}

#[test]
fn a_part_that_does_not_exist_is_missing_and_a_scalar_is_no_way() {
    for path in ["/b", "/a/3", "/a/-", "/a/01", "/a/x", "/a/1e0", "/o/p/q"] {
        assert!(matches!(get(r#"{"a":[1,2,3],"o":{}}"#, path), Err(JsonError::Missing(_))), "{path}");
    }
    for (document, path) in [("1", "/a"), (r#"{"a":"text"}"#, "/a/0"), ("[null]", "/0/a")] {
        assert!(matches!(get(document, path), Err(JsonError::Conflict(_))), "{document} {path}");
        assert!(matches!(put(document, path, "1"), Err(JsonError::Conflict(_))), "{document} {path}");
    }
    for text in ["", "{", "01", "[1,]", "{\"a\":1} x", "'a'", "NaN", "\"\u{1}\""] {
        assert!(matches!(JsonValue::parse(text), Err(JsonError::NotJson(_))), "{text}");
    }
}

#[test]
fn put_replaces_appends_and_creates() {
    for (document, path, value, result) in [
        (r#"{"a": 1.50, "b": [ 2 ]}"#, "/a", "\"\\u00e9\"", r#"{"a":"\u00e9","b":[ 2 ]}"#),
        ("{}", "/a/b/c", "1", r#"{"a":{"b":{"c":1}}}"#),
        ("{}", "/a/-", "1", r#"{"a":[1]}"#),
        ("{}", "/a/0", "1", r#"{"a":{"0":1}}"#),
        ("[1,2]", "/0", "3", "[3,2]"),
        ("[1,2]", "/-", "3", "[1,2,3]"),
        ("[1,2]", "/2", "3", "[1,2,3]"),
        ("[1,2]", "/-/a", "3", r#"[1,2,{"a":3}]"#),
        ("[1,2]", "", "3", "3"),
        (r#"{"a":1,"a":2}"#, "/a", "3", r#"{"a":1,"a":3}"#),
    ] {
        assert_eq!(put(document, path, value).unwrap(), result, "{document} {path}");
    }
    for path in ["/3", "/x", "/01"] {
        assert!(matches!(put("[1,2]", path, "3"), Err(JsonError::Missing(_))), "{path}");
    }
}

#[test]
fn numbers_keep_their_text() {
    let document = r#"{"big":123456789012345678901234567890,"price":21.50,"exp":1E+2,"zero":-0.0}"#;
    let changed = put(document, "/new", "0.10").unwrap();
    assert_eq!(changed, document.replace('}', ",\"new\":0.10}"));
    let patched = patch(document, r#"[{"op":"move","from":"/big","path":"/huge"}]"#).unwrap();
    assert!(patched.ends_with(r#""huge":123456789012345678901234567890}"#), "{patched}");
    assert_eq!(merge(document, r#"{"exp":null}"#), document.replace(r#""exp":1E+2,"#, ""));
}

#[test]
fn removing_keeps_the_order_of_the_rest() {
    let mut json = JsonValue::parse(r#"{"d":1,"c":2,"b":3,"a":[0,1,2]}"#).unwrap();
    assert_eq!(json.remove(&pointer("/c")).unwrap().to_string(), "2");
    assert_eq!(json.remove(&pointer("/a/0")).unwrap().to_string(), "0");
    assert_eq!(json.to_string(), r#"{"d":1,"b":3,"a":[1,2]}"#);
    assert!(matches!(json.remove(&pointer("/c")), Err(JsonError::Missing(_))));
    assert!(matches!(json.remove(&pointer("/a/2")), Err(JsonError::Missing(_))));
    assert!(matches!(json.remove(&pointer("")), Err(JsonError::Invalid(_))));
}

#[test]
fn tests_of_a_patch_compare_by_value() {
    for (a, b) in [
        ("1", "1.0"),
        ("100", "1E+2"),
        ("-0", "0.0"),
        ("0.001", "1e-3"),
        ("\"é\\/\"", "\"\\u00e9/\""),
        (r#"{"a":1,"b":[2.0]}"#, r#"{"b":[2],"a":1}"#),
        ("123456789012345678901234567890", "1.2345678901234567890123456789e29"),
    ] {
        let test = format!(r#"[{{"op":"test","path":"","value":{b}}}]"#);
        assert_eq!(patch(a, &test).unwrap(), a, "{a} {b}");
    }
    for (a, b) in [
        ("1", "-1"),
        ("1", "10"),
        ("1", "\"1\""),
        ("null", "false"),
        ("[1,2]", "[2,1]"),
        ("{}", "[]"),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
    ] {
        let test = format!(r#"[{{"op":"test","path":"","value":{b}}}]"#);
        assert!(matches!(patch(a, &test), Err(JsonError::Conflict(_))), "{a} {b}");
    }
}

#[test]
fn malformed_patches_differ_from_patches_that_do_not_fit() {
    for bad in [
        "{}",
        "[1]",
        r#"[{"path":"/a"}]"#,
        r#"[{"op":"add","path":"/a"}]"#,
        r#"[{"op":"add","path":"a","value":1}]"#,
        r#"[{"op":"spam","path":"/a"}]"#,
        r#"[{"op":1,"path":"/a"}]"#,
        r#"[{"op":"add","op":"remove","path":"/a","value":1}]"#,
        r#"[{"op":"move","path":"/a/b","from":"/a"}]"#,
        r#"[{"op":"copy","path":"/a"}]"#,
        r#"[{"op":"remove","path":""}]"#,
    ] {
        assert!(matches!(patch(r#"{"a":{}}"#, bad), Err(JsonError::Invalid(_))), "{bad}");
    }
    for conflict in [
        r#"[{"op":"remove","path":"/b"}]"#,
        r#"[{"op":"replace","path":"/b","value":1}]"#,
        r#"[{"op":"add","path":"/b/c","value":1}]"#,
        r#"[{"op":"add","path":"/a/3","value":1}]"#,
        r#"[{"op":"add","path":"/a/0/x","value":1}]"#,
        r#"[{"op":"move","from":"/b","path":"/a"}]"#,
    ] {
        assert!(matches!(patch(r#"{"a":[1,2]}"#, conflict), Err(JsonError::Conflict(_))), "{conflict}");
    }
}

#[test]
fn a_patch_cannot_grow_without_limit_or_nest_without_limit() {
    let double = r#"{"op":"copy","from":"","path":"/a"}"#;
    let many = format!("[{}]", vec![double; 20].join(","));
    assert!(matches!(patch(r#"{"text":"0123456789"}"#, &many), Err(JsonError::TooLarge(_))));
    let test = r#"{"op":"test","path":"","value":1}"#;
    let many = format!("[{}]", vec![test; 1001].join(","));
    assert!(matches!(patch("1", &many), Err(JsonError::TooLarge(_))));
    let nested = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert!(matches!(
        JsonValue::parse("{}").unwrap().merge_patch(JsonValue::parse(&nested).unwrap()),
        Err(JsonError::TooLarge(_))
    ));
    let other = nested.replace('1', "2");
    let test = format!(r#"[{{"op":"test","path":"","value":{other}}}]"#);
    assert!(matches!(patch(&nested, &test), Err(JsonError::TooLarge(_))));
}

#[test]
fn merge_patch_does_what_the_appendix_of_rfc_7396_shows() {
    for (document, change, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        // Beyond the appendix: names that occur twice.
        (r#"{"a":1,"a":2,"b":3}"#, r#"{"a":null}"#, r#"{"b":3}"#),
        ("{}", r#"{"a":1,"a":null}"#, "{}"),
        ("{}", r#"{"a":null,"a":{"b":null,"c":1}}"#, r#"{"a":{"c":1}}"#),
    ] {
        assert_eq!(merge(document, change), result, "{document} {change}");
    }
}

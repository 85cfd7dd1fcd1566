//! Parses the checks and operations of a transaction from JSON.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::parse_checks::{CHECK, expectation};
use super::step_fields::{revision, value};
use crate::model::{Batch, End, Entry, Revision, Time, Write};
use crate::web::request::json_fields::{JsonFields, ObjectSchema};
use crate::web::request::{number, ttl};
use crate::web::response::api_error::ApiError;

/// How many checks a transaction may have, and how many operations.
const MAX_STEPS: usize = 100_000;

/// How far the revision of a restored entry may be ahead of the clock. All later writes of its bucket get greater ones.
const MAX_REVISION_AHEAD: Duration = Duration::from_secs(86_400);

/// The fields of a transaction.
const TRANSACTION: ObjectSchema = ObjectSchema { name: "a transaction", fields: &["checks", "ops"] };
/// The fields of all operations together, and of each operation.
const ANY_OPERATION: ObjectSchema = ObjectSchema {
    name: "an operation",
    fields: &[
        "op", "key", "value", "base64", "type", "ttl", "expires", "by", "modified", "revision", "created", "updated",
    ],
};
const OPERATIONS: [ObjectSchema; 9] = [
    ObjectSchema { name: "set", fields: &["op", "key", "value", "base64", "type", "ttl", "expires", "modified"] },
    ObjectSchema { name: "get", fields: &["op", "key"] },
    ObjectSchema { name: "delete", fields: &["op", "key"] },
    ObjectSchema { name: "incr", fields: &["op", "key", "by"] },
    ObjectSchema { name: "append", fields: &["op", "key", "value", "base64"] },
    ObjectSchema { name: "prepend", fields: &["op", "key", "value", "base64"] },
    ObjectSchema { name: "touch", fields: &["op", "key", "ttl", "expires"] },
    ObjectSchema { name: "persist", fields: &["op", "key"] },
    ObjectSchema {
        name: "restore",
        fields: &["op", "key", "value", "base64", "type", "revision", "created", "updated", "modified", "expires"],
    },
];

/// Parses the body of a transaction.
///
/// # Errors
/// If a check or an operation is invalid. The error has its number, counted from 0.
pub(crate) fn parse(body: &[u8], max_value_bytes: usize, now: Time) -> Result<Batch, ApiError> {
    let (checks, ops) = lists(body).map_err(|cause| {
        ApiError::invalid(format!("the body is not a transaction {{\"checks\":[...],\"ops\":[...]}}: {cause}"))
    })?;
    if checks.len() > MAX_STEPS || ops.len() > MAX_STEPS {
        let (checks, ops) = (checks.len(), ops.len());
        return Err(ApiError::too_large(format!(
            "a transaction must have at most {MAX_STEPS} checks and {MAX_STEPS} operations, got {checks} and {ops}"
        )));
    }
    let expectations = checks.into_iter().enumerate().map(|(number, check)| {
        let check = JsonFields::parse(check.get(), CHECK).and_then(|check| expectation(&check));
        check.map_err(|cause| ApiError::invalid(format!("check {number} is invalid: {cause}")))
    });
    let expectations = expectations.collect::<Result<_, _>>()?;
    let writes = ops.into_iter().enumerate().map(|(number, op)| {
        let write = JsonFields::parse(op.get(), ANY_OPERATION).and_then(|op| write(&op, now));
        match write {
            Ok(Write::Put { value, .. } | Write::Restore { entry: Entry { value, .. }, .. })
                if value.len() > max_value_bytes =>
            {
                let bytes = value.len();
                let text = format!("operation {number}: the value has {bytes} bytes; the limit is {max_value_bytes}");
                Err(ApiError::too_large(text))
            }
            Ok(write) => Ok(write),
            Err(cause) => Err(ApiError::invalid(format!("operation {number} is invalid: {cause}"))),
        }
    });
    Ok(Batch::new(writes.collect::<Result<_, _>>()?).with_expectations(expectations))
}

/// The checks and the operations as raw JSON.
fn lists(body: &[u8]) -> Result<(Vec<&RawValue>, Vec<&RawValue>), String> {
    let body: &RawValue = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let txn = JsonFields::parse(body.get(), TRANSACTION)?;
    let ops = txn.list("ops")?.ok_or("ops is missing")?;
    Ok((txn.list("checks")?.unwrap_or_default(), ops))
}

fn write(op: &JsonFields<'_>, now: Time) -> Result<Write, String> {
    let name = op.required("op")?;
    let Some(operation) = OPERATIONS.into_iter().find(|operation| operation.name == name) else {
        let all = OPERATIONS.map(|operation| operation.name).join(", ");
        return Err(format!("op must be one of {all}, got {}", number::quote(&name)));
    };
    op.check_known(operation)?;
    let key = op.key()?;
    Ok(match operation.name {
        "set" => Write::Put {
            key,
            value: required_value(op)?,
            content_type: op.content_type("type")?.unwrap_or_default(),
            expires: expiry(op, now)?,
            modified: op.time("modified")?,
        },
        "restore" => Write::Restore { key, entry: entry(op, now)? },
        "get" => Write::Read { key },
        "delete" => Write::Delete { key },
        "incr" => Write::Increment { key, by: op.number("by", i64::MIN..=i64::MAX)?.unwrap_or(1) },
        "append" => Write::Append { key, value: required_value(op)?, end: End::Append },
        "prepend" => Write::Append { key, value: required_value(op)?, end: End::Prepend },
        "touch" => {
            let expires = expiry(op, now)?.ok_or("touch needs ttl or expires; use persist to remove the expiry")?;
            Write::Touch { key, expires: Some(expires) }
        }
        _ => Write::Touch { key, expires: None },
    })
}

/// The entry to restore.
fn entry(op: &JsonFields<'_>, now: Time) -> Result<Entry, String> {
    let revision = revision("revision", &op.required("revision")?)?;
    if revision > Revision::from(now.plus(MAX_REVISION_AHEAD)) {
        return Err("the revision is more than a day ahead of the clock of this server".to_owned());
    }
    // A commit time, which the revision has too.
    op.time("updated")?;
    Ok(Entry {
        value: required_value(op)?,
        content_type: op.content_type("type")?.unwrap_or_default(),
        revision,
        created: op.time("created")?.ok_or("created is missing")?,
        modified: op.time("modified")?,
        expires: op.time("expires")?,
    })
}

fn required_value(op: &JsonFields<'_>) -> Result<Bytes, String> {
    value(op)?.ok_or_else(|| "value or base64 is missing".to_owned())
}

/// `ttl` and `expires` as in a query, or `expires` as text: an exact time, which may be in the past.
fn expiry(op: &JsonFields<'_>, now: Time) -> Result<Option<Time>, String> {
    if op.raw("ttl").is_none()
        && op.raw("expires").is_some_and(|raw| raw.starts_with('"'))
        && let Ok(time) = Time::parse_clamped(&op.required("expires")?)
    {
        return Ok(Some(time));
    }
    ttl::expiry(op.raw("ttl"), op.raw("expires"), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Condition, ContentType, Key};

    fn batch(body: &str) -> Result<Batch, ApiError> {
        parse(body.as_bytes(), 10, Time::from_secs(1000))
    }

    #[test]
    fn all_kinds_of_steps_are_parsed() {
        let batch = batch(
            r#"{"checks":[{"key":"a","revision":"k2"},{"key":"b","absent":true},{"key":"c","value":"x"}],
                "ops":[{"op":"set","key":"a","value":"1","ttl":60},{"op":"delete","key":"b"},
                       {"op":"incr","key":"n","by":1},{"op":"get","key":"c"}]}"#,
        )
        .unwrap();
        let conditions: Vec<_> = batch.expectations.into_iter().map(|check| check.condition).collect();
        let k2 = "k2".parse().unwrap();
        assert_eq!(conditions, [Condition::RevisionIn(vec![k2]), Condition::Absent, Condition::ValueIs("x".into())]);
        let key = |name| Key::new(name).unwrap();
        let end = Some(Time::from_secs(1060));
        assert!(matches!(&batch.writes[0], Write::Put { value, expires, .. } if value == "1" && *expires == end));
        assert_eq!(batch.writes[1], Write::Delete { key: key("b") });
        assert_eq!(batch.writes[2], Write::Increment { key: key("n"), by: 1 });
        assert_eq!(batch.writes[3], Write::Read { key: key("c") });
    }

    #[test]
    fn steps_for_exact_copies_are_parsed() {
        let batch = batch(
            r#"{"checks":[{"key":"a","revision":"k2","expires":"never"},
                          {"key":"a","revision":"k2","expires":"1970-01-01T00:00:00.5Z"},
                          {"key":"a","revisions":["k2","k3"]},{"key":"a","not_revisions":[]},
                          {"key":"a","not_modified_since":"1970-01-01T00:00:09Z"}],
                "ops":[{"op":"set","key":"a","base64":"AA==","expires":"1970-01-01T00:00:01Z",
                        "modified":"1970-01-01T00:00:02Z"},
                       {"op":"restore","key":"b","value":"x","type":"application/json","revision":"k2",
                        "updated":"1970-01-01T00:00:00Z","created":"1970-01-01T00:00:03Z","modified":null}]}"#,
        )
        .unwrap();
        let conditions: Vec<_> = batch.expectations.into_iter().map(|check| check.condition).collect();
        let [k2, k3] = ["k2", "k3"].map(|text| text.parse().unwrap());
        let half = Time::from_nanos(500_000_000);
        assert_eq!(
            conditions,
            [
                Condition::Unchanged { revision: k2, expires: None },
                Condition::Unchanged { revision: k2, expires: Some(half) },
                Condition::RevisionIn(vec![k2, k3]),
                Condition::RevisionNotIn(vec![]),
                Condition::NotModifiedSince(Time::from_secs(9)),
            ]
        );
        let (key, second) = (|name| Key::new(name).unwrap(), |secs| Some(Time::from_secs(secs)));
        let (value, content_type) = (Bytes::from_static(b"\0"), ContentType::default());
        let put = Write::Put { key: key("a"), value, content_type, expires: second(1), modified: second(2) };
        let entry = Entry {
            value: "x".into(),
            content_type: ContentType::json(),
            revision: k2,
            created: Time::from_secs(3),
            modified: None,
            expires: None,
        };
        assert_eq!(batch.writes, [put, Write::Restore { key: key("b"), entry }]);
    }

    #[test]
    fn invalid_steps_are_errors_with_their_number() {
        for bad in [
            r#"{"key":"a"}"#,
            r#"{"op":"set","key":"a"}"#,
            r#"{"op":"set","key":"a","value":"1","base64":"MQ=="}"#,
            r#"{"op":"set","key":"a","value":1}"#,
            r#"{"op":"set","key":"","value":"1"}"#,
            r#"{"op":"set","key":"a","value":"1","ttl":0}"#,
            r#"{"op":"set","key":"a","value":"1","tll":5}"#,
            r#"{"op":"drop","key":"a"}"#,
            r#"{"op":"incr","key":"a","by":1.5}"#,
            r#"{"op":"touch","key":"a"}"#,
            r#"{"op":"set","key":"a","value":"1","value":"2"}"#,
            r#"{"op":"get","op":"delete","key":"a"}"#,
            r#"{"op":"get","key":"a","by":1}"#,
            "1",
            r#"["get","a"]"#,
            r#"{"op":"set","key":"a","value":"1","expires":"2026-11-30T00:00:00Z","ttl":1}"#,
            r#"{"op":"set","key":"a","value":"1","modified":"x"}"#,
            r#"{"op":"restore","key":"a","value":"1","created":"2026-11-30T00:00:00Z"}"#,
            r#"{"op":"restore","key":"a","value":"1","revision":"k2"}"#,
            r#"{"op":"restore","key":"a","value":"1","revision":"1y2p0ij32e8e7","created":"2026-11-30T00:00:00Z"}"#,
        ] {
            let error = batch(&format!(r#"{{"ops":[{{"op":"get","key":"a"}},{bad}]}}"#)).unwrap_err();
            assert!(error.text().contains("operation 1 "), "{bad}: {}", error.text());
        }
        for bad in [
            r#"{"key":"a"}"#,
            r#"{"key":"a","absent":true,"value":"x"}"#,
            r#"{"key":"a","absent":true,"absent":false}"#,
            r#"{"key":"a","revision":"K2!"}"#,
            r#"{"key":"a","revision":"k2","revisions":["k2"]}"#,
            r#"{"key":"a","revisions":[1]}"#,
            r#"{"key":"a","expires":"never"}"#,
            r#"{"key":"a","revision":"k2","expires":"soon"}"#,
            r#"{"key":"a","not_modified_since":"yesterday"}"#,
            r#"{"revision":"k2"}"#,
            r#"["a",null,true,null,null]"#,
        ] {
            let error = batch(&format!(r#"{{"checks":[{bad}],"ops":[]}}"#)).unwrap_err();
            assert!(error.text().contains("check 0 "), "{bad}: {}", error.text());
        }
        for bad in ["", "[]", "[[],[]]", "{}", r#"{"op":[]}"#, r#"{"ops":{}}"#] {
            assert!(batch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn too_many_steps_and_too_large_values_are_rejected() {
        let many = |n| format!(r#"{{"ops":[{}]}}"#, vec![r#"{"op":"get","key":"a"}"#; n].join(","));
        assert!(batch(&many(MAX_STEPS)).is_ok() && batch(&many(MAX_STEPS + 1)).is_err());
        assert!(batch(r#"{"ops":[{"op":"set","key":"a","value":"12345678901"}]}"#).is_err());
    }
}

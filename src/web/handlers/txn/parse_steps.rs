//! Parses the checks and operations of a transaction from JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::model::{Batch, Condition, ContentType, End, Expectation, Key, Time, Write};
use crate::web::request::json_fields::{JsonFields, ObjectSchema};
use crate::web::request::{etag, number, ttl};
use crate::web::response::api_error::ApiError;

/// How many checks a transaction may have, and how many operations.
const MAX_STEPS: usize = 1000;

/// The fields of a transaction, and of a check.
const TRANSACTION: ObjectSchema = ObjectSchema { name: "a transaction", fields: &["checks", "ops"] };
const CHECK: ObjectSchema = ObjectSchema { name: "a check", fields: &["key", "revision", "absent", "value", "base64"] };
/// The fields of all operations together, and of each operation.
const ANY_OPERATION: ObjectSchema =
    ObjectSchema { name: "an operation", fields: &["op", "key", "value", "base64", "type", "ttl", "expires", "by"] };
const OPERATIONS: [ObjectSchema; 8] = [
    ObjectSchema { name: "set", fields: &["op", "key", "value", "base64", "type", "ttl", "expires"] },
    ObjectSchema { name: "get", fields: &["op", "key"] },
    ObjectSchema { name: "delete", fields: &["op", "key"] },
    ObjectSchema { name: "incr", fields: &["op", "key", "by"] },
    ObjectSchema { name: "append", fields: &["op", "key", "value"] },
    ObjectSchema { name: "prepend", fields: &["op", "key", "value"] },
    ObjectSchema { name: "touch", fields: &["op", "key", "ttl", "expires"] },
    ObjectSchema { name: "persist", fields: &["op", "key"] },
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
            Ok(Write::Put { value, .. }) if value.len() > max_value_bytes => Err(ApiError::too_large(format!(
                "operation {number}: the value has {} bytes; the limit is {max_value_bytes}",
                value.len()
            ))),
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

fn expectation(check: &JsonFields<'_>) -> Result<Expectation, String> {
    let key = key(check)?;
    let fields = (check.text("revision")?, check.flag("absent")?, value(check)?);
    let condition = match fields {
        (Some(text), None, None) => {
            let revision = etag::bare(&text).parse();
            let revision = revision.map_err(|error: crate::model::Error| format!("revision: {error}"))?;
            Condition::RevisionIn(vec![revision])
        }
        (None, Some(true), None) => Condition::Absent,
        (None, Some(false), None) => Condition::Present,
        (None, None, Some(value)) => Condition::ValueIs(value),
        _ => return Err("a check needs exactly one of revision, absent, value and base64".to_owned()),
    };
    Ok(Expectation { key, condition })
}

fn write(op: &JsonFields<'_>, now: Time) -> Result<Write, String> {
    let name = op.required("op")?;
    let Some(operation) = OPERATIONS.into_iter().find(|operation| operation.name == name) else {
        let all = OPERATIONS.map(|operation| operation.name).join(", ");
        return Err(format!("op must be one of {all}, got {}", number::quote(&name)));
    };
    op.check_known(operation)?;
    let key = key(op)?;
    Ok(match operation.name {
        "set" => {
            let content_type = op.text("type")?.as_deref().map(ContentType::new).transpose();
            Write::Put {
                key,
                value: value(op)?.ok_or("set needs value or base64")?,
                content_type: content_type.map_err(|error| format!("type: {error}"))?.unwrap_or_default(),
                expires: expiry(op, now)?,
                modified: None,
            }
        }
        "get" => Write::Read { key },
        "delete" => Write::Delete { key },
        "incr" => Write::Increment { key, by: op.number("by", i64::MIN..=i64::MAX)?.unwrap_or(1) },
        "append" => Write::Append { key, value: op.required("value")?.into(), end: End::Append },
        "prepend" => Write::Append { key, value: op.required("value")?.into(), end: End::Prepend },
        "touch" => {
            let expires = expiry(op, now)?.ok_or("touch needs ttl or expires; use persist to remove the expiry")?;
            Write::Touch { key, expires: Some(expires) }
        }
        _ => Write::Touch { key, expires: None },
    })
}

fn key(fields: &JsonFields<'_>) -> Result<Key, String> {
    Key::new(&fields.required("key")?).map_err(|error| format!("key: {error}"))
}

/// The value, if the object has one.
fn value(fields: &JsonFields<'_>) -> Result<Option<Bytes>, String> {
    match (fields.text("value")?, fields.text("base64")?) {
        (Some(_), Some(_)) => Err("send value or base64, not both".to_owned()),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?;
            Ok(Some(bytes.into()))
        }
        (None, None) => Ok(None),
    }
}

fn expiry(op: &JsonFields<'_>, now: Time) -> Result<Option<Time>, String> {
    ttl::expiry(op.raw("ttl"), op.raw("expires"), now)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let error = batch(&format!(r#"{{"ops":[{{"op":"get","key":"a"}},{bad}]}}"#)).unwrap_err();
            assert!(error.text().contains("operation 1 "), "{bad}: {}", error.text());
        }
        for bad in [
            r#"{"key":"a"}"#,
            r#"{"key":"a","absent":true,"value":"x"}"#,
            r#"{"key":"a","absent":true,"absent":false}"#,
            r#"{"key":"a","revision":"K2!"}"#,
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

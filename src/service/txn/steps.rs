//! The checks and operations of a transaction, as JSON writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::fields::Fields;
use super::super::reply::Refusal;
use super::super::{condition, expiry, number};
use crate::model::{Batch, Condition, ContentType, Edge, Expectation, Key, Time, Write};

/// Operations, and checks, of one transaction.
const MOST: usize = 1000;

/// What a transaction, and each of its checks, may have.
const TXN: (&str, &[&str]) = ("a transaction", &["checks", "ops"]);
const CHECK: (&str, &[&str]) = ("a check", &["key", "revision", "absent", "value", "base64"]);
/// What operations have, all of them together and each.
const ALL: (&str, &[&str]) = ("an operation", &["op", "key", "value", "base64", "type", "ttl", "expires", "by"]);
const EACH: [(&str, &[&str]); 8] = [
    ("set", &["op", "key", "value", "base64", "type", "ttl", "expires"]),
    ("get", &["op", "key"]),
    ("delete", &["op", "key"]),
    ("incr", &["op", "key", "by"]),
    ("append", &["op", "key", "value"]),
    ("prepend", &["op", "key", "value"]),
    ("touch", &["op", "key", "ttl", "expires"]),
    ("persist", &["op", "key"]),
];

/// The transaction in that body.
///
/// # Errors
/// Names the check or the operation, from 0, that is not understood.
pub(super) fn read(body: &[u8], most: usize, now: Time) -> Result<Batch, Refusal> {
    let (checks, ops) = lists(body).map_err(|what| {
        Refusal::invalid(format!("the body is no transaction, {{\"checks\":[...],\"ops\":[...]}}: {what}"))
    })?;
    if checks.len() > MOST || ops.len() > MOST {
        return Err(Refusal::too_large(format!("at most {MOST} checks and {MOST} operations are taken")));
    }
    let expectations = checks.into_iter().enumerate().map(|(number, check)| {
        let check = Fields::read(check.get(), CHECK).and_then(|check| expectation(&check));
        check.map_err(|what| Refusal::invalid(format!("check {number} is not understood: {what}")))
    });
    let expectations = expectations.collect::<Result<_, _>>()?;
    let writes = ops.into_iter().enumerate().map(|(number, op)| {
        let write = Fields::read(op.get(), ALL).and_then(|op| write(&op, now));
        match write {
            Ok(Write::Put { value, .. }) if value.len() > most => Err(Refusal::too_large(format!(
                "operation {number}: the value has {} bytes; at most {most} are taken",
                value.len()
            ))),
            Ok(write) => Ok(write),
            Err(what) => Err(Refusal::invalid(format!("operation {number} is not understood: {what}"))),
        }
    });
    Ok(Batch::of(writes.collect::<Result<_, _>>()?).expecting(expectations))
}

/// The checks and the operations, as they are written.
fn lists(body: &[u8]) -> Result<(Vec<&RawValue>, Vec<&RawValue>), String> {
    let body: &RawValue = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let txn = Fields::read(body.get(), TXN)?;
    let ops = txn.list("ops")?.ok_or("ops is missing")?;
    Ok((txn.list("checks")?.unwrap_or_default(), ops))
}

fn expectation(check: &Fields<'_>) -> Result<Expectation, String> {
    let key = key(check)?;
    let given = (check.text("revision")?, check.flag("absent")?, value(check)?);
    let condition = match given {
        (Some(text), None, None) => {
            let revision = condition::bare(&text).parse();
            let revision = revision.map_err(|error: crate::model::Error| format!("revision: {error}"))?;
            Condition::RevisionIn(vec![revision])
        }
        (None, Some(true), None) => Condition::Absent,
        (None, Some(false), None) => Condition::Present,
        (None, None, Some(value)) => Condition::ValueIs(value),
        _ => return Err("it has one of revision, absent, value and base64".to_owned()),
    };
    Ok(Expectation { key, condition })
}

fn write(op: &Fields<'_>, now: Time) -> Result<Write, String> {
    let name = op.required("op")?;
    let Some(known) = EACH.into_iter().find(|(known, _)| *known == name) else {
        let all = EACH.map(|(name, _)| name).join(", ");
        return Err(format!("op must be one of {all}, got {}", number::shown(&name)));
    };
    op.only(known)?;
    let key = key(op)?;
    Ok(match known.0 {
        "set" => {
            let content_type = op.text("type")?.as_deref().map(ContentType::new).transpose();
            Write::Put {
                key,
                value: value(op)?.ok_or("it has one of value and base64")?,
                content_type: content_type.map_err(|error| format!("type: {error}"))?.unwrap_or_default(),
                expires: end(op, now)?,
                modified: None,
            }
        }
        "get" => Write::Look { key },
        "delete" => Write::Delete { key },
        "incr" => Write::Increment { key, by: op.number("by", i64::MIN..=i64::MAX)?.unwrap_or(1) },
        "append" => Write::Append { key, value: op.required("value")?.into(), edge: Edge::Back },
        "prepend" => Write::Append { key, value: op.required("value")?.into(), edge: Edge::Front },
        "touch" => {
            let expires = end(op, now)?.ok_or("it needs ttl or expires; persist makes a key stay")?;
            Write::Touch { key, expires: Some(expires) }
        }
        _ => Write::Touch { key, expires: None },
    })
}

fn key(fields: &Fields<'_>) -> Result<Key, String> {
    Key::new(&fields.required("key")?).map_err(|error| format!("key: {error}"))
}

/// The value, if there is one.
fn value(fields: &Fields<'_>) -> Result<Option<Bytes>, String> {
    match (fields.text("value")?, fields.text("base64")?) {
        (Some(_), Some(_)) => Err("it has one of value and base64".to_owned()),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?;
            Ok(Some(bytes.into()))
        }
        (None, None) => Ok(None),
    }
}

fn end(op: &Fields<'_>, now: Time) -> Result<Option<Time>, String> {
    expiry::read((op.raw("ttl"), op.raw("expires")), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(body: &str) -> Result<Batch, Refusal> {
        read(body.as_bytes(), 10, Time::from_secs(1000))
    }

    #[test]
    fn the_example_of_the_contract() {
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
        assert!(
            matches!(&batch.writes[0], Write::Put { value, expires, .. } if value == "1" && *expires == Some(Time::from_secs(1060)))
        );
        assert_eq!(batch.writes[1], Write::Delete { key: key("b") });
        assert_eq!(batch.writes[2], Write::Increment { key: key("n"), by: 1 });
        assert_eq!(batch.writes[3], Write::Look { key: key("c") });
    }

    #[test]
    fn what_is_not_understood_is_named_by_its_number() {
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
            let refusal = batch(&format!(r#"{{"ops":[{{"op":"get","key":"a"}},{bad}]}}"#)).unwrap_err();
            assert!(refusal.text().contains("operation 1 "), "{bad}: {}", refusal.text());
        }
        for bad in [
            r#"{"key":"a"}"#,
            r#"{"key":"a","absent":true,"value":"x"}"#,
            r#"{"key":"a","absent":true,"absent":false}"#,
            r#"{"key":"a","revision":"K2!"}"#,
            r#"{"revision":"k2"}"#,
            r#"["a",null,true,null,null]"#,
        ] {
            let refusal = batch(&format!(r#"{{"checks":[{bad}],"ops":[]}}"#)).unwrap_err();
            assert!(refusal.text().contains("check 0 "), "{bad}: {}", refusal.text());
        }
        for bad in ["", "[]", "[[],[]]", "{}", r#"{"op":[]}"#, r#"{"ops":{}}"#] {
            assert!(batch(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn more_than_is_taken_is_refused() {
        let many = |n| format!(r#"{{"ops":[{}]}}"#, vec![r#"{"op":"get","key":"a"}"#; n].join(","));
        assert!(batch(&many(MOST)).is_ok() && batch(&many(MOST + 1)).is_err());
        assert!(batch(r#"{"ops":[{"op":"set","key":"a","value":"12345678901"}]}"#).is_err());
    }
}

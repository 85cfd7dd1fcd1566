//! The checks and operations of a transaction, as JSON writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::reply::Refusal;
use super::super::{condition, expiry};
use crate::model::{Batch, Condition, ContentType, Edge, Expectation, Key, Time, Write};

/// Operations, and checks, of one transaction.
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Txn<'a> {
    #[serde(borrow, default)]
    checks: Vec<&'a RawValue>,
    #[serde(borrow)]
    ops: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    key: String,
    revision: Option<String>,
    absent: Option<bool>,
    value: Option<String>,
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "op", rename_all = "lowercase")]
enum Op {
    Set(Set),
    Get { key: String },
    Delete { key: String },
    Incr { key: String, by: Option<i64> },
    Append { key: String, value: String },
    Prepend { key: String, value: String },
    Touch { key: String, ttl: Option<u64>, expires: Option<u64> },
    Persist { key: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    key: String,
    value: Option<String>,
    base64: Option<String>,
    r#type: Option<String>,
    ttl: Option<u64>,
    expires: Option<u64>,
}

/// The transaction in that body.
///
/// # Errors
/// Names the check or the operation, from 0, that is not understood.
pub(super) fn read(body: &[u8], most: usize, now: Time) -> Result<Batch, Refusal> {
    let txn = serde_json::from_slice(body).map_err(|error| error.to_string()).and_then(object);
    let txn: Txn<'_> = txn.map_err(|error| {
        Refusal::invalid(format!("the body is no transaction, {{\"checks\":[...],\"ops\":[...]}}: {error}"))
    })?;
    if txn.checks.len() > MOST || txn.ops.len() > MOST {
        return Err(Refusal::too_large(format!(
            "at most {MOST} checks and {MOST} operations are taken; nothing was done"
        )));
    }
    let expectations = txn.checks.into_iter().enumerate().map(|(number, check)| {
        let check = object(check).and_then(expectation);
        check.map_err(|what| Refusal::invalid(format!("check {number} is not understood: {what}; nothing was done")))
    });
    let expectations = expectations.collect::<Result<_, _>>()?;
    let writes = txn.ops.into_iter().enumerate().map(|(number, op)| {
        let write = object(op).and_then(|op| write(op, now));
        match write {
            Ok(Write::Put { value, .. }) if value.len() > most => Err(Refusal::too_large(format!(
                "operation {number}: the value has {} bytes; at most {most} are taken",
                value.len()
            ))),
            Ok(write) => Ok(write),
            Err(what) => {
                Err(Refusal::invalid(format!("operation {number} is not understood: {what}; nothing was done")))
            }
        }
    });
    Ok(Batch::of(writes.collect::<Result<_, _>>()?).expecting(expectations))
}

/// Read from the text itself, so that a name that stands twice is noticed.
fn object<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, String> {
    // A struct could be written as an array as well, in the order of our fields.
    if !text.get().starts_with('{') {
        return Err("it is no object".to_owned());
    }
    serde_json::from_str(text.get()).map_err(|error| error.to_string())
}

fn expectation(check: Check) -> Result<Expectation, String> {
    let key = key(&check.key)?;
    let condition = match (check.revision, check.absent, check.value, check.base64) {
        (Some(text), None, None, None) => {
            let revision = condition::bare(&text).parse().map_err(|e: crate::model::Error| e.to_string())?;
            Condition::RevisionIn(vec![revision])
        }
        (None, Some(true), None, None) => Condition::Absent,
        (None, Some(false), None, None) => Condition::Present,
        (None, None, Some(value), None) => Condition::ValueIs(value.into()),
        (None, None, None, Some(text)) => Condition::ValueIs(bytes(&text)?),
        _ => return Err("it has one of revision, absent, value and base64".to_owned()),
    };
    Ok(Expectation { key, condition })
}

fn write(op: Op, now: Time) -> Result<Write, String> {
    Ok(match op {
        Op::Set(set) => {
            let value = match (set.value, set.base64) {
                (Some(text), None) => text.into(),
                (None, Some(text)) => bytes(&text)?,
                _ => return Err("it has one of value and base64".to_owned()),
            };
            let content_type = set.r#type.as_deref().map(ContentType::new).transpose().map_err(|e| e.to_string())?;
            Write::Put {
                key: key(&set.key)?,
                value,
                content_type: content_type.unwrap_or_default(),
                expires: end((set.ttl, set.expires), now)?,
                modified: None,
            }
        }
        Op::Get { key: name } => Write::Look { key: key(&name)? },
        Op::Delete { key: name } => Write::Delete { key: key(&name)? },
        Op::Incr { key: name, by } => Write::Increment { key: key(&name)?, by: by.unwrap_or(1) },
        Op::Append { key: name, value } => Write::Append { key: key(&name)?, value: value.into(), edge: Edge::Back },
        Op::Prepend { key: name, value } => Write::Append { key: key(&name)?, value: value.into(), edge: Edge::Front },
        Op::Touch { key: name, ttl, expires } => {
            let expires = end((ttl, expires), now)?.ok_or("it needs ttl or expires; persist makes a key stay")?;
            Write::Touch { key: key(&name)?, expires: Some(expires) }
        }
        Op::Persist { key: name } => Write::Touch { key: key(&name)?, expires: None },
    })
}

fn key(name: &str) -> Result<Key, String> {
    Key::new(name).map_err(|error| error.to_string())
}

fn bytes(text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("base64: {error}"))
}

fn end(given: (Option<u64>, Option<u64>), now: Time) -> Result<Option<Time>, String> {
    if given.0 == Some(0) {
        return Err("ttl is 1 or more".to_owned());
    }
    expiry::checked(given, now).map_err(|refusal| refusal.text().to_owned())
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

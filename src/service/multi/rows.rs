//! The rows of a request on many keys. One that is not understood makes the whole request wrong, and is named.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::reply::Refusal;
use super::super::{condition, expiry};
use super::MOST;
use crate::model::{ContentType, Key, Time};

/// A key, and the date that it is to have.
pub(super) struct Named {
    pub(super) key: Key,
    pub(super) modified: Option<Time>,
}

/// A key and what to store there.
pub(super) struct Valued {
    pub(super) key: Key,
    pub(super) value: Bytes,
    pub(super) content_type: ContentType,
    pub(super) expires: Option<Time>,
    /// The guard, and where clients give the times the new time.
    pub(super) modified: Option<Time>,
}

/// A row as Poky's clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    key: String,
    data: Option<String>,
    modified_at: Option<String>,
    /// Some clients of Poky send it; when a key came to be is known better here.
    #[serde(rename = "created_at")]
    _created_at: Option<String>,
    content_type: Option<String>,
    ttl: Option<u64>,
    expires: Option<u64>,
}

/// That the row of this number, from 0, is wrong.
pub(super) fn fault(number: usize, what: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("row {} is not understood: {what}; nothing was stored", number + 1))
}

/// The rows of a request to get or to delete: keys, or objects with a key.
pub(super) fn keys(body: &[u8]) -> Result<Vec<Named>, Refusal> {
    let named = |(number, text): (usize, &RawValue)| {
        let fault = |what: String| fault(number, what);
        if let Ok(key) = serde_json::from_str::<String>(text.get()) {
            return Ok(Named { key: Key::new(&key).map_err(|e| fault(e.to_string()))?, modified: None });
        }
        let row = row(text).map_err(fault)?;
        if row.data.is_some() || row.content_type.is_some() || row.ttl.is_some() || row.expires.is_some() {
            return Err(fault("it has a value, and this request stores none; use PUT or ?op=set".to_owned()));
        }
        let key = Key::new(&row.key).map_err(|e| fault(e.to_string()))?;
        Ok(Named { key, modified: date(row.modified_at).map_err(fault)? })
    };
    all(body)?.into_iter().enumerate().map(named).collect()
}

/// The rows of a request to set.
pub(super) fn values(body: &[u8], most: usize, now: Time) -> Result<Vec<Valued>, Refusal> {
    let valued = |(number, text): (usize, &RawValue)| {
        let fault = |what: String| fault(number, what);
        let row = row(text).map_err(fault)?;
        let key = Key::new(&row.key).map_err(|e| fault(e.to_string()))?;
        let Some(data) = row.data else { return Err(fault("data is missing".to_owned())) };
        if data.len() > most {
            let text = format!("row {}: the value has {} bytes; at most {most} are taken", number + 1, data.len());
            return Err(Refusal::too_large(text));
        }
        let content_type = row.content_type.as_deref().map(ContentType::new).transpose();
        if row.ttl == Some(0) {
            return Err(fault("ttl is 1 or more".to_owned()));
        }
        let expires = expiry::checked((row.ttl, row.expires), now).map_err(|e| fault(e.text().to_owned()))?;
        Ok(Valued {
            key,
            value: data.into(),
            content_type: content_type.map_err(|e| fault(e.to_string()))?.unwrap_or_default(),
            expires,
            modified: date(row.modified_at).map_err(fault)?,
        })
    };
    all(body)?.into_iter().enumerate().map(valued).collect()
}

/// The rows as they are written, so that a name that stands twice in one is noticed.
fn all(body: &[u8]) -> Result<Vec<&RawValue>, Refusal> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("the body is no JSON array of rows: {error}; nothing was stored")))?;
    if rows.len() > MOST {
        return Err(Refusal::too_large(format!("at most {MOST} rows are taken at once; nothing was stored")));
    }
    Ok(rows)
}

fn row(text: &RawValue) -> Result<Row, String> {
    // A struct could be written as an array as well, in the order of our fields.
    if !text.get().starts_with('{') {
        return Err("it is no object with key".to_owned());
    }
    serde_json::from_str(text.get()).map_err(|error| error.to_string())
}

fn date(text: Option<String>) -> Result<Option<Time>, String> {
    let parse = |text: String| condition::parse_date(&text).ok_or_else(|| "modified_at is no HTTP date".to_owned());
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1000);

    #[test]
    fn keys_stand_alone_or_in_objects() {
        let rows = keys(br#"["a",{"key":"b"},{"key":"c","modified_at":"Fri, 18 Mar 1988 12:00:00 GMT"}]"#).unwrap();
        let found: Vec<_> = rows.iter().map(|r| (r.key.as_str(), r.modified.map(Time::secs))).collect();
        assert_eq!(found, [("a", None), ("b", None), ("c", Some(574_689_600))]);
    }

    #[test]
    fn a_row_that_is_not_understood_is_named() {
        for bad in [
            r#"["a",1]"#,
            r#"["a",""]"#,
            r#"["a",{}]"#,
            r#"["a",{"key":1}]"#,
            r#"["a",{"key":"b","kee":"c"}]"#,
            r#"["a",{"key":"b","key":"c"}]"#,
            r#"["a","\ud800"]"#,
            r#"["a",{"key":"b","data":"x"}]"#,
            r#"["a",{"key":"b","modified_at":"soon"}]"#,
            r#"["a",null]"#,
        ] {
            let refusal = keys(bad.as_bytes()).map(|_| ()).unwrap_err();
            assert!(refusal.text().contains("row 2"), "{bad}: {}", refusal.text());
        }
        for bad in [
            r#"{"key":"b"}"#,
            r#"{"key":"b","data":1}"#,
            r#"{"key":"b","data":"1","data":"2"}"#,
            r#"{"key":"b","data":"x","ttl":0}"#,
            r#"{"key":"b","data":"x","ttl":1,"expires":2000}"#,
            r#"{"key":"b","data":"x","expires":1}"#,
            r#"{"key":"b","data":"x","content_type":"png"}"#,
            r#"{"key":"..","data":"x"}"#,
            r#""b""#,
        ] {
            let body = format!(r#"[{{"key":"a","data":"1"}},{bad}]"#);
            let refusal = values(body.as_bytes(), 10, NOW).map(|_| ()).unwrap_err();
            assert!(refusal.text().contains("row 2"), "{bad}: {}", refusal.text());
        }
    }

    #[test]
    fn what_is_no_array_or_too_much_is_refused() {
        for bad in ["", "{}", "null", "[", "[1", "\u{feff}[]x"] {
            assert!(keys(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert!(keys(deep.as_bytes()).is_err());
        let many = format!("[{}\"a\"]", "\"a\",".repeat(MOST));
        assert!(keys(many.as_bytes()).is_err());
        assert!(values(br#"[{"key":"a","data":"12345"}]"#, 4, NOW).is_err());
    }
}

//! The rows of a request on many keys. One that is not understood makes the whole request wrong, and is named.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::fields::Fields;
use super::super::reply::Refusal;
use super::super::{expiry, number};
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

/// What a row may have, as Poky's clients write it. Some send `created_at`; when a key came to be is known better here.
const FIELDS: (&str, &[&str]) =
    ("a row", &["key", "data", "modified_at", "created_at", "content_type", "ttl", "expires"]);
/// What only a row to set has.
const VALUE_FIELDS: [&str; 4] = ["data", "content_type", "ttl", "expires"];

/// That the row of this number, from 0, is wrong.
pub(super) fn fault(number: usize, what: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("row {} is not understood: {what}", number + 1))
}

/// The rows of a request to get or to delete: keys, or objects with a key.
pub(super) fn keys(body: &[u8], now: Time) -> Result<Vec<Named>, Refusal> {
    let named = |(number, text): (usize, &RawValue)| named(text.get(), now).map_err(|what| fault(number, what));
    all(body)?.into_iter().enumerate().map(named).collect()
}

fn named(text: &str, now: Time) -> Result<Named, String> {
    if text.starts_with('"') {
        let key = serde_json::from_str::<String>(text).map_err(|error| format!("it is no text: {error}"))?;
        return Ok(Named { key: Key::new(&key).map_err(|e| e.to_string())?, modified: None });
    }
    if !text.starts_with('{') {
        return Err(format!("it must be a key or an object with key, got {}", number::shown(text)));
    }
    let row = Fields::read(text, FIELDS)?;
    if let Some(name) = VALUE_FIELDS.into_iter().find(|name| row.raw(name).is_some()) {
        return Err(format!("it has {name}, and this request stores none; use PUT or ?op=set"));
    }
    Ok(Named { key: key(&row)?, modified: dates(&row, now)? })
}

/// The rows of a request to set.
pub(super) fn values(body: &[u8], most: usize, now: Time) -> Result<Vec<Valued>, Refusal> {
    let valued = |(number, text): (usize, &RawValue)| {
        let row = valued(text.get(), now).map_err(|what| fault(number, what))?;
        let bytes = row.value.len();
        if bytes > most {
            let text = format!("row {}: data has {bytes} bytes; at most {most} are taken", number + 1);
            return Err(Refusal::too_large(text));
        }
        Ok(row)
    };
    all(body)?.into_iter().enumerate().map(valued).collect()
}

fn valued(text: &str, now: Time) -> Result<Valued, String> {
    let row = Fields::read(text, FIELDS)?;
    let content_type = row.text("content_type")?.as_deref().map(ContentType::new).transpose();
    Ok(Valued {
        key: key(&row)?,
        value: row.required("data")?.into(),
        content_type: content_type.map_err(|error| format!("content_type: {error}"))?.unwrap_or_default(),
        expires: expiry::read((row.raw("ttl"), row.raw("expires")), now)?,
        modified: dates(&row, now)?,
    })
}

fn key(row: &Fields<'_>) -> Result<Key, String> {
    Key::new(&row.required("key")?).map_err(|error| format!("key: {error}"))
}

/// The date of modification. The other one is not looked at, but is a text.
fn dates(row: &Fields<'_>, now: Time) -> Result<Option<Time>, String> {
    row.text("created_at")?;
    let Some(text) = row.text("modified_at")? else { return Ok(None) };
    Time::from_http_date(&text, now).map(Some).ok_or_else(|| {
        let text = number::shown(&text);
        format!("modified_at must be an HTTP date, as in Sun, 06 Nov 1994 08:49:37 GMT, got {text}")
    })
}

/// The rows as they are written, so that a name that stands twice in one is noticed.
fn all(body: &[u8]) -> Result<Vec<&RawValue>, Refusal> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("the body must be a JSON array of rows: {error}")))?;
    if rows.len() > MOST {
        return Err(Refusal::too_large(format!("at most {MOST} rows are taken at once")));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1000);

    #[test]
    fn keys_stand_alone_or_in_objects() {
        let rows =
            keys(br#"["a",{"key":"b"},{"key":"c","modified_at":"Fri, 18 Mar 1988 12:00:00 GMT"}]"#, NOW).unwrap();
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
            r#"["a",{"key":"b","modified_at":5}]"#,
            r#"["a",["b"]]"#,
            r#"["a",null]"#,
        ] {
            let refusal = keys(bad.as_bytes(), NOW).map(|_| ()).unwrap_err();
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
            assert!(keys(bad.as_bytes(), NOW).is_err(), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert!(keys(deep.as_bytes(), NOW).is_err());
        let many = format!("[{}\"a\"]", "\"a\",".repeat(MOST));
        assert!(keys(many.as_bytes(), NOW).is_err());
        assert!(values(br#"[{"key":"a","data":"12345"}]"#, 4, NOW).is_err());
    }
}

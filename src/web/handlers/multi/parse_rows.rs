//! Parses the rows of a request on many keys. One invalid row makes the whole request invalid; the error has its
//! number.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::model::{ContentType, Key, Time};
use crate::web::request::json_fields::{JsonFields, ObjectSchema};
use crate::web::request::{number, ttl};
use crate::web::response::api_error::ApiError;

/// How many rows a request may have.
const MAX_ROWS: usize = 10_000;

/// A key, and perhaps the date that its entry must have.
pub(crate) struct KeyRow {
    pub(crate) key: Key,
    pub(crate) modified: Option<Time>,
}

/// A key and the entry to store.
pub(crate) struct ValueRow {
    pub(crate) key: Key,
    pub(crate) value: Bytes,
    pub(crate) content_type: ContentType,
    pub(crate) expires: Option<Time>,
    /// The date precondition; with client timestamps also the new date.
    pub(crate) modified: Option<Time>,
}

/// The fields of a row, as clients of Poky send them. Some send `created_at`, which is ignored.
const ROW: ObjectSchema = ObjectSchema {
    name: "a row",
    fields: &["key", "data", "modified_at", "created_at", "content_type", "ttl", "expires"],
};
/// The fields that only a row to set may have.
const VALUE_FIELDS: [&str; 4] = ["data", "content_type", "ttl", "expires"];

/// The error for an invalid row. `number` counts from 0, the error text from 1.
pub(crate) fn row_error(number: usize, cause: impl std::fmt::Display) -> ApiError {
    ApiError::invalid(format!("row {} is invalid: {cause}", number + 1))
}

/// Parses the rows of a request to get or delete: keys, or objects with a key.
pub(crate) fn keys(body: &[u8], now: Time) -> Result<Vec<KeyRow>, ApiError> {
    let rows = raw_rows(body)?.into_iter().enumerate();
    rows.map(|(number, text)| parse_key_row(text.get(), now).map_err(|cause| row_error(number, cause))).collect()
}

fn parse_key_row(text: &str, now: Time) -> Result<KeyRow, String> {
    if text.starts_with('"') {
        let key = serde_json::from_str::<String>(text).map_err(|error| format!("not a valid string: {error}"))?;
        return Ok(KeyRow { key: Key::new(&key).map_err(|e| e.to_string())?, modified: None });
    }
    if !text.starts_with('{') {
        return Err(format!("must be a key or an object with key, got {}", number::quote(text)));
    }
    let row = JsonFields::parse(text, ROW)?;
    if let Some(name) = VALUE_FIELDS.into_iter().find(|name| row.raw(name).is_some()) {
        return Err(format!("{name} is only allowed in a row to set; use PUT or ?op=set"));
    }
    Ok(KeyRow { key: row.key()?, modified: modified_at(&row, now)? })
}

/// Parses the rows of a request to set.
pub(crate) fn values(body: &[u8], max_value_bytes: usize, now: Time) -> Result<Vec<ValueRow>, ApiError> {
    let rows = raw_rows(body)?.into_iter().enumerate().map(|(number, text)| {
        let row = parse_value_row(text.get(), now).map_err(|cause| row_error(number, cause))?;
        let bytes = row.value.len();
        if bytes > max_value_bytes {
            let text = format!("row {}: data has {bytes} bytes; the limit is {max_value_bytes}", number + 1);
            return Err(ApiError::too_large(text));
        }
        Ok(row)
    });
    rows.collect()
}

fn parse_value_row(text: &str, now: Time) -> Result<ValueRow, String> {
    let row = JsonFields::parse(text, ROW)?;
    let content_type = row.content_type("content_type");
    Ok(ValueRow {
        key: row.key()?,
        value: row.required("data")?.into(),
        content_type: content_type?.unwrap_or_default(),
        expires: ttl::expiry(row.raw("ttl"), row.raw("expires"), now)?,
        modified: modified_at(&row, now)?,
    })
}

/// The modification date. `created_at` is ignored, but must be a string.
fn modified_at(row: &JsonFields<'_>, now: Time) -> Result<Option<Time>, String> {
    row.text("created_at")?;
    let Some(text) = row.text("modified_at")? else { return Ok(None) };
    Time::from_http_date(&text, now).map(Some).ok_or_else(|| {
        let text = number::quote(&text);
        format!("modified_at must be an HTTP date such as Sun, 06 Nov 1994 08:49:37 GMT, got {text}")
    })
}

/// The rows as raw JSON, so that a repeated field is found.
fn raw_rows(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("the body must be a JSON array of rows: {error}")))?;
    if rows.len() > MAX_ROWS {
        return Err(ApiError::too_large(format!("a request must have at most {MAX_ROWS} rows, got {}", rows.len())));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1000);

    #[test]
    fn keys_are_strings_or_objects() {
        let rows =
            keys(br#"["a",{"key":"b"},{"key":"c","modified_at":"Fri, 18 Mar 1988 12:00:00 GMT"}]"#, NOW).unwrap();
        let found: Vec<_> = rows.iter().map(|r| (r.key.as_str(), r.modified.map(Time::secs))).collect();
        assert_eq!(found, [("a", None), ("b", None), ("c", Some(574_689_600))]);
    }

    #[test]
    fn invalid_rows_are_errors_with_their_number() {
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
            let error = keys(bad.as_bytes(), NOW).map(|_| ()).unwrap_err();
            assert!(error.text().contains("row 2"), "{bad}: {}", error.text());
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
            let error = values(body.as_bytes(), 10, NOW).map(|_| ()).unwrap_err();
            assert!(error.text().contains("row 2"), "{bad}: {}", error.text());
        }
    }

    #[test]
    fn malformed_and_too_large_bodies_are_rejected() {
        for bad in ["", "{}", "null", "[", "[1", "\u{feff}[]x"] {
            assert!(keys(bad.as_bytes(), NOW).is_err(), "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert!(keys(deep.as_bytes(), NOW).is_err());
        let many = format!("[{}\"a\"]", "\"a\",".repeat(MAX_ROWS));
        assert!(keys(many.as_bytes(), NOW).is_err());
        assert!(values(br#"[{"key":"a","data":"12345"}]"#, 4, NOW).is_err());
    }
}

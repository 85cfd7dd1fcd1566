//! Parses the lines of `POST /log/{bucket}/{key}?entries`: each is an entry as reads show it.

use bytes::Bytes;

use super::body_lines::each_line;
use crate::model::{ContentType, NewLogEntry};
use crate::web::request::json_fields::{JsonFields, ObjectSchema};
use crate::web::response::api_error::ApiError;

/// `index` is that of another log, and is ignored.
const ENTRY: ObjectSchema =
    ObjectSchema { name: "an entry", fields: &["index", "json", "value", "base64", "type", "updated"] };

/// The entries of a body. There may be none.
pub(super) fn parse(body: &Bytes, max_value_bytes: usize) -> Result<Vec<NewLogEntry>, ApiError> {
    each_line(body, max_value_bytes, |line| entry(line).map_err(|why| format!("is invalid: {why}")))
}

fn entry(line: &str) -> Result<NewLogEntry, String> {
    let fields = JsonFields::parse(line, ENTRY)?;
    let content_type = fields.content_type("type")?;
    let (value, usual_type) = match (fields.raw("json"), fields.text("value")?, fields.base64()?) {
        (Some(json), None, None) => (Bytes::copy_from_slice(json.as_bytes()), ContentType::json()),
        (None, Some(text), None) => (text.into(), ContentType::default()),
        (None, None, Some(bytes)) => (bytes, ContentType::default()),
        _ => return Err("it needs exactly one of json, value and base64".to_owned()),
    };
    let updated = fields.time("updated")?;
    Ok(NewLogEntry { value, content_type: content_type.unwrap_or(usual_type), updated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;

    #[test]
    fn entries_are_parsed_as_reads_show_them() {
        let body = Bytes::from_static(
            br#"{"index":7,"value":"21.5","updated":"1970-01-01T00:00:01Z"}
                {"json":{"t": 1.50}}

                {"base64":"/w==","type":"image/png"}"#,
        );
        let entry = |value: &'static [u8], content_type: &str, updated| NewLogEntry {
            value: value.into(),
            content_type: ContentType::new(content_type).unwrap(),
            updated,
        };
        let expected = [
            entry(b"21.5", ContentType::TEXT, Some(Time::from_secs(1))),
            entry(b"{\"t\": 1.50}", ContentType::JSON, None),
            entry(b"\xff", "image/png", None),
        ];
        assert_eq!(parse(&body, 100).unwrap(), expected);
        assert_eq!(parse(&Bytes::new(), 100).unwrap(), []);
        for bad in [r#"{"value":"a","json":1}"#, "{}", "1", r#"{"value":"a","updated":"x"}"#, r#"{"base64":"-"}"#] {
            let error = parse(&Bytes::from(format!("{{\"value\":\"\"}}\n{bad}")), 100).unwrap_err();
            assert!(error.text().starts_with("line 2 is invalid"), "{}", error.text());
        }
    }
}

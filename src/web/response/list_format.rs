//! The page of a list, as JSON, as lines of text, or as CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::api_error::ApiError;
use super::streamed::{Composer, Content};
use super::{csv_field, entry_json};
use crate::model::{Bucket, Entry, Key, Page, Projection, Time, escaped};
use crate::web::budget::Budget;
use crate::web::entry_name::EntryName;
use crate::web::request::number;

/// The format of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ListFormat {
    Json,
    /// A key on each line, or a key, a tab and a value.
    Text,
    /// With the columns of `kvs export --format csv`.
    Csv,
}

impl ListFormat {
    /// The format of this name; JSON if there is none.
    ///
    /// # Errors
    /// If there is no such format.
    pub(crate) fn new(name: Option<&str>) -> Result<Self, ApiError> {
        match name {
            None | Some("json") => Ok(Self::Json),
            Some("text") => Ok(Self::Text),
            Some("csv") => Ok(Self::Csv),
            Some(other) => {
                Err(ApiError::invalid(format!("format must be json, text or csv, got {}", number::quote(other))))
            }
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The body of a page. It is charged to the budget.
    pub(crate) fn body(
        self,
        bucket: &Bucket,
        projection: Projection,
        page: &Page,
        budget: &Budget,
    ) -> Result<Content, ApiError> {
        let text = match self {
            Self::Json => return json(bucket, projection, page, budget),
            Self::Text => text(page),
            Self::Csv => csv(projection, page),
        };
        Content::from(bytes::Bytes::from(text)).charge_if_unique(budget)
    }
}

fn text(page: &Page) -> String {
    if let Some(count) = page.count {
        return format!("{count}\n");
    }
    let line = |(key, entry): &(Key, Option<Entry>)| match entry {
        Some(entry) => format!("{key}\t{}\n", escaped(&entry.value)),
        None => format!("{key}\n"),
    };
    page.entries.iter().map(line).collect()
}

fn csv(projection: Projection, page: &Page) -> String {
    match projection {
        Projection::Count => return format!("count\r\n{}\r\n", page.count.unwrap_or(0)),
        Projection::Keys => {
            let lines = page.entries.iter().map(|(key, _)| format!("{}\r\n", csv_field::quoted(key.as_str())));
            return std::iter::once("key\r\n".to_owned()).chain(lines).collect();
        }
        Projection::Entries => {}
    }
    let mut out = "key,value,base64,type,updated,created,modified,expires\r\n".to_owned();
    let time = |time: Option<Time>| time.map_or(String::new(), |time| time.to_string());
    for (key, entry) in &page.entries {
        let Some(entry) = entry else { continue };
        let (value, base64) = match entry.as_text() {
            Some(text) => (csv_field::quoted(text), String::new()),
            None => ("".into(), STANDARD.encode(&entry.value)),
        };
        let content_type = if entry.content_type.is_default() { "" } else { entry.content_type.as_str() };
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "{},{value},{base64},{},{},{},{},{}\r\n",
            csv_field::quoted(key.as_str()),
            csv_field::quoted(content_type),
            entry.updated(),
            entry.created,
            time(entry.modified),
            time(entry.expires)
        );
    }
    out
}

#[derive(Serialize)]
struct Keys<'a> {
    keys: Vec<&'a str>,
    cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct Rest<'a> {
    cursor: Option<&'a str>,
}

fn json(bucket: &Bucket, projection: Projection, page: &Page, budget: &Budget) -> Result<Content, ApiError> {
    let cursor = page.cursor.as_ref().map(Key::as_str);
    match projection {
        Projection::Count => Ok(entry_json::json(&BTreeMap::from([("count", page.count.unwrap_or(0))]))?.into()),
        Projection::Keys => {
            let keys = page.entries.iter().map(|(key, _)| key.as_str()).collect();
            Ok(entry_json::json(&Keys { keys, cursor })?.into())
        }
        Projection::Entries => {
            let mut out = Composer::default();
            out.text("{\"entries\":[");
            let entries = page.entries.iter().filter_map(|(key, entry)| Some((key, entry.as_ref()?)));
            for (number, (key, entry)) in entries.enumerate() {
                out.text(if number == 0 { "" } else { "," });
                entry_json::charge(&mut out, &entry.value);
                entry_json::entry(&mut out, EntryName { bucket, key }, entry)?;
            }
            out.text("]");
            out.close_object(&Rest { cursor })?;
            out.finish(budget)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Revision};
    use bytes::Bytes;

    fn page(values: Vec<Bytes>) -> Page {
        let entry = |value| Entry {
            value,
            content_type: ContentType::default(),
            revision: Revision::new(1_000_000_000),
            created: Time::from_secs(1),
            modified: None,
            expires: Some(Time::from_secs(2)),
        };
        let entries = values.into_iter().enumerate();
        let entries = entries.map(|(i, v)| (Key::new(&format!("k{i}")).unwrap(), Some(entry(v)))).collect();
        Page { entries, ..Page::default() }
    }

    #[test]
    fn entries_are_listed_with_all_fields() {
        let page = page(vec!["ä\"".into(), Bytes::from_static(b"\xff")]);
        let mut body = vec![];
        let content = json(&Bucket::default(), Projection::Entries, &page, &Budget::default()).unwrap();
        content.for_each_part(|part| body.extend_from_slice(part));
        let first = concat!(
            r#"{"bucket":"default","key":"k0","value":"ä\"","type":"text/plain; charset=utf-8","revision":"gjdgxs","#,
            r#""updated":"1970-01-01T00:00:01Z","created":"1970-01-01T00:00:01Z","modified":null,"#,
            r#""expires":"1970-01-01T00:00:02Z"}"#
        );
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains(first), "{text}");
        assert!(text.contains(r#""key":"k1","base64":"/w==""#), "{text}");
        assert!(text.ends_with(r#"],"cursor":null}"#), "{text}");
    }

    #[test]
    fn text_has_one_line_for_each_entry() {
        let page = page(vec!["a\tb\n".into(), Bytes::from_static(b"\xff")]);
        assert_eq!(text(&page), "k0\ta\\tb\\n\nk1\t\\xff\n");
        assert_eq!(text(&Page { count: Some(3), ..Page::default() }), "3\n");
    }

    #[test]
    fn csv_has_the_columns_of_an_export() {
        let page = page(vec!["a,\"b\"\n".into(), Bytes::from_static(b"\xff")]);
        let times = "1970-01-01T00:00:01Z,1970-01-01T00:00:01Z,,1970-01-01T00:00:02Z\r\n";
        let expected = format!(
            "key,value,base64,type,updated,created,modified,expires\r\nk0,\"a,\"\"b\"\"\n\",,,{times}k1,,/w==,,{times}"
        );
        assert_eq!(csv(Projection::Entries, &page), expected);
        assert_eq!(csv(Projection::Keys, &page), "key\r\nk0\r\nk1\r\n");
        assert_eq!(csv(Projection::Count, &Page { count: Some(3), ..Page::default() }), "count\r\n3\r\n");
    }
}

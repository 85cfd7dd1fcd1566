//! Parses the fields of a JSON object. A field that is unknown, repeated or of the wrong type is an error with the name
//! of the field.
//!
//! A field that is `null` counts as missing, except a list.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::number;
use crate::model::json::members::Members;
use crate::model::json::pointer::shortened;
use crate::model::{ContentType, Key, Time};

/// The name of a kind of object (such as `a row`) for errors, and the fields that it may have.
#[derive(Clone, Copy)]
pub(crate) struct ObjectSchema {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [&'static str],
}

/// The fields of one object, as raw JSON.
pub(crate) struct JsonFields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> JsonFields<'a> {
    /// Parses an object.
    ///
    /// # Errors
    /// If the text is not an object, or a field is unknown or repeated. The error names the field.
    pub(crate) fn parse(text: &'a str, schema: ObjectSchema) -> Result<Self, String> {
        if !text.starts_with('{') {
            return Err(format!("must be an object, got {}", number::quote(text)));
        }
        let Members(fields) = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let fields = Self(fields);
        fields.check_known(schema)?;
        for (index, (name, _)) in fields.0.iter().enumerate() {
            if fields.0.iter().take(index).any(|(before, _)| before == name) {
                return Err(format!("the field {name:?} is given twice"));
            }
        }
        Ok(fields)
    }

    /// Checks that every field is in the schema.
    ///
    /// # Errors
    /// If a field is unknown. The error names it.
    pub(crate) fn check_known(&self, schema: ObjectSchema) -> Result<(), String> {
        match self.0.iter().find(|(name, _)| !schema.fields.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let (object, known) = (schema.name, schema.fields.join(", "));
                Err(format!("unknown field {} in {object}; known fields: {known}", shortened(name)))
            }
        }
    }

    /// The raw JSON of a field.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.get()).filter(|text| *text != "null")
    }

    /// The text of a field, if the object has it.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, String> {
        let parse = |text: &str| {
            serde_json::from_str(text).map_err(|error| {
                if text.starts_with('"') {
                    format!("{name} is not a valid string: {error}")
                } else {
                    format!("{name} must be a string, got {}", number::quote(text))
                }
            })
        };
        self.raw(name).map(parse).transpose()
    }

    /// The text of a required field.
    pub(crate) fn required(&self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    /// The key in the required field `key`.
    pub(crate) fn key(&self) -> Result<Key, String> {
        Key::new(&self.required("key")?).map_err(|error| format!("key: {error}"))
    }

    /// The bytes of the field `base64`, if the object has it.
    pub(crate) fn base64(&self) -> Result<Option<Bytes>, String> {
        let bytes = self.text("base64")?.map(|text| STANDARD.decode(text)).transpose();
        Ok(bytes.map_err(|error| format!("base64: {error}"))?.map(Bytes::from))
    }

    /// The content type of a field, if the object has it.
    pub(crate) fn content_type(&self, name: &str) -> Result<Option<ContentType>, String> {
        let content_type = self.text(name)?.as_deref().map(ContentType::new).transpose();
        content_type.map_err(|error| format!("{name}: {error}"))
    }

    /// The time of a field (RFC 3339), if the object has it.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Time>, String> {
        let time = self.text(name)?.as_deref().map(Time::parse_clamped).transpose();
        time.map_err(|error| format!("{name}: {error}"))
    }

    /// The integer of a field, if the object has it.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, String> {
        self.raw(name).map(|text| number::parse(name, text, range)).transpose()
    }

    /// The boolean of a field, if the object has it.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        let parse = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{name} must be true or false, got {}", number::quote(text))),
        };
        self.raw(name).map(parse).transpose()
    }

    /// The raw members of a list, if the object has it.
    pub(crate) fn list(&self, name: &str) -> Result<Option<Vec<&'a RawValue>>, String> {
        let Some((_, value)) = self.0.iter().find(|(other, _)| other == name) else { return Ok(None) };
        let list = serde_json::from_str(value.get());
        list.map(Some).map_err(|_| format!("{name} must be an array, got {}", number::quote(value.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: ObjectSchema = ObjectSchema { name: "a row", fields: &["key", "ttl", "absent", "list"] };

    fn fields(text: &str) -> Result<JsonFields<'_>, String> {
        JsonFields::parse(text, ROW)
    }

    #[test]
    fn fields_are_parsed_by_type() {
        let row = fields(r#"{"key":"a\n\u00e4","ttl":5,"absent":true,"list":[1,{}]}"#).unwrap();
        assert_eq!(row.required("key").unwrap(), "a\nä");
        assert_eq!(row.number("ttl", 1..=9), Ok(Some(5)));
        assert_eq!(row.flag("absent"), Ok(Some(true)));
        assert_eq!(row.list("list").unwrap().unwrap().len(), 2);
        let row = fields(r#"{"ttl":null, "\u006bey" : null}"#).unwrap();
        assert_eq!((row.text("key"), row.number("ttl", 1..=9), row.flag("absent")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(row.required("key").unwrap_err(), "key is missing");
    }

    #[test]
    fn errors_name_the_field() {
        let row = fields(r#"{"key":5,"ttl":"5","absent":1,"list":null}"#).unwrap();
        assert_eq!(row.text("key").unwrap_err(), "key must be a string, got 5");
        assert!(row.number("ttl", 1..=9).unwrap_err().starts_with("ttl must be 1 to 9, got \"5\""));
        assert_eq!(row.flag("absent").unwrap_err(), "absent must be true or false, got 1");
        assert_eq!(row.list("list").unwrap_err(), "list must be an array, got null");
        assert!(
            fields(r#"{"key":"\ud800"}"#).unwrap().text("key").unwrap_err().starts_with("key is not a valid string")
        );
        for (bad, expected) in [
            (r#"{"kee":"a"}"#, "unknown field \"kee\" in a row; known fields: key, ttl, absent, list"),
            (r#"{"key":"a","\u006bey":"b"}"#, "the field \"key\" is given twice"),
            ("[\"a\"]", "must be an object, got [\"a\"]"),
            ("null", "must be an object, got null"),
        ] {
            assert_eq!(fields(bad).map(|_| ()).unwrap_err(), expected);
        }
    }
}

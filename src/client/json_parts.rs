//! Parts of JSON documents: read, stored, removed and changed by path, as `?path=` does over HTTP.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::codec::{Json, decode, encode};
use super::compare_and_swap::UpdateAction;
use crate::model::json::{JsonError, JsonValue, Pointer};
use crate::model::{ContentType, Entry, Error, ErrorKind, Result};

impl Client {
    /// The part of a JSON value at a path, a JSON Pointer (RFC 6901) such as `/rooms/0/name`; the empty path is the whole
    /// value. `None` if the key or the path does not exist.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("hall", r#"{"name": "Hall", "temp": [21.5, 22.0]}"#).await?;
    /// assert_eq!(client.get_in::<f64>("hall", "/temp/1").await?, Some(22.0));
    /// assert_eq!(client.get_in::<String>("hall", "/name").await?.as_deref(), Some("Hall"));
    /// assert_eq!(client.get_in::<f64>("hall", "/humidity").await?, None);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the path is not a JSON Pointer, the value is not JSON, the part is not of this type, or a string, a
    /// number, a boolean or null is on the way.
    pub async fn get_in<T: DeserializeOwned>(&self, key: &str, path: &str) -> Result<Option<T>> {
        let path: Pointer = path.parse()?;
        let Some(entry) = self.get_entry(key).await? else { return Ok(None) };
        let mut document = document(key, &path, Some(&entry))?;
        part(key, &mut document, &path)
    }

    /// Stores a part of a JSON value. Missing objects on the way are created, and so is a missing key. In an array, `-`
    /// appends. The expiry and the rest of the value stay, numbers as they were written.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.assoc_in("hall", "/limits/max", &25.0).await?;
    /// client.assoc_in("hall", "/log/-", &"warm").await?;
    /// assert_eq!(client.get_string("hall").await?.as_deref(), Some(r#"{"limits":{"max":25.0},"log":["warm"]}"#));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As for [`get_in`](Self::get_in), or if an index is greater than the length of its array.
    pub async fn assoc_in(&self, key: &str, path: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        let path: Pointer = path.parse()?;
        let text = encode::<Json>(key, &value)?;
        let part = JsonValue::parse(utf8(key, &text)?)?.into_owned();
        self.change_document(key, &path, |document| {
            document.put(&path, part.clone())?;
            Ok(true)
        })
        .await
        .map(drop)
    }

    /// Removes a part of a JSON value. Returns whether it was there.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// client.set("hall", r#"{"name":"Hall","temp":[21.50,22.0]}"#).await?;
    /// assert!(client.dissoc_in("hall", "/temp/1").await?);
    /// assert!(!client.dissoc_in("hall", "/humidity").await?);
    /// assert_eq!(client.get_string("hall").await?.as_deref(), Some(r#"{"name":"Hall","temp":[21.50]}"#));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As for [`get_in`](Self::get_in). The whole value cannot be removed from itself; delete the key.
    pub async fn dissoc_in(&self, key: &str, path: &str) -> Result<bool> {
        let path: Pointer = path.parse()?;
        let mut is_removed = false;
        self.change_document(key, &path, |document| {
            is_removed = match document.remove(&path) {
                Ok(_) => true,
                Err(JsonError::Missing(_)) => false,
                Err(error) => return Err(error.into()),
            };
            Ok(is_removed)
        })
        .await?;
        Ok(is_removed)
    }

    /// Changes a part of a JSON value as `f` decides, and returns the old and the new part. `f` gets `None` if the key or
    /// the path does not exist; then the part is created as by [`assoc_in`](Self::assoc_in). If somebody else writes the
    /// key at the same time, `f` is called again, so it should have no side effects.
    ///
    /// ```
    /// # kvs::example::run(async |client| {
    /// let visit = |count: Option<&u32>| count.unwrap_or(&0) + 1;
    /// assert_eq!(client.update_in("hall", "/visits", visit).await?, (None, 1));
    /// assert_eq!(client.update_in("hall", "/visits", visit).await?, (Some(1), 2));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// As for [`assoc_in`](Self::assoc_in).
    pub async fn update_in<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        path: &str,
        mut f: impl FnMut(Option<&T>) -> T,
    ) -> Result<(Option<T>, T)> {
        let path: Pointer = path.parse()?;
        let mut outcome = None;
        self.change_document(key, &path, |document| {
            let old = part(key, document, &path)?;
            let new = f(old.as_ref());
            let text = encode::<Json>(key, &new)?;
            document.put(&path, JsonValue::parse(utf8(key, &text)?)?.into_owned())?;
            outcome = Some((old, new));
            Ok(true)
        })
        .await?;
        outcome.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("the part {path} of {key:?} was not changed")))
    }

    /// Changes a document as `change` does, if that returns true. A missing key counts as an empty object or, if the path
    /// appends, as an empty array.
    async fn change_document(
        &self,
        key: &str,
        path: &Pointer,
        mut change: impl FnMut(&mut JsonValue<'_>) -> Result<bool>,
    ) -> Result<()> {
        let content_type = |old: Option<&Entry>| old.map_or_else(ContentType::json, |old| old.content_type.clone());
        let change = |old: Option<&Entry>| {
            let mut document = document(key, path, old)?;
            let is_changed = change(&mut document)?;
            Ok(if is_changed { UpdateAction::Set(document.to_string().into()) } else { UpdateAction::Keep })
        };
        self.change(key, content_type, change).await.map(drop)
    }
}

fn document<'a>(key: &str, path: &Pointer, entry: Option<&'a Entry>) -> Result<JsonValue<'a>> {
    let Some(entry) = entry else { return Ok(JsonValue::empty_for(path)) };
    JsonValue::parse(utf8(key, &entry.value)?).map_err(|error| not_json(key).with_source(error))
}

fn part<T: DeserializeOwned>(key: &str, document: &mut JsonValue<'_>, path: &Pointer) -> Result<Option<T>> {
    match document.get(path) {
        Ok(part) => decode::<Json, T>(key, part.to_text().as_bytes()).map(Some),
        Err(JsonError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn utf8<'a>(key: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| not_json(key).with_source(error))
}

fn not_json(key: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the value of {key:?} is not JSON; read it as bytes, or store it again"))
}

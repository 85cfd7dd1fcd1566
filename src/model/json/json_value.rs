//! A JSON document, parsed only where something looks into it.

use std::borrow::Cow;
use std::fmt;
use std::mem;

use serde_json::value::RawValue;

use super::json_error::JsonError;
use super::members::Members;
use super::pointer::{Pointer, shortened};

/// A JSON value. The parts that nothing looked into are still text, so they are written as they were read.
///
/// ```
/// use kvs::model::json::JsonValue;
///
/// let mut room = JsonValue::parse(r#"{"name": "Hall", "temp": 21.50}"#)?;
/// assert_eq!(room.get(&"/temp".parse()?)?.to_string(), "21.50");
/// room.put(&"/seats/front".parse()?, JsonValue::parse("80")?)?;
/// assert_eq!(room.to_string(), r#"{"name":"Hall","temp":21.50,"seats":{"front":80}}"#);
/// # Ok::<(), kvs::model::json::JsonError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JsonValue<'a>(pub(super) Node<'a>);

#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    /// Valid JSON without white space around it.
    Text(Cow<'a, str>),
    Array(Vec<JsonValue<'a>>),
    /// The members in their order. If a name occurs twice, the last one counts, as in most parsers.
    Object(Vec<(String, JsonValue<'a>)>),
}

/// A container whose children can be reached.
pub(super) enum Container<'n, 'a> {
    Array(&'n mut Vec<JsonValue<'a>>),
    Object(&'n mut Vec<(String, JsonValue<'a>)>),
}

impl<'a> JsonValue<'a> {
    /// Checks that the text is one JSON value (RFC 8259).
    ///
    /// # Errors
    /// [`JsonError::NotJson`] if it is not.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| JsonError::NotJson(error.to_string()))?;
        Ok(Self(Node::Text(Cow::Borrowed(raw.get()))))
    }

    /// As [`parse`](Self::parse), for bytes that may not be UTF-8.
    ///
    /// # Errors
    /// [`JsonError::NotJson`] if they are not JSON.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| JsonError::NotJson("it is not UTF-8".into()))?)
    }

    /// An object without members.
    #[must_use]
    pub fn object() -> Self {
        Self(Node::Object(vec![]))
    }

    /// What [`put`](Self::put) at this path needs if there is no document yet: an array if it appends, else an object.
    #[must_use]
    pub fn empty_for(path: &Pointer) -> Self {
        if path.tokens().first().is_some_and(|first| first == "-") { Self::array() } else { Self::object() }
    }

    pub(super) fn array() -> Self {
        Self(Node::Array(vec![]))
    }

    /// The part at a path.
    ///
    /// # Errors
    /// [`JsonError::Missing`] if the path does not exist, [`JsonError::Conflict`] if a string, number, boolean or null is
    /// on the way.
    pub fn get(&mut self, path: &Pointer) -> Result<&mut JsonValue<'a>, JsonError> {
        self.descend(path, path.tokens().len())
    }

    /// The part at the first `depth` tokens of a path.
    fn descend(&mut self, path: &Pointer, depth: usize) -> Result<&mut JsonValue<'a>, JsonError> {
        let mut part = self;
        for (depth, token) in path.tokens().iter().take(depth).enumerate() {
            part = match part.open(path, depth)? {
                Container::Array(items) => index(token).and_then(|index| items.get_mut(index)),
                Container::Object(members) => member(members, token),
            }
            .ok_or_else(|| missing(path))?;
        }
        Ok(part)
    }

    /// Replaces or creates the part at a path, and returns the part that was there. Missing objects on the way are
    /// created. In an array, an index replaces an item, and `-` or the length of the array appends one; if the array
    /// itself is missing, `-` creates it.
    ///
    /// # Errors
    /// As for [`get`](Self::get); the path is missing if an index is greater than the length of its array.
    pub fn put(&mut self, path: &Pointer, value: JsonValue<'a>) -> Result<Option<JsonValue<'a>>, JsonError> {
        let tokens = path.tokens();
        let mut part = self;
        for depth in 0..tokens.len() {
            let is_last = depth + 1 == tokens.len();
            let appends_next = tokens.get(depth + 1).is_some_and(|next| next == "-");
            let container = || if appends_next { JsonValue::array() } else { JsonValue::object() };
            let (child, is_new) = part.child_or_insert(path, depth, container)?;
            if is_last {
                let old = mem::replace(child, value);
                return Ok((!is_new).then_some(old));
            }
            part = child;
        }
        Ok(Some(mem::replace(part, value)))
    }

    /// The child for the token at `depth` of the path, and whether it was missing and has been made.
    fn child_or_insert(
        &mut self,
        path: &Pointer,
        depth: usize,
        made: impl FnOnce() -> JsonValue<'a>,
    ) -> Result<(&mut JsonValue<'a>, bool), JsonError> {
        let token = path.tokens().get(depth).ok_or_else(|| missing(path))?;
        match self.open(path, depth)? {
            Container::Array(items) => {
                let length = items.len();
                let at = if token == "-" { length } else { index(token).unwrap_or(usize::MAX) };
                if at == length {
                    items.push(made());
                }
                Ok((items.get_mut(at).ok_or_else(|| missing(path))?, at == length))
            }
            Container::Object(members) => {
                let found = members.iter().rposition(|(name, _)| name == token);
                let at = found.unwrap_or(members.len());
                if found.is_none() {
                    members.push((token.clone(), made()));
                }
                Ok((members.get_mut(at).map(|(_, value)| value).ok_or_else(|| missing(path))?, found.is_none()))
            }
        }
    }

    /// Removes the part at a path and returns it.
    ///
    /// # Errors
    /// As for [`get`](Self::get); [`JsonError::Invalid`] for the whole document.
    pub fn remove(&mut self, path: &Pointer) -> Result<JsonValue<'a>, JsonError> {
        let Some((last, parents)) = path.tokens().split_last() else {
            return Err(JsonError::Invalid("the whole document cannot be removed from itself; delete the key".into()));
        };
        let depth = parents.len();
        match self.parent(path)?.open(path, depth)? {
            Container::Array(items) => {
                let at = index(last).filter(|at| *at < items.len()).ok_or_else(|| missing(path))?;
                Ok(items.remove(at))
            }
            Container::Object(members) => {
                let at = members.iter().rposition(|(name, _)| name == last).ok_or_else(|| missing(path))?;
                let (_, removed) = members.remove(at);
                members.retain(|(name, _)| name != last);
                Ok(removed)
            }
        }
    }

    /// The array or object that has the last token of the path.
    pub(super) fn parent(&mut self, path: &Pointer) -> Result<&mut JsonValue<'a>, JsonError> {
        self.descend(path, path.tokens().len().saturating_sub(1))
    }

    /// Its children, for the token at `depth` of the path.
    pub(super) fn open(&mut self, path: &Pointer, depth: usize) -> Result<Container<'_, 'a>, JsonError> {
        let conflict = || {
            let way: String = path.tokens().iter().take(depth).map(|token| format!("/{token}")).collect();
            let place = if way.is_empty() { "the document".to_owned() } else { shortened(&way) };
            JsonError::Conflict(format!(
                "path {} cannot be followed: {place} is neither an object nor an array",
                shortened(&path.to_string())
            ))
        };
        self.children()?.ok_or_else(conflict)
    }

    /// Its children; `None` if it is a string, number, boolean or null. Parses one level of text.
    pub(super) fn children(&mut self) -> Result<Option<Container<'_, 'a>>, JsonError> {
        if let Node::Text(text) = &self.0
            && let Some(level) = one_level(text)?
        {
            self.0 = level;
        }
        Ok(match &mut self.0 {
            Node::Text(_) => None,
            Node::Array(items) => Some(Container::Array(items)),
            Node::Object(members) => Some(Container::Object(members)),
        })
    }

    pub(super) fn is_object(&self) -> bool {
        match &self.0 {
            Node::Text(text) => text.starts_with('{'),
            Node::Array(_) => false,
            Node::Object(_) => true,
        }
    }

    /// The same value, which borrows nothing, as text again.
    #[must_use]
    pub fn into_owned(self) -> JsonValue<'static> {
        JsonValue(Node::Text(Cow::Owned(self.to_text().into_owned())))
    }

    /// The JSON text. That of an unchanged part is borrowed from the text of its document.
    #[must_use]
    pub fn to_text(&self) -> Cow<'a, str> {
        match &self.0 {
            Node::Text(text) => text.clone(),
            _ => Cow::Owned(self.to_string()),
        }
    }

    pub(super) fn null() -> Self {
        Self(Node::Text(Cow::Borrowed("null")))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.0, Node::Text(text) if text == "null")
    }

    /// The value of a JSON string.
    pub(super) fn as_string(&self) -> Option<String> {
        let Node::Text(text) = &self.0 else { return None };
        serde_json::from_str(text).ok()
    }
}

impl fmt::Display for JsonValue<'_> {
    /// The JSON text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Node::Text(text) => f.write_str(text),
            Node::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Node::Object(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let name = serde_json::to_string(name).map_err(|_| fmt::Error)?;
                    write!(f, "{comma}{name}:{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// An array or object with the texts of its children; `None` for another value.
fn one_level<'a>(text: &Cow<'a, str>) -> Result<Option<Node<'a>>, JsonError> {
    match text {
        Cow::Borrowed(text) => level_of(text, |child| Cow::Borrowed(child.get())),
        Cow::Owned(text) => level_of(text, |child| Cow::Owned(child.get().to_owned())),
    }
}

fn level_of<'t, 'a>(
    text: &'t str,
    child: impl Fn(&'t RawValue) -> Cow<'a, str>,
) -> Result<Option<Node<'a>>, JsonError> {
    let json = |raw| JsonValue(Node::Text(child(raw)));
    // The text was checked, but only as a whole: a name may still have half a surrogate pair.
    let invalid = |error: serde_json::Error| JsonError::NotJson(error.to_string());
    match text.as_bytes().first() {
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(invalid)?;
            Ok(Some(Node::Array(items.into_iter().map(json).collect())))
        }
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text).map_err(invalid)?;
            Ok(Some(Node::Object(members.into_iter().map(|(name, raw)| (name, json(raw))).collect())))
        }
        _ => Ok(None),
    }
}

/// An index of an array: digits without leading zeros (RFC 6901, section 4).
pub(super) fn index(token: &str) -> Option<usize> {
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if is_index { token.parse().ok() } else { None }
}

fn member<'n, 'a>(members: &'n mut [(String, JsonValue<'a>)], name: &str) -> Option<&'n mut JsonValue<'a>> {
    members.iter_mut().rev().find(|(given, _)| given == name).map(|(_, value)| value)
}

pub(super) fn missing(path: &Pointer) -> JsonError {
    JsonError::Missing(format!("path {} does not exist", shortened(&path.to_string())))
}

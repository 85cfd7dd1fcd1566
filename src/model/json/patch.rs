//! JSON Patch (RFC 6902).

use super::equality::are_equal;
use super::json_error::JsonError;
use super::json_value::{Container, JsonValue, index, missing};
use super::pointer::{Pointer, shortened};

/// How many operations a patch may have.
const MAX_OPERATIONS: usize = 1000;

/// An operation of a patch.
enum Operation<'a> {
    Add { path: Pointer, value: JsonValue<'a> },
    Remove { path: Pointer },
    Replace { path: Pointer, value: JsonValue<'a> },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: JsonValue<'a> },
}

impl<'a> JsonValue<'a> {
    /// Applies a patch, an array of operations. If it fails, the document is changed in part, so use a copy.
    ///
    /// `moved_bytes` limits the total length of the values that `copy` and `move` handle: a small patch could make a huge
    /// document, or take long.
    ///
    /// ```
    /// use kvs::model::json::JsonValue;
    ///
    /// let mut room = JsonValue::parse(r#"{"name": "Hall", "seats": [1, 2]}"#)?;
    /// let patch = r#"[
    ///     {"op": "test", "path": "/name", "value": "Hall"},
    ///     {"op": "add", "path": "/seats/-", "value": 3.0},
    ///     {"op": "move", "from": "/name", "path": "/title"}
    /// ]"#;
    /// room.patch(JsonValue::parse(patch)?, 1000)?;
    /// assert_eq!(room.to_string(), r#"{"seats":[1,2,3.0],"title":"Hall"}"#);
    /// # Ok::<(), kvs::model::json::JsonError>(())
    /// ```
    ///
    /// # Errors
    /// [`JsonError::Invalid`] if the patch is malformed, [`JsonError::Conflict`] if it cannot be applied to this document,
    /// [`JsonError::TooLarge`] if it copies too much or has more than 1000 operations. The text names the operation, by
    /// its index from 0.
    pub fn patch(&mut self, mut patch: JsonValue<'a>, moved_bytes: usize) -> Result<(), JsonError> {
        let Some(Container::Array(operations)) = patch.children()? else {
            return Err(JsonError::Invalid("a JSON Patch must be an array of operations".into()));
        };
        if operations.len() > MAX_OPERATIONS {
            let text = format!("a JSON Patch has at most {MAX_OPERATIONS} operations, got {}", operations.len());
            return Err(JsonError::TooLarge(text));
        }
        let parse =
            |(at, operation): (usize, &mut JsonValue<'a>)| Operation::parse(operation).map_err(|e| located(at, e));
        // All operations are checked before the first one is applied, so that malformed ones are always reported as such.
        let operations: Vec<Operation<'a>> = operations.iter_mut().enumerate().map(parse).collect::<Result<_, _>>()?;
        let mut moved_bytes = moved_bytes;
        for (at, operation) in operations.into_iter().enumerate() {
            operation.apply(self, &mut moved_bytes).map_err(|error| match located(at, error) {
                JsonError::Missing(text) => JsonError::Conflict(text),
                error => error,
            })?;
        }
        Ok(())
    }
}

fn located(at: usize, error: JsonError) -> JsonError {
    let text = format!("operation {at} of the patch: {error}");
    match error {
        JsonError::NotJson(_) => JsonError::NotJson(text),
        JsonError::Invalid(_) => JsonError::Invalid(text),
        JsonError::Missing(_) => JsonError::Missing(text),
        JsonError::Conflict(_) => JsonError::Conflict(text),
        JsonError::TooLarge(_) => JsonError::TooLarge(text),
    }
}

impl<'a> Operation<'a> {
    fn parse(operation: &mut JsonValue<'a>) -> Result<Self, JsonError> {
        let invalid = |text: String| JsonError::Invalid(text);
        let Some(Container::Object(members)) = operation.children()? else {
            return Err(invalid("it must be an object".into()));
        };
        let named = |name: &'static str| -> Result<JsonValue<'a>, JsonError> {
            let mut found = members.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone());
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(value),
                (None, _) => Err(invalid(format!("it has no member {name:?}"))),
                _ => Err(invalid(format!("it has more than one member {name:?}"))),
            }
        };
        let text = |name: &'static str| -> Result<String, JsonError> {
            named(name)?.as_string().ok_or_else(|| invalid(format!("{name:?} must be a string")))
        };
        let op = text("op")?;
        let path: Pointer = text("path")?.parse()?;
        Ok(match op.as_str() {
            "add" => Self::Add { path, value: named("value")? },
            "remove" if path.is_whole() => {
                return Err(invalid("the whole document cannot be removed; delete the key".into()));
            }
            "remove" => Self::Remove { path },
            "replace" => Self::Replace { path, value: named("value")? },
            "move" => {
                let from: Pointer = text("from")?.parse()?;
                if from.contains(&path) {
                    return Err(invalid("a part cannot be moved into itself".into()));
                }
                Self::Move { from, path }
            }
            "copy" => Self::Copy { from: text("from")?.parse()?, path },
            "test" => Self::Test { path, value: named("value")? },
            _ => {
                let known = "add, remove, replace, move, copy or test";
                return Err(invalid(format!("\"op\" must be {known}, got {}", shortened(&op))));
            }
        })
    }

    fn apply(self, document: &mut JsonValue<'a>, moved_bytes: &mut usize) -> Result<(), JsonError> {
        match self {
            Self::Add { path, value } => add(document, &path, value),
            Self::Remove { path } => document.remove(&path).map(drop),
            Self::Replace { path, value } => {
                *document.get(&path)? = value;
                Ok(())
            }
            Self::Move { from, path } if from == path => document.get(&from).map(drop),
            Self::Move { from, path } => {
                // As text again, so that no sequence of moves nests deeper than the longest path.
                let part = document.remove(&from)?.into_owned();
                charge(moved_bytes, &part)?;
                add(document, &path, part)
            }
            Self::Copy { from, path } => {
                let part = document.get(&from)?.clone().into_owned();
                charge(moved_bytes, &part)?;
                add(document, &path, part)
            }
            Self::Test { path, mut value } => {
                let part = document.get(&path)?;
                if are_equal(part, &mut value)? {
                    return Ok(());
                }
                let found = shortened(&part.to_string());
                Err(JsonError::Conflict(format!("the test of {} failed: it is {found}", shortened(&path.to_string()))))
            }
        }
    }
}

fn charge(moved_bytes: &mut usize, part: &JsonValue<'_>) -> Result<(), JsonError> {
    let left = moved_bytes.checked_sub(part.to_text().len());
    let too_large = || JsonError::TooLarge("the patch copies and moves too much; use several patches".into());
    *moved_bytes = left.ok_or_else(too_large)?;
    Ok(())
}

/// `add` of RFC 6902, section 4.1: inserts into an array, replaces or creates a member of an object.
fn add<'a>(document: &mut JsonValue<'a>, path: &Pointer, value: JsonValue<'a>) -> Result<(), JsonError> {
    let Some((last, parents)) = path.tokens().split_last() else {
        *document = value;
        return Ok(());
    };
    match document.parent(path)?.open(path, parents.len())? {
        Container::Array(items) => {
            let at = if last == "-" { Some(items.len()) } else { index(last) };
            let at = at.filter(|at| *at <= items.len()).ok_or_else(|| missing(path))?;
            items.insert(at, value);
        }
        Container::Object(members) => match members.iter_mut().rev().find(|(name, _)| name == last) {
            Some((_, member)) => *member = value,
            None => members.push((last.clone(), value)),
        },
    }
    Ok(())
}

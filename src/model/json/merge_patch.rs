//! JSON Merge Patch (RFC 7396).

use std::collections::HashMap;

use super::json_error::JsonError;
use super::json_value::{Container, JsonValue};
use super::pointer::Pointer;

impl<'a> JsonValue<'a> {
    /// Applies a merge patch: members of an object replace members of the same name, `null` removes one, and any other
    /// patch replaces the document.
    ///
    /// ```
    /// use kvs::model::json::JsonValue;
    ///
    /// let mut room = JsonValue::parse(r#"{"name": "Hall", "temp": 21.50, "door": "open"}"#)?;
    /// room.merge_patch(JsonValue::parse(r#"{"door": null, "seats": {"front": 80}}"#)?)?;
    /// assert_eq!(room.to_string(), r#"{"name":"Hall","temp":21.50,"seats":{"front":80}}"#);
    /// # Ok::<(), kvs::model::json::JsonError>(())
    /// ```
    ///
    /// # Errors
    /// [`JsonError::TooLarge`] if the patch nests deeper than [`Pointer::MAX_TOKENS`] levels.
    pub fn merge_patch(&mut self, patch: JsonValue<'a>) -> Result<(), JsonError> {
        self.merge_at(patch, 0)
    }

    fn merge_at(&mut self, mut patch: JsonValue<'a>, depth: usize) -> Result<(), JsonError> {
        if !patch.is_object() {
            *self = patch;
            return Ok(());
        }
        if depth >= Pointer::MAX_TOKENS {
            let text = format!("a merge patch must not nest deeper than {} levels", Pointer::MAX_TOKENS);
            return Err(JsonError::TooLarge(text));
        }
        if !self.is_object() {
            *self = JsonValue::object();
        }
        let (Some(Container::Object(changes)), Some(Container::Object(members))) =
            (patch.children()?, self.children()?)
        else {
            return Ok(());
        };
        let mut places: HashMap<String, usize> =
            members.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let mut removed = vec![false; members.len()];
        for (name, change) in std::mem::take(changes) {
            let place = *places.entry(name.clone()).or_insert(members.len());
            if place == members.len() {
                members.push((name, JsonValue::null()));
                removed.push(true);
            }
            let (Some((_, member)), Some(is_removed)) = (members.get_mut(place), removed.get_mut(place)) else {
                continue;
            };
            if change.is_null() {
                *is_removed = true;
                continue;
            }
            if std::mem::take(is_removed) {
                *member = JsonValue::null();
            }
            member.merge_at(change, depth + 1)?;
        }
        // Members of the document with the same name go together.
        let is_removed = |name: &String| places.get(name).and_then(|place| removed.get(*place)).copied();
        members.retain(|(name, _)| is_removed(name) != Some(true));
        Ok(())
    }
}

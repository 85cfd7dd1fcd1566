//! JSON documents: reading and changing a part of a value, without losing how the rest is written.
//!
//! [`JsonValue`] is a document, [`Pointer`] names a part of it (RFC 6901). [`JsonValue::patch`] applies a JSON Patch
//! (RFC 6902) and [`JsonValue::merge_patch`] a JSON Merge Patch (RFC 7396). All of it works on text: numbers keep their
//! digits (`21.50` stays `21.50`), members keep their order, and strings their escapes. `serde_json::Value` would lose
//! the first, and an ordered map of it the second when a member is removed.

mod equality;
mod json_error;
mod json_value;
pub(crate) mod members;
mod merge_patch;
mod patch;
pub(crate) mod pointer;
#[cfg(test)]
mod tests;

pub use self::json_error::JsonError;
pub use self::json_value::JsonValue;
pub use self::pointer::Pointer;

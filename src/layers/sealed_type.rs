//! The content type of a value inside its stored form: a byte with its length, then its text.

use bytes::{BufMut as _, BytesMut};

use crate::model::ContentType;

/// Appends a content type. The default type is empty.
pub(super) fn write_type(out: &mut BytesMut, content_type: &ContentType) {
    let text = if content_type.is_default() { "" } else { content_type.as_str() };
    // A content type has at most 255 characters.
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put_slice(text.as_bytes());
}

/// The content type at the beginning, and the bytes after it. `None` if there is none.
pub(super) fn read_type(stored: &[u8]) -> Option<(ContentType, &[u8])> {
    let (length, rest) = stored.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    let text = std::str::from_utf8(text).ok()?;
    let content_type = if text.is_empty() { ContentType::default() } else { ContentType::new(text).ok()? };
    Some((content_type, rest))
}

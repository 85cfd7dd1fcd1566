//! The lines of a body with several entries.

use bytes::Bytes;

use crate::model::NewLogEntry;
use crate::web::response::api_error::ApiError;

/// The most entries of a request.
const MAX_LINES: usize = 10_000;

/// Parses each line that is not empty. An error has the number of the line.
pub(super) fn each_line(
    body: &Bytes,
    max_value_bytes: usize,
    parse: impl Fn(&str) -> Result<NewLogEntry, String>,
) -> Result<Vec<NewLogEntry>, ApiError> {
    let mut entries = vec![];
    for (number, line) in body.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let number = number + 1;
        let failed = |why: String| ApiError::invalid(format!("line {number} {why}; nothing was appended"));
        let text = std::str::from_utf8(line).map_err(|_| failed("is not UTF-8".to_owned()))?;
        let entry = parse(text).map_err(failed)?;
        if entries.len() >= MAX_LINES {
            return Err(ApiError::too_large(format!("at most {MAX_LINES} lines are possible; nothing was appended")));
        }
        if entry.value.len() > max_value_bytes {
            return Err(ApiError::too_large(format!(
                "line {number} is too large; the limit is {max_value_bytes} bytes, and nothing was appended"
            )));
        }
        entries.push(entry);
    }
    Ok(entries)
}

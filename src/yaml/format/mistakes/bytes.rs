//! Files that are not YAML text at all: another encoding, the file of another program, bytes that were never written.

use super::lines::Mistakes;
use super::quoting::quote_bytes;
use crate::yaml::format::stream::RawDocument;

/// A description of bytes that are not UTF-8 text, with advice; `None` for text.
pub(crate) fn foreign(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..4096).unwrap_or(bytes);
    if is_utf16(head) {
        return Some(
            "the file is in UTF-16 (Notepad calls it Unicode); save the file as UTF-8, which its dialog \"Save as\" \
             offers as encoding"
                .into(),
        );
    }
    if !bytes.is_empty() && bytes.iter().all(|b| *b == 0) {
        return Some(
            "there are only NUL bytes here: the file was not written completely, usually because of a crash or a full \
             disk; put the file back from a backup"
                .into(),
        );
    }
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head).trim_ascii_start();
    let begins = |start: &str| text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
    for (start, what) in FOREIGN_FILES {
        if text.starts_with(start) {
            return Some(format!("this is {what}; save it as plain text in UTF-8, with lines `key: value`"));
        }
    }
    ["<!doctype html", "<html", "<?xml", "<head", "<body"].iter().any(|start| begins(start)).then(|| {
        format!(
            "{} begins a web page (HTML or XML), not a data file; perhaps an error page was saved in its place. Save \
             the file itself, with lines `key: value`",
            quote_bytes(text.split(|b| *b == b'\n').next().unwrap_or_default())
        )
    })
}

/// The first bytes of the files of other programs.
const FOREIGN_FILES: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip file, as word processors and spreadsheets save it (.docx, .odt, .xlsx)"),
    (b"{\\rtf", "the file of a word processor (RTF)"),
    (b"\xd0\xcf\x11\xe0", "the file of a word processor (.doc) or a spreadsheet (.xls)"),
    (b"%PDF-", "a PDF"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"\x28\xb5\x2f\xfd", "a compressed file (zstd)"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\xfd7zXZ", "a compressed file (xz)"),
    (b"SQLite format 3\0", "a database of SQLite"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"bplist00", "a property list of macOS"),
];

/// UTF-16 has a byte order mark, or every second byte is NUL if the text is ASCII.
fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let zeros = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let (more, fewer) = (even.max(odd), even.min(odd));
    more * 3 >= bytes.len() && fewer * 8 <= more && more > 1
}

/// Reports each line that is not UTF-8.
pub(crate) fn not_utf8(raw: &RawDocument<'_>, found: &mut Mistakes) {
    if std::str::from_utf8(raw.text).is_ok() {
        return;
    }
    for (line, number) in raw.text.split(|b| *b == b'\n').zip(raw.line..) {
        if let Err(error) = std::str::from_utf8(line) {
            let byte = line.get(error.valid_up_to()).copied().unwrap_or_default();
            found.add(
                number,
                format!(
                    "{} is not UTF-8 (byte \\x{byte:02x}); save the file as UTF-8, and write bytes that are not text \
                     as `base64:`",
                    quote_bytes(line)
                ),
            );
            if found.is_full() {
                return;
            }
        }
    }
}

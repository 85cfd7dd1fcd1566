//! Replaces a log file: without entries that are no longer kept, or with another header.

use std::io;

use super::known_log::KnownLog;
use super::log_file::{OpenLog, inspect};
use super::log_path::LogPath;
use crate::model::{Error, ErrorKind, Result};
use crate::yaml::file::rewrite::{create_owned, discard};
use crate::yaml::format::log_header;
use crate::yaml::format::log_header::LogHeader;
use crate::yaml::fs::{File, FileSystem, OpenMode};

/// How much is copied at a time.
const PART_BYTES: u64 = 1 << 20;

/// What the new file has after its header: the bytes of the old one from an offset to its end, and then others.
pub(crate) struct NewContent<'a> {
    pub(crate) header: &'a LogHeader,
    pub(crate) from: u64,
    pub(crate) appended: &'a [u8],
}

/// Writes the new file and puts it in the place of the old one, durably. The caller holds the exclusive lock of the old
/// file; afterwards it holds that of the new one, which is returned.
///
/// # Errors
/// `Unavailable` if either file may be in place. After any other error the old file is unchanged.
pub(crate) fn replace(
    fs: &dyn FileSystem,
    path: &LogPath,
    old: &OpenLog,
    known: &KnownLog,
    content: &NewContent<'_>,
) -> Result<(OpenLog, KnownLog)> {
    let unfinished = path.unfinished();
    // It is locked: others may open it as soon as it is renamed, but must not append before the rename is durable.
    let file = create_owned(fs, &unfinished, OpenMode::Private).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Error::new(
            ErrorKind::Busy,
            format!("log {:?}: another process rewrites its file; nothing was done", path.key),
        ),
        _ => path.failed("create the new file of", e),
    })?;
    let rights =
        file.resemble(&**old).map_err(|e| path.failed("give the rights of the old file to the new file of", e));
    let written = rights.and_then(|()| write(&*file, path, (&**old, known), content));
    let synced = written.and_then(|()| file.sync().map_err(|e| path.failed("sync the new file of", e)));
    if let Err(error) = synced {
        discard(fs, &*file, &unfinished);
        return Err(error);
    }
    let unknown = |doing: &str, e| path.failed(doing, e).of_kind(ErrorKind::Unavailable);
    if let Err(e) = fs.rename(&unfinished, &path.file) {
        discard(fs, &*file, &unfinished);
        return Err(unknown("replace", e));
    }
    fs.sync_folder(&path.folder).map_err(|e| unknown("sync the folder of", e))?;
    let known = inspect(&*file, path).map_err(|e| e.of_kind(ErrorKind::Unavailable))?;
    let known = known.ok_or_else(|| path.corrupt("the file that was just written has no header"))?;
    Ok((file, known))
}

fn write(
    file: &dyn File,
    path: &LogPath,
    (old, known): (&dyn File, &KnownLog),
    content: &NewContent<'_>,
) -> Result<()> {
    let mut head = Vec::new();
    log_header::write(&mut head, content.header);
    let mut written = 0;
    let mut put = |bytes: &[u8]| {
        let at = written;
        written += bytes.len() as u64;
        file.write(at, bytes).map_err(|e| path.failed("write the new file of", e))
    };
    put(&head)?;
    let mut from = content.from;
    while from < known.tail.end {
        let part = old.read(from, PART_BYTES.min(known.tail.end - from)).map_err(|e| path.failed("read", e))?;
        if part.is_empty() {
            return Err(path.corrupt("the file became shorter while it was read"));
        }
        put(&part)?;
        from += part.len() as u64;
    }
    if content.from < known.tail.end && !known.tail.is_ended {
        put(b"\n")?;
    }
    put(content.appended)
}

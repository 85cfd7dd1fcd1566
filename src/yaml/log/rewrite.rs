//! Replaces a log file: without entries that are no longer kept, or with another header.

use super::known_log::KnownLog;
use super::log_file::{LogLocker, OpenLog, inspect};
use super::log_path::LogPath;
use crate::model::{ErrorKind, Result};
use crate::yaml::file::rewrite::discard;
use crate::yaml::format::log_header;
use crate::yaml::format::log_header::LogHeader;
use crate::yaml::fs::{File, OpenMode};

/// How much is copied at a time.
const PART_BYTES: u64 = 1 << 20;

/// What the new file has: its header, the bytes of the old one from an offset to its end, and then others.
pub(crate) struct NewContent<'a> {
    pub(crate) header: &'a LogHeader,
    pub(crate) kept: Option<KeptEntries<'a>>,
    pub(crate) appended: &'a [u8],
}

/// The entries of the old file from an offset on.
pub(crate) struct KeptEntries<'a> {
    pub(crate) known: &'a KnownLog,
    pub(crate) from: u64,
}

/// Writes a new file and puts it in the place of the log, durably. The caller holds the exclusive lock of the old file, if
/// there is one; afterwards it holds that of the new one, which is returned. `None` if there was no old file, but another
/// process has created the log meanwhile.
///
/// # Errors
/// `Unavailable` if either file may be in place. After any other error nothing has changed.
pub(crate) fn replace(
    locker: &LogLocker<'_>,
    old: Option<&OpenLog>,
    content: &NewContent<'_>,
) -> Result<Option<(OpenLog, KnownLog)>> {
    let (fs, path) = (locker.fs, locker.path);
    let unfinished = path.unfinished();
    // It is locked: others may open it as soon as it is renamed, but must not append before the rename is durable.
    // Whoever creates the log holds this lock too, so nobody else creates it meanwhile.
    let file = locker.create(&unfinished, if old.is_some() { OpenMode::Private } else { OpenMode::Create })?;
    let is_free = || match old {
        Some(_) => Ok(true),
        None => Ok(fs.stat(&path.file).map_err(|e| path.failed("inspect", e))?.is_none()),
    };
    match is_free()
        .and_then(|is_free| if is_free { prepare(&file, path, old, content).map(|()| true) } else { Ok(false) })
    {
        Ok(true) => {}
        unused => {
            discard(fs, &*file, &unfinished);
            return unused.map(|_| None);
        }
    }
    let unknown = |doing: &str, e| path.failed(doing, e).of_kind(ErrorKind::Unavailable);
    if let Err(e) = fs.rename(&unfinished, &path.file) {
        discard(fs, &*file, &unfinished);
        return Err(unknown("replace", e));
    }
    path.sync_folders(fs).map_err(|e| unknown("sync the folder of", e))?;
    let known = inspect(&*file, path).map_err(|e| e.of_kind(ErrorKind::Unavailable))?;
    let known = known.ok_or_else(|| path.corrupt("the file that was just written is empty"))?;
    Ok(Some((file, known)))
}

/// Writes the new file and makes it durable.
fn prepare(file: &OpenLog, path: &LogPath, old: Option<&OpenLog>, content: &NewContent<'_>) -> Result<()> {
    if let Some(old) = old {
        let rights = file.resemble(&**old);
        rights.map_err(|e| path.failed("give the rights of the old file to the new file of", e))?;
    }
    write(&**file, path, old, content)?;
    file.sync().map_err(|e| path.failed("sync the new file of", e))
}

fn write(file: &dyn File, path: &LogPath, old: Option<&OpenLog>, content: &NewContent<'_>) -> Result<()> {
    let mut head = Vec::new();
    log_header::write(&mut head, content.header);
    let mut written = 0;
    let mut put = |bytes: &[u8]| {
        let at = written;
        written += bytes.len() as u64;
        file.write(at, bytes).map_err(|e| path.failed("write the new file of", e))
    };
    put(&head)?;
    if let (Some(old), Some(KeptEntries { known, from })) = (old, &content.kept) {
        let mut from = *from;
        let is_unended = from < known.tail.end && !known.tail.is_ended;
        while from < known.tail.end {
            let part = old.read(from, PART_BYTES.min(known.tail.end - from)).map_err(|e| path.failed("read", e))?;
            if part.is_empty() {
                return Err(path.corrupt("the file became shorter while it was read"));
            }
            put(&part)?;
            from += part.len() as u64;
        }
        if is_unended {
            put(b"\n")?;
        }
    }
    put(content.appended)
}

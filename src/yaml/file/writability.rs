//! Obstacles to a write (a full disk, a hard link to the file, missing rights), and the writes that are still possible.

use std::io;

use parking_lot::RwLock;

use super::data_file::{DataFile, ReserveState};
use super::known_file::AppendState;
use super::paths::BucketPaths;
use crate::model::{Error, ErrorKind, Result};
use crate::yaml::format::document::document;
use crate::yaml::format::parse_error::ParseError;
use crate::yaml::format::reader::{read, read_snapshot};
use crate::yaml::format::stream;
use crate::yaml::fs::File;
use crate::yaml::state::{BucketState, Unstamped};

/// Checks that a data file has no other name.
///
/// # Errors
/// `Corrupt`: a hard link to it may be a backup, which must not change, or the data file of another folder, which must.
pub(crate) fn check_hard_links(paths: &BucketPaths, file: &dyn File) -> Result<()> {
    let links = file.links().map_err(|e| paths.failed("inspect", e))?;
    if links <= 1 {
        return Ok(());
    }
    let text = format!(
        "{} has {links} names (hard links), and kvs cannot know whether the others may change too; nothing was stored; \
         `kvs compact --bucket {}` gives this folder a file of its own",
        paths.data.display(),
        paths.bucket
    );
    Err(Error::new(ErrorKind::Corrupt, text))
}

impl DataFile {
    /// Checks that the data file has no other name. Under the exclusive lock.
    ///
    /// # Errors
    /// As for [`check_hard_links`].
    pub(crate) fn ensure_no_hard_links(&self) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| check_hard_links(&self.paths, &**file))
    }

    /// Checks whether a write would be possible, without one. Under the exclusive lock, after
    /// [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// The error with which a write would fail.
    pub(crate) fn ensure_writable(&mut self) -> Result<()> {
        self.fs.may_write(&self.paths.folder).map_err(|e| self.paths.failed("write next to", e))?;
        self.reopen()?;
        self.ensure_no_hard_links()?;
        self.last_failure().map_or(Ok(()), Err)
    }

    /// The error of the last append or the last rewrite, if it failed.
    pub(crate) fn last_failure(&self) -> Option<Error> {
        self.last_append_error.as_ref().or(self.last_rewrite_error.as_ref()).map(Error::duplicate)
    }

    /// Whether the file can still be appended to after a failed rewrite: it is unchanged and durable.
    pub(crate) fn can_go_on_after(&self, error: &Error) -> bool {
        let is_unchanged =
            self.file.is_some() && self.known.stat.is_some() && self.known.append_state != AppendState::Suspect;
        is_unchanged && matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::PermissionDenied)
    }

    /// Makes a file that cannot be rewritten ready to be appended to: appends the entries of the state that it does not
    /// have, such as the revisions of what a person wrote.
    pub(crate) fn append_missing(&mut self, state: &RwLock<BucketState>) -> Result<()> {
        let bytes = self.data()?.read(0, self.known.committed).map_err(|e| self.paths.failed("read", e))?;
        let (mut contents, mut unstamped) = (BucketState::default(), Unstamped::default());
        for (n, raw) in stream::split(&bytes).documents.iter().enumerate() {
            let read = if n == 0 { read_snapshot(raw) } else { read(raw) };
            let error = |error: ParseError| Error::new(ErrorKind::Corrupt, error.text);
            contents.apply(read.map_err(error)?, &mut unstamped);
        }
        let entries = state.read().entries.clone();
        let missing = entries.iter().filter(|view| contents.entries.view(view.key) != Some(*view));
        let missing: Vec<_> = missing.map(|view| view.to_pair()).collect();
        if !missing.is_empty() {
            let mut text = Vec::new();
            document(&mut text, missing.iter().map(|(key, entry)| (key, Some(entry), None)));
            state.write().stat = Some(self.append(&text)?);
        }
        self.known.no_rewrite_needed();
        Ok(())
    }

    /// Reserves disk space for deletions on a full disk. It is tried once, and again after the file has been rewritten.
    pub(crate) fn reserve(&mut self) {
        if self.reserve == ReserveState::Unknown {
            self.reserve = ReserveState::Tried;
            if let Err(e) = self.fs.reserve(&self.paths.reserve()) {
                tracing::debug!("no disk space is reserved for deletions in {}: {e}", self.paths.folder.display());
            }
        }
    }

    /// Releases the reserved space. Returns whether there was any.
    pub(crate) fn release(&mut self) -> bool {
        self.reserve = ReserveState::Released;
        self.fs.release(&self.paths.reserve()).unwrap_or(false)
    }

    /// Whether the disk was full, and the file has not been rewritten since.
    pub(crate) fn is_short_of_space(&self) -> bool {
        self.reserve == ReserveState::Released
    }

    /// Tries to reserve the space again. Returns whether there is space for more than deletions.
    pub(crate) fn reserve_again(&mut self) -> bool {
        if self.is_short_of_space() {
            match self.fs.reserve(&self.paths.reserve()) {
                Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {}
                // There is space, or none can be reserved here.
                Ok(()) | Err(_) => self.reserve = ReserveState::Tried,
            }
        }
        !self.is_short_of_space()
    }
}

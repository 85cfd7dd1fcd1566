//! `kvs export`: a bucket as one file, as it stood at one moment.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::existing;
use super::failure::{Done, Failure};
use super::format::Format;
use super::output::{Output, progress, unwritten};
use super::settings::Settings;
use super::units::counted;
use crate::model::{Entry, Key, Query};

/// More entries than any bucket has.
const ALL: usize = u32::MAX as usize;

const EXAMPLES: &str = "\
Examples:
  kvs export backup.yaml
  kvs export sensors.csv --bucket sensors
  kvs export --format json | jq .
  kvs export - | ssh other kvs import -      to another machine";

/// Write a bucket to a file
///
/// All entries as they stood at one moment. A file that is there already is replaced once the new one is whole. An empty
/// bucket replaces no file that has something in it, unless you say --force.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Given {
    /// The file; without one, or with `-`, standard output
    file: Option<PathBuf>,
    /// The format [default: told by the name of the file, else yaml]
    #[arg(short, long)]
    format: Option<Format>,
    /// Replace the file also if the bucket is empty and the file is not
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(settings: &Settings, given: Given) -> Done {
    let file = given.file.filter(|path| path.as_os_str() != "-");
    let format = given.format.or_else(|| Format::of(file.as_deref()?)).unwrap_or(Format::Yaml);
    // One page, so that it shows one moment.
    let page = existing::client(settings).await?.scan(Query { limit: ALL, ..Query::default() }).await?;
    let entries: Vec<(Key, Entry)> = page.entries.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect();
    if let Some(path) = file.as_deref().filter(|path| entries.is_empty() && !given.force && has_bytes(path)) {
        let text = format!(
            "the bucket {} is empty, and {} is not; nothing was written. To replace it all the same: --force",
            settings.bucket(),
            path.display()
        );
        return Err(Failure::Failed(text));
    }
    // CSV looks at all entries once before it writes them.
    let steps = entries.len() * if format == Format::Csv { 2 } else { 1 };
    let bar = progress(steps, "exporting", settings.quiet || file.is_none());
    let shown = entries.iter().inspect(|_| bar.inc(1)).map(|(key, entry)| (key, entry));
    match &file {
        None => {
            let mut output = Output::new();
            format.write(shown, output.writer()).map_err(unwritten)?;
            output.done()?;
        }
        Some(path) => replace(path, |file| format.write(shown, file))?,
    }
    bar.finish_and_clear();
    if let Some(path) = file {
        let entries = counted(entries.len() as u64, "entry", "entries");
        settings.note(&format!("{entries} written to {}", path.display()));
    }
    Ok(())
}

/// Whether it is a file with something in it, perhaps the only backup.
fn has_bytes(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0)
}

/// Writes a file beside that one and puts it in its place, with the mode of the old one.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Done {
    let failed = |e: io::Error| Failure::file("write", path, &e);
    if path.exists() && !path.is_file() {
        // A device or a pipe: there is nothing to put in its place.
        let mut file = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        return write(&mut file).and_then(|()| file.flush()).map_err(failed);
    }
    // Of a link, what it leads to.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let beside = path.with_file_name(beside(path)?);
    let whole = (|| {
        let mut file = BufWriter::new(File::create_new(&beside)?);
        if let Ok(old) = std::fs::metadata(path) {
            file.get_ref().set_permissions(old.permissions())?;
        }
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        put_in_place(&beside, path)
    })();
    whole.map_err(|e| {
        // What is left of it is of no use; the error that is told is the first.
        let _ = std::fs::remove_file(&beside);
        failed(e)
    })
}

/// A name for the new file that nobody else has: an older run may have left one behind.
fn beside(path: &Path) -> Done<OsString> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::Failed(format!("the operating system gave no random numbers: {e}")))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.tmp", u64::from_be_bytes(random)));
    Ok(name)
}

#[expect(clippy::disallowed_methods, reason = "a file of the user's, which is no part of a store")]
fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_stays_and_a_link_stays_a_link() {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.yaml"), dir.path().join("link.yaml"));
        File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::os::unix::fs::symlink("a.yaml", &link).unwrap();
        replace(&link, |file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_is_replaced_only_by_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        replace(&path, |file| file.write_all(b"one")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"tw")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        replace(&path, |file| file.write_all(b"two")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

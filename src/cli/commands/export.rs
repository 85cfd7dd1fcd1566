//! `kvs export`: writes a snapshot of a bucket to a file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::existing;
use crate::cli::exit::{CliResult, Failure};
use crate::cli::format::Format;
use crate::cli::output::{Output, progress};
use crate::cli::random;
use crate::model::{BlobRef, Entry, Key, Scan};
use crate::yaml::fs::folder_of;

/// More entries than any bucket has.
const NO_LIMIT: usize = u32::MAX as usize;

const EXAMPLES: &str = "\
Examples:
  kvs export backup.yaml
  kvs export sensors.csv --bucket sensors
  kvs export --format json | jq .
  kvs export - | ssh other kvs import -";

/// Write a bucket to a file
///
/// Writes a snapshot of all entries. An existing file is replaced only when the new one is complete. An empty bucket
/// does not replace a file that has content, except with --force.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file; without one, or with `-`, standard output
    file: Option<PathBuf>,
    /// The format [default: by the file name, else yaml]
    #[arg(short, long)]
    format: Option<Format>,
    /// Replace a file that has content even if the bucket is empty
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let file = args.file.filter(|path| path.as_os_str() != "-");
    let format = args.format.or_else(|| Format::from_name(file.as_deref()?)).unwrap_or(Format::Yaml);
    // A single page is a snapshot.
    let page = existing::client(settings).await?.scan(Scan { limit: NO_LIMIT, ..Scan::default() }).await?;
    let has_large_values =
        page.entries.iter().any(|(_, entry)| entry.as_ref().is_some_and(|e| BlobRef::of(e).is_some()));
    if page.cursor.is_some() || has_large_values {
        let text = format!(
            "the values of bucket {} are too large for an export, which is written in memory; nothing was written. Copy \
             the bucket with kvs copy",
            settings.bucket()
        );
        return Err(Failure::Failed(text));
    }
    let entries: Vec<(Key, Entry)> = page.entries.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect();
    if let Some(path) = file.as_deref().filter(|path| entries.is_empty() && !args.force && has_bytes(path)) {
        let text = format!(
            "the bucket {} is empty, but {} has content; nothing was written. Use --force to replace the file",
            settings.bucket(),
            path.display()
        );
        return Err(Failure::Failed(text));
    }
    // CSV reads all entries once before it writes them.
    let steps = entries.len() * if format == Format::Csv { 2 } else { 1 };
    let bar = progress(steps, "exporting", settings.quiet || file.is_none());
    let counted = entries.iter().inspect(|_| bar.inc(1)).map(|(key, entry)| (key, entry));
    match &file {
        None => {
            let mut output = Output::new();
            format.write(counted, output.writer()).map_err(Failure::stdout)?;
            output.finish()?;
        }
        Some(path) => replace(path, |file| format.write(counted, file))?,
    }
    bar.finish_and_clear();
    if let Some(path) = file {
        let entries = count_noun(entries.len() as u64, "entry", "entries");
        settings.note(&format!("{entries} written to {}", path.display()));
    }
    Ok(())
}

/// Whether the file has content. It may be the only backup.
fn has_bytes(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0)
}

/// Writes a temporary file in the same folder and renames it to `path`. The file keeps its mode.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> CliResult {
    let failed = |e: io::Error| Failure::file("write", path, &e);
    if path.exists() && !path.is_file() {
        // A device or a pipe cannot be replaced.
        let mut file = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        return write(&mut file).and_then(|()| file.flush()).map_err(failed);
    }
    // A link stays; its target is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let temporary = path.with_file_name(temporary_name(path)?);
    let written = (|| {
        let old = std::fs::metadata(path).ok();
        let mut options = File::options();
        if old.is_some() {
            // Until it has the mode of the old file, nobody else may open it.
            options.mode(0o600);
        }
        let mut file = BufWriter::new(options.write(true).create_new(true).open(&temporary)?);
        if let Some(old) = old {
            file.get_ref().set_permissions(old.permissions())?;
        }
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        rename(&temporary, path)
    })();
    written.map_err(|e| {
        // Only the first error is reported.
        let _ = std::fs::remove_file(&temporary);
        failed(e)
    })
}

/// A unique name: an interrupted run may have left a file.
fn temporary_name(path: &Path) -> CliResult<OsString> {
    let random = u64::from_be_bytes(random::bytes()?);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{random:016x}.tmp"));
    Ok(name)
}

#[expect(clippy::disallowed_methods, reason = "a file of the user, not of a store")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    File::open(folder_of(to))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_link_stays_a_link() {
        use std::os::unix::fs::MetadataExt;
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
    fn a_file_is_replaced_only_by_a_complete_one() {
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

//! `kvs restore`: restores a backup that `kvs backup` has made.

use std::fs;
use std::path::{Path, PathBuf};

use super::backup;
use crate::cli::commands::copy::print_some;
use crate::cli::config::settings::CliSettings;
use crate::cli::config::units::count_noun;
use crate::cli::data::backup_folder::Backup;
use crate::cli::data::open_store::{OpenStore, StoreOptions, StoreUrl};
use crate::cli::exit::{CliResult, Failure};
use crate::cli::stderr::say;
use crate::copy::{CopyJob, CopySettings, Mode};
use crate::store::all_buckets;
use crate::yaml::fs::folder_of;
use crate::yaml::{FileSystem as _, RealFileSystem, YamlStore};

const EXAMPLES: &str = "\
Examples:
  kvs restore backups                               the newest backup
  kvs restore backups/2026-11-30T15-04-05Z          this one
  kvs restore backups --bucket kitchen              one bucket of it
  kvs restore backups --replace                     over what is in the store
  kvs restore backups --store postgresql://kvs@db/kvs";

/// Restore a backup
///
/// First checks that no file of the backup has changed. Then copies its entries, logs and blobs into the store, with all
/// times and revisions, and compares both. If the store is an empty folder, or none yet, it gets the files of the backup
/// with their comments.
///
/// If the store has other data, nothing is written, unless --replace is given. Buckets that the backup does not have stay
/// as they are. Servers may run meanwhile.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A backup, or the folder of the backups; then its newest one is restored
    backup: PathBuf,
    /// Replace or delete other entries and logs in the buckets of the backup
    #[arg(long)]
    replace: bool,
}

pub(crate) async fn run(settings: &CliSettings, args: Args) -> CliResult {
    let backup = Backup::find(&args.backup)?;
    backup.verify()?;
    let options = backup::options(settings);
    let url = StoreUrl::yaml(&backup.data())?;
    let from = url.open(options.clone())?;
    let buckets = all_buckets(&*from.store).await?;
    if let Some(bucket) = settings.bucket.as_ref().filter(|bucket| !buckets.contains(bucket)) {
        let names: Vec<&str> = buckets.iter().filter(|b| !b.is_reserved()).map(crate::model::Bucket::as_str).collect();
        let text = format!("{} has no bucket {bucket}; it has {}", backup.path.display(), names.join(", "));
        return Err(Failure::Failed(text));
    }
    let empty = settings.store.folder().filter(|folder| settings.bucket.is_none() && is_empty(folder));
    let restored = match (empty, &from.yaml) {
        (Some(folder), Some(files)) => put_in_place(files, &folder, &options).await?,
        _ => copy(settings, &args, &url, from.clone()).await?,
    };
    settings.note(&format!("{restored} from {}; both are equal", backup.path.display()));
    let others = all_buckets(&*settings.store.open(options)?.store).await?;
    for other in others.iter().filter(|other| !other.is_reserved() && !buckets.contains(other)) {
        if settings.bucket.is_none() {
            settings.note(&format!("note: bucket {other} is not in the backup and stays as it is"));
        }
    }
    Ok(())
}

/// Whether a folder is missing or empty.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or_else(|e| e.kind() == std::io::ErrorKind::NotFound, |mut inside| inside.next().is_none())
}

/// Makes a folder with the files, which then replaces the empty folder in one step.
async fn put_in_place(files: &YamlStore, folder: &Path, options: &StoreOptions) -> CliResult<String> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.with_file_name(format!("{name}.restoring"));
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|e| Failure::file("remove", &new, &e))?;
    }
    let made = match fs::metadata(folder) {
        // With the rights of the folder that it replaces.
        Ok(_) => RealFileSystem.make_folder(&new).and_then(|()| resemble(&new, folder)),
        Err(_) => RealFileSystem.make_folder(&new),
    };
    made.map_err(|e| Failure::file("create", &new, &e))?;
    let copied = files.copy_to(&new, None).await?;
    backup::verify(&StoreUrl::yaml(&new)?, options, &copied, true).await?;
    let renamed = RealFileSystem.rename(&new, folder).and_then(|()| RealFileSystem.sync_folder(folder_of(folder)));
    renamed.map_err(|e| Failure::file("put the files in the place of", folder, &e))?;
    let entries = count_noun(copied.iter().map(|bucket| bucket.entries).sum(), "entry", "entries");
    Ok(format!("{entries} in {} restored", count_noun(copied.len() as u64, "bucket", "buckets")))
}

/// Gives a folder the owner and mode of another one.
fn resemble(folder: &Path, other: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let rights = fs::metadata(other)?;
    let _ = std::os::unix::fs::chown(folder, Some(rights.uid()), Some(rights.gid()));
    fs::set_permissions(folder, rights.permissions())
}

/// Copies the entries that differ.
async fn copy(settings: &CliSettings, args: &Args, from_url: &StoreUrl, from: OpenStore) -> CliResult<String> {
    let name = from_url.location().unwrap_or_default();
    if settings.store.location().as_deref() == Some(&name) {
        return Err(Failure::Usage("the backup and the store are the same folder".to_owned()));
    }
    let options = backup::options(settings);
    let limits = options.limits;
    let target = settings.store.open(options)?;
    let copy = CopySettings {
        name,
        bucket: settings.bucket.clone(),
        mode: Mode::Copy,
        replace: args.replace,
        skip_incompatible: false,
        limits,
        batches: target.batches,
    };
    let store = settings.hooks.over(target.store);
    let report = CopyJob::new(from.store, store, copy).run().await?;
    print_some(&report.conflicts, "buckets");
    print_some(&report.log_conflicts, "logs");
    if report.has_conflicts() {
        let text = "nothing was written: the store has other data, listed above. Restore into an empty store, or add \
                    --replace to overwrite it";
        return Err(Failure::Failed(text.to_owned()));
    }
    if let Some(rejected) = report.rejected.first() {
        return Err(Failure::Failed(format!("nothing was written: the store cannot hold {rejected}")));
    }
    if !report.is_equal() {
        for difference in &report.differences.first {
            say(&difference.to_string());
        }
        let count = count_noun(report.differences.count, "entry differs", "entries differ");
        let text = format!("{count}: others wrote to the store during the restore; run the command again");
        return Err(Failure::Failed(text));
    }
    let entries = count_noun(report.equal, "entry", "entries");
    Ok(format!("{entries} in {}: {} restored", count_noun(report.buckets, "bucket", "buckets"), report.copied))
}

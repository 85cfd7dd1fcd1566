//! A folder of backups. Each backup is a folder, named by its time, with these files:
//!
//! - `data`: the files of a YAML store
//! - `backup.yaml`: what was backed up; for people
//! - `SHA256SUMS`: the hashes of all other files, for `sha256sum -c`
//!
//! A backup gets its name when it is complete. Until then it is in the folder `.unfinished`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs2::FileExt as _;
use sha2::{Digest as _, Sha256};

use crate::cli::exit::{CliResult, Failure};
use crate::cli::new_file;
use crate::model::Time;
use crate::yaml::{FileSystem as _, LinkBlob, RealFileSystem};

const DATA: &str = "data";
const SUMMARY: &str = "backup.yaml";
const SUMS: &str = "SHA256SUMS";
const UNFINISHED: &str = ".unfinished";
/// Held by the backup that is being made.
const LOCK: &str = ".lock";
/// The length of a name such as `2026-11-30T15-04-05Z`.
const NAME_BYTES: usize = 20;

/// A folder of backups, of which this process makes one.
pub(crate) struct BackupFolder {
    path: PathBuf,
    _lock: File,
}

/// A complete backup.
pub(crate) struct Backup {
    pub(crate) path: PathBuf,
}

impl BackupFolder {
    /// Opens the folder, which is created if it is missing, for one backup at a time.
    pub(crate) fn open(path: &Path) -> CliResult<Self> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(|e| Failure::file("create", path, &e))?;
        let lock_path = path.join(LOCK);
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|e| Failure::file("create", &lock_path, &e))?;
        if lock.try_lock_exclusive().is_err() {
            return Err(Failure::Failed(format!("another backup to {} is running", path.display())));
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.remove(&folder.unfinished())?;
        Ok(folder)
    }

    /// The complete backups, the oldest first.
    pub(crate) fn backups(&self) -> CliResult<Vec<Backup>> {
        Backup::all(&self.path)
    }

    fn unfinished(&self) -> PathBuf {
        self.path.join(UNFINISHED)
    }

    /// The folder for the data of a new backup; created.
    pub(crate) fn begin(&self) -> CliResult<PathBuf> {
        let data = self.unfinished().join(DATA);
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&data);
        created.map_err(|e| Failure::file("create", &data, &e))?;
        Ok(data)
    }

    /// Completes the backup that was begun.
    pub(crate) fn finish(&self, taken: Time, summary: &str) -> CliResult<Backup> {
        let unfinished = self.unfinished();
        let write = |name: &str, text: &str| {
            let path = unfinished.join(name);
            new_file::create(&path, 0o600, &mut text.as_bytes()).map_err(|e| Failure::file("write", &path, &e))
        };
        write(SUMMARY, summary)?;
        let sums = sums_of(&unfinished).map_err(|e| Failure::file("read", &unfinished, &e))?;
        let lines: Vec<String> = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
        write(SUMS, &lines.concat())?;
        let name = |number: u32| match number {
            0 => name_of(taken),
            _ => format!("{}-{number}", name_of(taken)),
        };
        let mut paths = (0..).map(|number| self.path.join(name(number)));
        let path = paths.find(|path| !path.exists()).unwrap_or_default();
        let renamed = RealFileSystem
            .sync_folder(&unfinished)
            .and_then(|()| RealFileSystem.rename(&unfinished, &path))
            .and_then(|()| RealFileSystem.sync_folder(&self.path));
        renamed.map_err(|e| Failure::file("create", &path, &e))?;
        Ok(Backup { path })
    }

    /// Removes all but the newest backups. Returns how many were removed.
    pub(crate) fn keep(&self, newest: usize) -> CliResult<usize> {
        let mut backups = self.backups()?;
        backups.truncate(backups.len().saturating_sub(newest));
        for backup in &backups {
            self.remove(&backup.path)?;
        }
        Ok(backups.len())
    }

    /// Removes a backup. If this is interrupted, the rest is not a backup any more.
    fn remove(&self, path: &Path) -> CliResult {
        let unfinished = self.unfinished();
        let renamed = if path == unfinished { Ok(()) } else { RealFileSystem.rename(path, &unfinished) };
        match renamed.and_then(|()| fs::remove_dir_all(&unfinished)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| Failure::file("remove", path, &e)),
        }
    }
}

impl Backup {
    /// The complete backups in a folder, the oldest first.
    fn all(folder: &Path) -> CliResult<Vec<Self>> {
        let entries = fs::read_dir(folder).map_err(|e| Failure::file("list", folder, &e))?;
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_backup(path)).collect();
        paths.sort();
        Ok(paths.into_iter().map(|path| Self { path }).collect())
    }

    /// The backup at this path, or the newest one in the folder of this path.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(path: &Path) -> CliResult<Self> {
        if path.join(SUMS).is_file() {
            return Ok(Self { path: path.to_owned() });
        }
        Self::all(path)?.pop().ok_or_else(|| {
            let text = format!("{0} is not a backup and contains none; `kvs backup {0}` makes one", path.display());
            Failure::Failed(text)
        })
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Gives the blobs of this backup a second name in a new one. A blob never changes, so it can belong to both.
    pub(crate) fn link_blobs(&self) -> Arc<LinkBlob> {
        let blobs = self.data().join("blobs");
        // Where links are not possible, the blob is copied.
        Arc::new(move |bucket, id, to| fs::hard_link(blobs.join(bucket.as_str()).join(id.to_string()), to).is_ok())
    }

    /// Checks that all files are as they were written.
    ///
    /// # Errors
    /// With the name of a file that is missing, changed or new.
    pub(crate) fn verify(&self) -> CliResult {
        let path = self.path.join(SUMS);
        let listed = fs::read_to_string(&path).map_err(|e| Failure::file("read", &path, &e))?;
        let listed: Option<BTreeMap<String, String>> = listed
            .lines()
            .map(|line| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned())))
            .collect();
        let listed =
            listed.ok_or_else(|| Failure::Failed(format!("{} is damaged; use another backup", path.display())))?;
        let found = sums_of(&self.path).map_err(|e| Failure::file("read", &self.path, &e))?;
        let wrong = |name: &String, why: &str| {
            let text =
                format!("{} {why} since the backup was made; use another backup", self.path.join(name).display());
            Err(Failure::Failed(text))
        };
        for (name, sum) in &listed {
            match found.get(name) {
                None => return wrong(name, "has been removed"),
                Some(other) if other != sum => return wrong(name, "has been changed"),
                Some(_) => {}
            }
        }
        found.keys().find(|name| !listed.contains_key(*name)).map_or(Ok(()), |name| wrong(name, "has been added"))
    }
}

/// The name of a backup of this time, to the second.
fn name_of(taken: Time) -> String {
    let text = taken.to_string();
    format!("{}Z", text.get(..NAME_BYTES - 1).unwrap_or(&text).replace(':', "-"))
}

fn is_backup(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && path.join(SUMS).is_file()
}

/// Whether a file is a lock, which every use of the data may create.
fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "lock") || path.file_name().is_some_and(|name| name == "lock")
}

/// The names of all files below a folder, and their hashes.
fn sums_of(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(&inside)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if name != SUMS && !is_lock(&path) {
                sums.insert(name, sum_of(&path)?);
            }
        }
    }
    Ok(sums)
}

fn sum_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut part) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            read => hash.update(part.get(..read).unwrap_or_default()),
        }
    }
}

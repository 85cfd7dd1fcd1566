//! The file of a log: its name is the key, with `%XX` for every byte that may have a meaning to a file system.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use crate::model::{Bucket, Error, ErrorKind, Key, Time};
use crate::yaml::file::errors::io_error_with_advice;
use crate::yaml::fs::FileSystem;

/// The longest name without an ending. File systems allow 255 bytes, and some files have a longer ending.
const MAX_NAME_BYTES: usize = 200;

/// Between the begin of a long key and a hash of it. It is in no encoded key.
const HASH_MARK: &str = "%~";

const ENDING: &str = ".log";

/// The ending of the folder with the logs of a bucket.
const FOLDER_ENDING: &str = ".logs";

/// The path of the file of a log.
#[derive(Clone, Debug)]
pub(crate) struct LogPath {
    pub(crate) key: Key,
    pub(crate) folder: PathBuf,
    pub(crate) file: PathBuf,
}

/// The ending of the file that is being written, before it replaces the log.
pub(crate) const UNFINISHED_ENDING: &str = ".new";

/// What the name of a file says about its key.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum NamedKey {
    Key(Key),
    /// The key is too long for a name; the file has it.
    InFile,
}

impl LogPath {
    pub(crate) fn new(data_folder: &Path, bucket: &Bucket, key: &Key) -> Self {
        let folder = folder(data_folder, bucket);
        let file = folder.join(name(key));
        Self { key: key.clone(), folder, file }
    }

    /// The file that is being written, before it replaces the log.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.file.with_extension("new")
    }

    /// An unused path for the end of a log that was written only in part.
    pub(crate) fn torn(&self, fs: &dyn FileSystem, now: Time) -> std::io::Result<PathBuf> {
        let mut number = now.nanos();
        loop {
            let path = self.file.with_extension(format!("torn-{number}"));
            if fs.stat(&path)?.is_none() {
                return Ok(path);
            }
            number = number.saturating_add(1);
        }
    }

    pub(crate) fn failed(&self, doing: &str, e: std::io::Error) -> Error {
        io_error_with_advice(format!("cannot {doing} {}", self.file.display()), e)
    }

    pub(crate) fn busy(&self, why: &str) -> Error {
        Error::new(ErrorKind::Busy, format!("log {:?}: {why}; nothing was done, try again", self.key))
    }

    /// Makes the name of the file durable, and that of its folder. The process that made the folder may have been killed
    /// before this.
    pub(crate) fn sync_folders(&self, fs: &dyn FileSystem) -> std::io::Result<()> {
        fs.sync_folder(&self.folder)?;
        self.folder.parent().map_or(Ok(()), |above| fs.sync_folder(above))
    }

    pub(crate) fn corrupt(&self, text: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{}: {text}", self.file.display()))
    }
}

/// The folder with the logs of a bucket.
pub(crate) fn folder(data_folder: &Path, bucket: &Bucket) -> PathBuf {
    data_folder.join(format!("{bucket}{FOLDER_ENDING}"))
}

/// The bucket whose logs are in a folder of this name.
pub(crate) fn bucket_of(folder_name: &str) -> Option<Bucket> {
    Bucket::new(folder_name.strip_suffix(FOLDER_ENDING)?).ok()
}

fn name(key: &Key) -> String {
    let mut name = String::with_capacity(key.as_str().len() + ENDING.len());
    for byte in key.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            // Writing to a string cannot fail.
            _ => drop(write!(name, "%{byte:02X}")),
        }
    }
    if name.len() > MAX_NAME_BYTES {
        // Not in the middle of `%XX`. The name is ASCII.
        let begin = name.get(..MAX_NAME_BYTES - 34).unwrap_or_default();
        let cut = begin.rfind('%').filter(|at| at + 3 > begin.len()).unwrap_or(begin.len());
        name = format!("{}{HASH_MARK}{:.32x}", begin.get(..cut).unwrap_or_default(), Sha256::digest(key.as_str()));
    }
    name + ENDING
}

/// The key of a file of this name; `None` if no log has it.
pub(crate) fn key_of(file_name: &str) -> Option<NamedKey> {
    let encoded = file_name.strip_suffix(ENDING)?;
    if encoded.contains(HASH_MARK) {
        return Some(NamedKey::InFile);
    }
    let key = Key::new(&percent_decode_str(encoded).decode_utf8().ok()?).ok()?;
    (name(&key) == file_name).then_some(NamedKey::Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_lead_back_to_the_key() {
        for (key, expected) in [
            ("temp", "temp.log"),
            ("kitchen/temp", "kitchen%2Ftemp.log"),
            ("..a", "%2E.a.log"),
            (".hidden", "%2Ehidden.log"),
            ("a.b-C_1", "a.b-C_1.log"),
            ("100%~x", "100%25%7Ex.log"),
            ("ä b", "%C3%A4%20b.log"),
        ] {
            let key = Key::new(key).unwrap();
            assert_eq!(name(&key), expected);
            assert_eq!(key_of(expected), Some(NamedKey::Key(key)));
        }
        for other in ["temp.new", "temp.torn-1", "a b.log", "%2e.log", ".log", "%zz.log"] {
            assert_eq!(key_of(other), None, "{other}");
        }
    }

    #[test]
    fn long_keys_have_distinct_names() {
        let long = ["ä".repeat(512), "ä".repeat(511) + "aa"].map(|key| name(&Key::new(&key).unwrap()));
        assert_ne!(long[0], long[1]);
        for name in long {
            assert!(name.len() <= MAX_NAME_BYTES + ENDING.len(), "{name}");
            assert_eq!(key_of(&name), Some(NamedKey::InFile));
            let begin = name.split_once(HASH_MARK).unwrap().0;
            assert_eq!(begin.len() % 3, 0, "{begin}");
        }
        assert_eq!(bucket_of("a.logs"), Some(Bucket::new("a").unwrap()));
        assert_eq!(bucket_of("a.yaml"), None);
    }
}

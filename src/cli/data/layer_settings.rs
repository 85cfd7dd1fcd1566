//! The layers between a store and the commands: compression and encryption of values.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cli::exit::{CliResult, Failure};
use crate::cli::serving::file_watch::{FileStamp, exposure};
use crate::layers::{Compressed, ENCRYPTION_OVERHEAD_BYTES, Encrypted, EncryptionKeys};
use crate::model::SystemClock;
use crate::store::{Limits, Store};

/// Which layers a store has.
#[derive(Clone, Debug)]
pub(crate) struct LayerSettings {
    /// The length from which values are compressed, in bytes.
    pub(crate) compress_from_bytes: Option<usize>,
    /// The file of encryption keys.
    pub(crate) encryption_keys: Option<PathBuf>,
}

impl LayerSettings {
    pub(crate) fn is_empty(&self) -> bool {
        self.compress_from_bytes.is_none() && self.encryption_keys.is_none()
    }

    /// A warning, if every user of the machine can read or change the encryption keys.
    pub(crate) fn exposure(&self) -> Option<String> {
        exposure("encryption keys", self.encryption_keys.as_ref()?)
    }

    /// The limits of the store inside: an encrypted value is larger.
    pub(crate) fn inner_limits(&self, limits: Limits) -> Limits {
        let overhead_bytes = if self.encryption_keys.is_some() { ENCRYPTION_OVERHEAD_BYTES } else { 0 };
        Limits { max_value_bytes: limits.max_value_bytes + overhead_bytes }
    }

    /// The encrypted store over `inner`, if there are keys. A change of their file applies at once.
    ///
    /// # Errors
    /// If the file of keys cannot be read.
    pub(crate) fn encrypted(&self, inner: &Arc<dyn Store>, limits: Limits) -> CliResult<Option<Encrypted>> {
        let Some(path) = &self.encryption_keys else { return Ok(None) };
        let file = KeyFile::open(path)?;
        let keys = file.keys();
        let encrypted = Encrypted::new(Arc::clone(inner), keys, Arc::new(SystemClock), limits);
        Ok(Some(encrypted.with_keys_from(move || file.keys())))
    }

    /// The store with all its layers. Values are compressed before they are encrypted.
    pub(crate) fn over(&self, inner: Arc<dyn Store>, limits: Limits) -> CliResult<Arc<dyn Store>> {
        let store = self.encrypted(&inner, limits)?.map_or(inner, |encrypted| Arc::new(encrypted) as Arc<dyn Store>);
        Ok(match self.compress_from_bytes {
            Some(from_bytes) => Arc::new(Compressed::new(store, from_bytes, Arc::new(SystemClock), limits)),
            None => store,
        })
    }
}

/// The file of encryption keys, and what was read from it.
struct KeyFile {
    path: PathBuf,
    last: Mutex<(FileStamp, EncryptionKeys)>,
}

impl KeyFile {
    fn open(path: &Path) -> CliResult<Self> {
        let last = (FileStamp::of(path), read(path)?);
        Ok(Self { path: path.to_owned(), last: Mutex::new(last) })
    }

    /// The keys in the file; those from before if it has become unusable.
    fn keys(&self) -> EncryptionKeys {
        let mut last = self.last.lock();
        let stamp = FileStamp::of(&self.path);
        if last.0 != stamp {
            last.0 = stamp;
            match read(&self.path) {
                Ok(keys) => {
                    tracing::info!("read the encryption keys in {} again", self.path.display());
                    last.1 = keys;
                }
                Err(failure) => {
                    tracing::error!("{}; the encryption keys from before stay in use", failure.text());
                }
            }
        }
        last.1.clone()
    }
}

fn read(path: &Path) -> CliResult<EncryptionKeys> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file("read the encryption keys in", path, &e))?;
    text.parse().map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

//! The layers between a store and the commands: compression and encryption of values.

use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::exit::{CliResult, Failure};
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
    /// The limits of values without layers.
    pub(crate) limits: Limits,
}

impl LayerSettings {
    /// The limits of the store inside: an encrypted value is larger.
    pub(crate) fn inner_limits(&self) -> Limits {
        let overhead_bytes = if self.encryption_keys.is_some() { ENCRYPTION_OVERHEAD_BYTES } else { 0 };
        Limits { max_value_bytes: self.limits.max_value_bytes + overhead_bytes }
    }

    /// The encrypted store over `inner`, if there are keys.
    ///
    /// # Errors
    /// If the file of keys cannot be read.
    pub(crate) fn encrypted(&self, inner: &Arc<dyn Store>) -> CliResult<Option<Encrypted>> {
        let Some(path) = &self.encryption_keys else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|e| Failure::file("read the encryption keys in", path, &e))?;
        let keys: EncryptionKeys =
            text.parse().map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        Ok(Some(Encrypted::new(Arc::clone(inner), keys, Arc::new(SystemClock), self.limits)))
    }

    /// The store with all its layers. Values are compressed before they are encrypted.
    pub(crate) fn over(&self, inner: Arc<dyn Store>) -> CliResult<Arc<dyn Store>> {
        let store = self.encrypted(&inner)?.map_or(inner, |encrypted| Arc::new(encrypted) as Arc<dyn Store>);
        Ok(match self.compress_from_bytes {
            Some(from_bytes) => Arc::new(Compressed::new(store, from_bytes, Arc::new(SystemClock), self.limits)),
            None => store,
        })
    }
}

//! Layers: stores that wrap another store and add one feature.
//!
//! A layer keeps the contract of the store inside it, and passes the suite of `store` over every store. This floor
//! imports `model` and `store` only: a layer knows no particular store and no other layer.

mod blob_form;
#[cfg(feature = "compression")]
mod compressed;
mod detached;
#[cfg(feature = "encryption")]
mod encrypted;
#[cfg(feature = "encryption")]
mod encryption_keys;
mod held_blobs;
mod hooked;
mod large_values;
mod recent_blobs;
mod replica;
#[cfg(any(feature = "compression", feature = "encryption"))]
mod sealed_type;
mod tiered;
mod transformed;
mod transformed_batches;
mod transformed_logs;
#[cfg(any(feature = "compression", feature = "encryption"))]
mod transformed_store;

#[cfg(feature = "compression")]
pub use self::compressed::Compressed;
#[cfg(feature = "encryption")]
pub use self::encrypted::{ENCRYPTION_OVERHEAD_BYTES, Encrypted};
#[cfg(feature = "encryption")]
pub use self::encryption_keys::EncryptionKeys;
pub use self::hooked::{ChangeListener, Hooked};
pub use self::large_values::LargeValues;
pub use self::tiered::{ReadPolicy, Tiered, WritePolicy};

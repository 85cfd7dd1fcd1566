//! Encryption of values with XChaCha20-Poly1305.
//!
//! Encrypted are the value and its content type. Not encrypted are the names of buckets and keys, times, revisions, and
//! the length of a value to a few bytes. A value is bound to its bucket, its key and the id of its encryption key:
//! moved to another place it cannot be decrypted. An older value of the same key is not noticed if somebody puts it
//! back, nor are entries of a log that change places. [`rekey`](Encrypted::rekey) does not encrypt logs anew, because
//! their entries are never rewritten.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::encryption_keys::{EncryptionKey, EncryptionKeys};
use super::sealed_type::{read_type, write_type};
use super::transformed::{Form, Place, Transformed};
use super::transformed_store::is_store;
use crate::model::{
    Batch, BlobRef, Bucket, Clock, ContentType, Entry, Error, ErrorKind, Expectation, Key, Outcome, Result, Returning,
    Scan, Write,
};
use crate::store::{Limits, Store};

/// How many bytes a stored value is larger than the value, at most. The limit of the store inside must be that much
/// higher.
pub const ENCRYPTION_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES + 256;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// How many entries are encrypted anew in one step.
const PAGE_ENTRIES: usize = 100;

/// A store that encrypts values.
///
/// An encrypted value has the content type `application/vnd.kvs.encrypted; key=ID` in the store inside. Values from
/// before the layer are returned unchanged; [`rekey`](Encrypted::rekey) encrypts them. A value that was changed or
/// moved, or whose key is missing, is an error of [`ErrorKind::Corrupt`] that names the entry.
///
/// ```
/// # kvs::example::run(async |_| {
/// use std::sync::Arc;
///
/// use kvs::client::Client;
/// use kvs::layers::Encrypted;
/// use kvs::memory::MemoryStore;
/// use kvs::model::SystemClock;
/// use kvs::store::Limits;
///
/// let keys = "2026 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=".parse()?; // read them from a file
/// let inner = Arc::new(MemoryStore::default());
/// let store = Encrypted::new(inner.clone(), keys, Arc::new(SystemClock), Limits::default());
/// let client = Client::new(Arc::new(store));
/// client.set("door", "open").await?;
/// assert_eq!(client.get_string("door").await?.as_deref(), Some("open"));
/// assert_ne!(Client::new(inner).get("door").await?, Some("open".into()));
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Encrypted(Transformed<Sealed>);

is_store!(Encrypted);

impl Encrypted {
    /// Encrypts values with the first of these keys. `limits` are those of the values before encryption; those of
    /// `inner` must be higher by [`ENCRYPTION_OVERHEAD_BYTES`].
    pub fn new(inner: Arc<dyn Store>, keys: EncryptionKeys, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let form = Sealed { keys: Arc::new(move || keys.clone()) };
        Self(Transformed { inner, form, clock, limits })
    }

    /// The same with keys that may change, such as those of a file. This is called for every value.
    #[must_use]
    pub fn with_keys_from(mut self, keys: impl Fn() -> EncryptionKeys + Send + Sync + 'static) -> Self {
        self.0.form.keys = Arc::new(keys);
        self
    }

    /// Encrypts the values of a bucket that are not encrypted with the first key, those from before the layer too.
    /// Returns how many there were. Revisions and times stay. If it is interrupted, call it again: what is done stays
    /// done.
    ///
    /// # Errors
    /// Those of the store. [`ErrorKind::Corrupt`] if a value could not be decrypted, or is larger than the store
    /// inside returns it; all others are encrypted then.
    pub async fn rekey(&self, bucket: &Bucket) -> Result<u64> {
        let mut query = Scan { limit: PAGE_ENTRIES, ..Scan::default() };
        let (mut count, mut failures) = (0, vec![]);
        loop {
            let page = self.0.inner.scan(bucket, query.clone()).await?;
            let keys = (self.0.form.keys)();
            for (key, entry) in page.entries {
                let is_current = |entry: &Entry| key_id(&entry.content_type) == Some(keys.current_id());
                if let Some(entry) = entry.filter(|entry| !is_current(entry)) {
                    match self.rekey_entry(bucket, &key, entry).await {
                        Ok(is_done) => count += u64::from(is_done),
                        Err(error) if error.kind() == ErrorKind::Corrupt => failures.push(error),
                        Err(error) => return Err(error),
                    }
                }
            }
            let Some(cursor) = page.cursor else { break };
            query.after = Some(cursor.as_str().to_owned());
        }
        let number = failures.len();
        match failures.into_iter().next() {
            None => Ok(count),
            Some(first) => {
                let text = format!("{count} values were encrypted, and {number} could not; the first");
                Err(Error::new(ErrorKind::Corrupt, text).with_source(first))
            }
        }
    }

    /// Returns whether the entry was still the same. An entry that somebody has written meanwhile is left to the next
    /// run.
    async fn rekey_entry(&self, bucket: &Bucket, key: &Key, entry: Entry) -> Result<bool> {
        let place = Place::of_value(bucket, key);
        if let Some(blob) = BlobRef::of(&entry) {
            let text = format!("{place} has {} bytes, which is too much to be encrypted; delete it", blob.bytes);
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        let expectation = Expectation::unchanged(key.clone(), Some(&entry));
        let (value, content_type) = match key_id(&entry.content_type) {
            Some(_) => self.0.form.decode(place, &entry.value, &entry.content_type).await?,
            None => (entry.value.clone(), entry.content_type.clone()),
        };
        let (value, content_type) = self.0.form.encode(place, value, &content_type, &mut ()).await?;
        let entry = Entry { value, content_type, ..entry };
        let batch = Batch::new(vec![Write::Restore { key: key.clone(), entry }])
            .with_expectations(vec![expectation])
            .returning(Returning::Nothing);
        Ok(matches!(self.0.inner.apply(bucket, batch).await?, Outcome::Committed { .. }))
    }
}

/// Values sealed by an AEAD (RFC 5116).
#[derive(Clone)]
struct Sealed {
    keys: Arc<dyn Fn() -> EncryptionKeys + Send + Sync>,
}

impl Form for Sealed {
    const MARK: &'static str = "application/vnd.kvs.encrypted";

    type Hold = ();

    async fn encode(
        &self,
        place: Place<'_>,
        value: Bytes,
        content_type: &ContentType,
        (): &mut (),
    ) -> Result<(Bytes, ContentType)> {
        let keys = (self.keys)();
        let current = keys.current().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is no encryption key"))?;
        let mut plain = BytesMut::with_capacity(value.len() + 256);
        write_type(&mut plain, content_type);
        plain.put_slice(&value);
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("the system has no random numbers: {error}; nothing was stored"))
        })?;
        let bound = associated_data(place, &current.id);
        let payload = Payload { msg: &plain, aad: &bound };
        let sealed = cipher(current)
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::new(ErrorKind::TooLarge, format!("{place} is too large to be encrypted")))?;
        let mark = ContentType::new(&format!("{}; key={}", Self::MARK, current.id))?;
        Ok(([&nonce[..], &sealed].concat().into(), mark))
    }

    async fn decode(
        &self,
        place: Place<'_>,
        value: &Bytes,
        content_type: &ContentType,
    ) -> Result<(Bytes, ContentType)> {
        let failed = |why: &str| Error::new(ErrorKind::Corrupt, format!("{place} cannot be decrypted: {why}"));
        let id = key_id(content_type).unwrap_or_default();
        let keys = (self.keys)();
        let found = keys.find(id).ok_or_else(|| {
            failed(&format!("the encryption key {id:?} is missing; add it to the file of encryption keys"))
        })?;
        let changed = || {
            failed(
                "it was changed, moved from another key or bucket, or the encryption key of that id is another one; \
                    restore it from a backup",
            )
        };
        let (nonce, sealed) = value.split_first_chunk::<NONCE_BYTES>().ok_or_else(changed)?;
        let bound = associated_data(place, id);
        let plain = cipher(found).decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &bound });
        let plain = Bytes::from(plain.map_err(|_| changed())?);
        let (content_type, value) = read_type(&plain).ok_or_else(changed)?;
        Ok((plain.slice_ref(value), content_type))
    }
}

fn cipher(key: &EncryptionKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*key.key).into())
}

/// The id in the mark of an encrypted value; `None` for another value.
fn key_id(content_type: &ContentType) -> Option<&str> {
    content_type.as_str().strip_prefix(Sealed::MARK)?.strip_prefix("; key=")
}

/// What a value is bound to. The lengths keep apart what would be the same text.
fn associated_data(place: Place<'_>, id: &str) -> Vec<u8> {
    let mut data = vec![];
    for part in [place.bucket.as_str(), place.key.as_str(), id] {
        data.put_u64(part.len() as u64);
        data.put_slice(part.as_bytes());
    }
    if place.is_in_log {
        data.put_slice(b"log");
    }
    data
}

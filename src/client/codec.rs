//! How values of Rust types are written as bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{ContentType, Error, ErrorKind, Result};

/// A format for values of Rust types. [`Json`] is one; `kvs::codecs` has YAML, CBOR and MessagePack.
///
/// A format of your own is a type without values:
///
/// ```
/// # kvs::example::run(async |client| {
/// use kvs::client::{Codec, CodecError};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// /// JSON on several lines.
/// struct PrettyJson;
///
/// impl Codec for PrettyJson {
///     const NAME: &'static str = "JSON";
///     const CONTENT_TYPE: &'static str = "application/json";
///
///     fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
///         Ok(serde_json::to_vec_pretty(value)?)
///     }
///
///     fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
///         Ok(serde_json::from_slice(bytes)?)
///     }
/// }
///
/// client.typed_as::<Vec<u32>, PrettyJson>().set("primes", &vec![2, 3]).await?;
/// assert_eq!(client.get_string("primes").await?.as_deref(), Some("[\n  2,\n  3\n]"));
/// # Ok(()) });
/// ```
pub trait Codec: 'static {
    /// The name of the format, for errors.
    const NAME: &'static str;

    /// The content type of its values.
    const CONTENT_TYPE: &'static str;

    /// Writes a value.
    ///
    /// # Errors
    /// If the format cannot represent it.
    fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError>;

    /// Reads a value.
    ///
    /// # Errors
    /// If the bytes are not a value of this type in this format.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError>;
}

/// The error of a codec.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// JSON (RFC 8259), `application/json`: people and other programs can read it.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Codec for Json {
    const NAME: &'static str = "JSON";
    const CONTENT_TYPE: &'static str = ContentType::JSON;

    fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// The bytes of the value for `key`.
pub(super) fn encode<C: Codec>(key: &str, value: &impl Serialize) -> Result<Bytes> {
    C::encode(value).map(Bytes::from).map_err(|error| {
        let text = format!("the value for {key:?} cannot be written as {}", C::NAME);
        Error::new(ErrorKind::Invalid, text).with_source(error)
    })
}

/// The stored value of `key`.
pub(super) fn decode<C: Codec, T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    C::decode(value).map_err(|error| {
        let text = format!("the value of {key:?} is not {} of this type; read it as bytes, or store it again", C::NAME);
        Error::new(ErrorKind::Invalid, text).with_source(error)
    })
}

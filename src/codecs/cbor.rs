//! CBOR.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Codec, CodecError};

/// CBOR (RFC 8949), `application/cbor`: small, and known to IoT devices. Fields of structs have their names.
#[derive(Clone, Copy, Debug)]
pub struct Cbor;

impl Codec for Cbor {
    const NAME: &'static str = "CBOR";
    const CONTENT_TYPE: &'static str = "application/cbor";

    fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
        let mut bytes = vec![];
        ciborium::into_writer(value, &mut bytes)?;
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        let mut rest = bytes;
        let value = ciborium::from_reader(&mut rest)?;
        if rest.is_empty() { Ok(value) } else { Err("there are more bytes after the value".into()) }
    }
}

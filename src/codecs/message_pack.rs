//! MessagePack.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Codec, CodecError};

/// MessagePack, `application/vnd.msgpack`: small and fast. Fields of structs have their names, so that other languages
/// can read them and fields can be added.
#[derive(Clone, Copy, Debug)]
pub struct MessagePack;

impl Codec for MessagePack {
    const NAME: &'static str = "MessagePack";
    const CONTENT_TYPE: &'static str = "application/vnd.msgpack";

    fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
        Ok(rmp_serde::to_vec_named(value)?)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        let mut rest = bytes;
        let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))?;
        if rest.is_empty() { Ok(value) } else { Err("there are more bytes after the value".into()) }
    }
}

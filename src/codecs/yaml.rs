//! YAML.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Codec, CodecError};

/// YAML (RFC 9512), `application/yaml`: the easiest format for a person to edit. A data file shows it as a text block.
#[derive(Clone, Copy, Debug)]
pub struct Yaml;

impl Codec for Yaml {
    const NAME: &'static str = "YAML";
    const CONTENT_TYPE: &'static str = "application/yaml";

    fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
        Ok(serde_yaml::to_string(value)?.into_bytes())
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        Ok(serde_yaml::from_slice(bytes)?)
    }
}

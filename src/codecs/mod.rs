//! More formats for values of Rust types, for [`Client::typed_as`](crate::client::Client::typed_as).
//!
//! ```
//! # kvs::example::run(async |client| {
//! use kvs::codecs::{Cbor, MessagePack, Yaml};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Room {
//!     name: String,
//!     seats: u32,
//! }
//! let hall = Room { name: "Hall".into(), seats: 80 };
//!
//! let rooms = client.typed_as::<Room, Yaml>();
//! rooms.set("room/1", &hall).await?;
//! assert_eq!(rooms.get("room/1").await?.as_ref(), Some(&hall));
//! assert_eq!(client.get_string("room/1").await?.as_deref(), Some("name: Hall\nseats: 80\n"));
//!
//! // The binary formats are smaller. A value in another format is an error.
//! client.typed_as::<Room, Cbor>().set("room/2", &hall).await?;
//! client.typed_as::<Room, MessagePack>().set("room/3", &hall).await?;
//! assert!(rooms.get("room/2").await.unwrap_err().is_invalid());
//! # Ok(()) });
//! ```

mod cbor;
mod message_pack;
mod yaml;

pub use self::cbor::Cbor;
pub use self::message_pack::MessagePack;
pub use self::yaml::Yaml;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::client::{Codec, Json};

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Shape {
        Dot,
        Circle { radius: f64 },
        Line(i64, i64),
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Everything {
        text: String,
        number: i64,
        none: Option<u8>,
        shapes: Vec<Shape>,
        map: BTreeMap<String, bool>,
    }

    /// Returns the length of a value with everything in it.
    fn all_come_back<C: Codec>() -> usize {
        fn comes_back<C: Codec, T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) -> usize {
            let encoded = C::encode(&value).unwrap();
            assert_eq!(C::decode::<T>(&encoded).unwrap(), value, "{}", C::NAME);
            encoded.len()
        }
        comes_back::<C, _>(());
        comes_back::<C, _>(i64::MIN);
        comes_back::<C, _>(u64::MAX);
        comes_back::<C, _>(0.1);
        comes_back::<C, _>("yes: \"no\"\n\u{1f642}".to_owned());
        comes_back::<C, _>(Vec::<u8>::new());
        let everything = Everything {
            text: "~".into(),
            number: -1,
            none: None,
            shapes: vec![Shape::Dot, Shape::Circle { radius: 1.5 }, Shape::Line(1, 2)],
            map: [("true".to_owned(), false)].into(),
        };
        assert!(C::decode::<Everything>(b"\xff\xff").is_err());
        assert!(C::decode::<Everything>(&C::encode(&1).unwrap()).is_err());
        comes_back::<C, _>(everything)
    }

    #[test]
    fn every_format_gives_back_what_was_stored() {
        let (json, yaml) = (all_come_back::<Json>(), all_come_back::<Yaml>());
        let (cbor, message_pack) = (all_come_back::<Cbor>(), all_come_back::<MessagePack>());
        assert!(cbor.max(message_pack) < json.min(yaml), "the binary formats are smaller");
    }

    #[test]
    fn bytes_after_a_binary_value_are_an_error() {
        let with_more = |mut bytes: Vec<u8>| {
            bytes.push(0);
            bytes
        };
        assert!(Cbor::decode::<u8>(&with_more(Cbor::encode(&7).unwrap())).is_err());
        assert!(MessagePack::decode::<u8>(&with_more(MessagePack::encode(&7).unwrap())).is_err());
    }
}

//! The types that can be stored as a value.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// A type whose bytes can be stored as a value: text and bytes, owned or borrowed.
///
/// [`Bytes`], [`Vec<u8>`] and [`String`] are stored without a copy; borrowed values are copied.
///
/// ```
/// # kvs::example::run(async |client| {
/// let text = String::from("open");
/// client.set("door", "open").await?;
/// client.set("door", b"open").await?;
/// client.set("door", &text).await?;
/// client.set("door", text).await?;
/// client.set("photo", vec![0xff, 0xd8]).await?;
/// # Ok(()) });
/// ```
pub trait IntoValue {
    /// The bytes of the value.
    fn into_value(self) -> Bytes;
}

impl<T: AsRef<[u8]> + ?Sized> IntoValue for &T {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(self.as_ref())
    }
}

macro_rules! into_bytes {
    ($($owned:ty),+) => {$(
        impl IntoValue for $owned {
            fn into_value(self) -> Bytes {
                self.into()
            }
        }
    )+};
}
into_bytes!(Bytes, BytesMut, Vec<u8>, Box<[u8]>, String);

impl<const N: usize> IntoValue for [u8; N] {
    fn into_value(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl IntoValue for Cow<'_, str> {
    fn into_value(self) -> Bytes {
        self.into_owned().into()
    }
}

impl IntoValue for Cow<'_, [u8]> {
    fn into_value(self) -> Bytes {
        self.into_owned().into()
    }
}

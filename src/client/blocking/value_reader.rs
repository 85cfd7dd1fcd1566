//! Large values, for programs without `async`: they are written from a reader, and are readers.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use super::client::Client;
use super::executor::Executor;
use crate::client::large_values::{LargeValue, PIECE_BYTES};
use crate::client::set::Options;
use crate::model::{ContentType, Error, Result, Revision};

/// A value that is read in parts, as it was when it was found; see
/// [`client::LargeValue`](crate::client::large_values::LargeValue).
///
/// It reads 256 KiB at a time, so it needs no `BufReader`.
pub struct ValueReader {
    value: LargeValue,
    executor: Executor,
    /// Where the next read begins.
    offset: u64,
    /// What was read and not returned yet. It ends where the store is read next.
    rest: Bytes,
}

impl Client {
    /// Stores a value that is read in parts, such as a file. See
    /// [`Client::put_stream`](crate::client::client::Client::put_stream). If a read fails, nothing is stored.
    ///
    /// ```
    /// # kvs::example::run_blocking(|client| {
    /// use std::io::{Read, Seek, SeekFrom, repeat};
    ///
    /// use kvs::client::Options;
    ///
    /// client.put_stream("firmware", repeat(7).take(10_000_000), &Options::default())?;
    ///
    /// let mut firmware = client.get_stream("firmware")?.expect("it was stored");
    /// assert_eq!(firmware.length(), 10_000_000);
    /// let mut end = vec![];
    /// firmware.seek(SeekFrom::End(-10)).and_then(|_| firmware.read_to_end(&mut end)).expect("the last bytes");
    /// assert_eq!(end, [7; 10]);
    /// # Ok(()) });
    /// ```
    pub fn put_stream(&self, key: &str, mut value: impl Read, options: &Options) -> Result<Revision> {
        let mut writer = self.inner.begin_value(key, options)?;
        loop {
            // Not within `wait`, so that `value` may use a blocking client.
            let mut part = Vec::with_capacity(PIECE_BYTES);
            let read = value.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut part);
            let is_last = part.len() < PIECE_BYTES;
            let written = match read {
                Ok(_) => self.wait(writer.write(part.into())),
                Err(error) => Err(Error::io("cannot read the value; nothing was stored", error)),
            };
            if let Err(error) = written {
                // In the runtime, where a store can tell its server that the value is given up.
                let _ = self.wait(async {
                    drop(writer);
                    Ok(())
                });
                return Err(error);
            }
            if is_last {
                return self.wait(self.inner.put_collected(key, writer, options));
            }
        }
    }

    /// See [`Client::get_stream`](crate::client::client::Client::get_stream).
    pub fn get_stream(&self, key: &str) -> Result<Option<ValueReader>> {
        let value = self.wait(self.inner.get_stream(key))?;
        Ok(value.map(|value| ValueReader { value, executor: self.executor.clone(), offset: 0, rest: Bytes::new() }))
    }
}

impl ValueReader {
    /// The length of the whole value in bytes.
    pub fn length(&self) -> u64 {
        self.value.bytes
    }

    /// The media type of the value.
    pub fn content_type(&self) -> &ContentType {
        &self.value.content_type
    }

    /// The revision of the write that stored it.
    pub fn revision(&self) -> Revision {
        self.value.revision
    }
}

impl Read for ValueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.executor.wait(self.value.read(self.offset)).map_err(io::Error::other)?;
        }
        let part = self.rest.split_to(buffer.len().min(self.rest.len()));
        self.offset += part.len() as u64;
        part.as_ref().read(buffer)
    }
}

impl Seek for ValueReader {
    /// A read after the end returns nothing.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.value.bytes.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.offset.checked_add_signed(offset),
        };
        let before_start =
            || io::Error::new(io::ErrorKind::InvalidInput, "the offset is before the start of the value");
        let offset = offset.ok_or_else(before_start)?;
        let skipped = offset.checked_sub(self.offset).and_then(|skipped| usize::try_from(skipped).ok());
        match skipped.filter(|skipped| *skipped <= self.rest.len()) {
            Some(skipped) => drop(self.rest.split_to(skipped)),
            None => self.rest = Bytes::new(),
        }
        self.offset = offset;
        Ok(offset)
    }
}

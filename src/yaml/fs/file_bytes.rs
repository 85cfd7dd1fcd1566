//! The bytes that were read from a file.

use std::io;
use std::ops::Deref;

use memmap2::MmapMut;

/// Memory of this length goes back to the system when it is freed. An allocator might keep it.
const MAPPED_FROM: usize = 4 << 20;

/// The bytes that were read from a file.
#[derive(Debug)]
pub struct FileBytes(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped { map: MmapMut, len: usize },
}

impl FileBytes {
    /// At most `len` bytes. `read` fills a buffer from an offset on and returns how many bytes it has got; none are left
    /// if there are zero.
    ///
    /// # Errors
    /// There is not enough memory, or `read` fails.
    pub fn read(len: usize, mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>) -> io::Result<Self> {
        let mut bytes = if len < MAPPED_FROM {
            Memory::Heap(vec![0; len])
        } else {
            Memory::Mapped { map: MmapMut::map_anon(len)?, len }
        };
        let buffer: &mut [u8] = match &mut bytes {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped { map, .. } => map,
        };
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match read(room, filled) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        match &mut bytes {
            Memory::Heap(bytes) => bytes.truncate(filled),
            Memory::Mapped { len, .. } => *len = filled,
        }
        Ok(Self(bytes))
    }
}

impl Default for FileBytes {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Memory::Heap(bytes))
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped { map, len } => map.get(..*len).unwrap_or_default(),
        }
    }
}

//! How much a batch of an import or of a copy has. A batch is atomic, so it is never split.

/// The limits of a batch. One larger value is a batch of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// The maximum number of keys.
    pub keys: usize,
    /// The maximum total length of the values, in bytes.
    pub bytes: usize,
}

impl BatchLimits {
    /// For a store over HTTP: the requests have at most 128 KiB, which is what `mod_fcgid` accepts by default.
    pub const OVER_HTTP: Self = Self { keys: 150, bytes: 48 << 10 };
}

impl Default for BatchLimits {
    /// 1,000 keys with 8 MiB.
    fn default() -> Self {
        Self { keys: 1000, bytes: 8 << 20 }
    }
}

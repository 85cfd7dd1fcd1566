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
    /// For all other stores: 1,000 keys with 8 MiB.
    pub(crate) const DEFAULT: Self = Self { keys: 1000, bytes: 8 << 20 };

    /// Splits items into batches. `size` is the length of the value of an item, in bytes.
    pub(crate) fn split<T>(self, items: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
        let mut rest = items;
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fits = |item: &&T| {
                bytes += size(item);
                bytes <= self.bytes
            };
            // A batch has at least one item, of any size.
            let count = rest.iter().take(self.keys).take_while(fits).count().max(1).min(rest.len());
            let (batch, after) = rest.split_at_checked(count)?;
            rest = after;
            (!batch.is_empty()).then_some(batch)
        })
    }
}

impl Default for BatchLimits {
    /// 1,000 keys with 8 MiB.
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_limited_in_keys_and_in_bytes() {
        let BatchLimits { keys, bytes } = BatchLimits::DEFAULT;
        let sizes = |values: Vec<usize>| {
            BatchLimits::DEFAULT.split(&values, |bytes| *bytes).map(<[_]>::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(vec![1; 2500]), [keys, keys, 2500 - 2 * keys]);
        assert_eq!(sizes(vec![bytes / 2 + 1; 3]), [1, 1, 1]);
        assert_eq!(sizes(vec![bytes / 2; 4]), [2, 2]);
        assert_eq!(sizes(vec![3 * bytes, 1]), [1, 1]);
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
    }
}

//! The variables of one request, as RFC 3875 names them, in the order in which they arrived.
//!
//! Names and values stay in the buffer in which they arrived and are not copied. This file does not know their meaning.

use bytes::{Bytes, BytesMut};

/// The number of variables for which memory is reserved. A usual request has fewer.
const USUAL_VARIABLES: usize = 48;

/// Names and values, which may be any bytes.
#[derive(Clone, Default, Debug)]
pub(crate) struct Variables {
    text: Bytes,
    ranges: Vec<VariableRange>,
    /// A bit for each of the first 64 variables, set if its name begins with [`REDIRECT`]. The names of the others are
    /// compared each time.
    redirected: u64,
}

/// The position of a variable in the text: a name of this length, and then its value.
#[derive(Clone, Copy, Debug)]
struct VariableRange {
    start: usize,
    name: usize,
    value: usize,
}

/// Apache puts this in front of the names of variables at each internal redirect.
const REDIRECT: &[u8] = b"REDIRECT_";

impl Variables {
    /// From pairs, such as the environment of the process.
    pub(crate) fn of<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut text = Vec::new();
        let mut ranges = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            ranges.push(VariableRange { start: text.len(), name: name.len(), value: value.len() });
            text.extend_from_slice(name);
            text.extend_from_slice(value);
        }
        Self::new(text.into(), ranges)
    }

    /// From a FastCGI list: the lengths of a name and of its value, then both. `None` if the list is cut off.
    pub(crate) fn parse(list: Bytes) -> Option<Self> {
        let mut ranges = Vec::with_capacity(if list.is_empty() { 0 } else { USUAL_VARIABLES });
        let mut at = 0;
        while at < list.len() {
            let name = parse_length(&list, &mut at)?;
            let value = parse_length(&list, &mut at)?;
            ranges.push(VariableRange { start: at, name, value });
            at = at.checked_add(name)?.checked_add(value)?;
            if at > list.len() {
                return None;
            }
        }
        Some(Self::new(list, ranges))
    }

    fn new(text: Bytes, ranges: Vec<VariableRange>) -> Self {
        let mut this = Self { text, ranges, redirected: 0 };
        let bits = this.ranges.iter().take(64).enumerate();
        this.redirected = bits.filter(|(_, range)| this.name(range).starts_with(REDIRECT)).map(|(n, _)| 1 << n).sum();
        this
    }

    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The length of all names and values, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.ranges.iter().map(|range| (self.name(range), self.value(range)))
    }

    /// Whether both have the same names and values in the same order. The values of the names in `ignored` may differ.
    pub(crate) fn equals_except(&self, other: &Self, ignored: &[&[u8]]) -> bool {
        let same = |(ours, theirs): (&VariableRange, &VariableRange)| {
            ours.name == theirs.name
                && (ours.value == theirs.value && self.pair(ours) == other.pair(theirs)
                    || self.name(ours) == other.name(theirs) && ignored.contains(&self.name(ours)))
        };
        // From the end, where web servers put the address of the request: most differences are there.
        self.ranges.len() == other.ranges.len() && self.ranges.iter().rev().zip(other.ranges.iter().rev()).all(same)
    }

    fn pair(&self, range: &VariableRange) -> &[u8] {
        self.text.get(range.start..range.start + range.name + range.value).unwrap_or_default()
    }

    fn name(&self, range: &VariableRange) -> &[u8] {
        self.text.get(range.start..range.start + range.name).unwrap_or_default()
    }

    fn value(&self, range: &VariableRange) -> &[u8] {
        let start = range.start + range.name;
        self.text.get(start..start + range.value).unwrap_or_default()
    }

    /// A value of these variables as bytes that can outlive them, without a copy.
    pub(crate) fn shared(&self, value: &[u8]) -> Bytes {
        self.text.slice_ref(value)
    }

    /// Whether a variable has exactly this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.exactly(name).is_some()
    }

    /// The value of the last variable with exactly this name.
    fn exactly(&self, name: &str) -> Option<&[u8]> {
        let same = |range: &&VariableRange| range.name == name.len() && self.name(range) == name.as_bytes();
        self.ranges.iter().rev().find(same).map(|range| self.value(range))
    }

    /// The value of a variable that the web server itself sets for each request; empty if it is missing.
    pub(crate) fn get(&self, name: &str) -> &[u8] {
        self.exactly(name).unwrap_or_default()
    }

    /// The value of a variable that the configuration of the web server sets, also after internal redirects. A header
    /// of a client cannot have such a name, because the variables of headers begin with `HTTP_`.
    pub(crate) fn configured(&self, name: &str) -> Option<&[u8]> {
        let redirected = |range: &&VariableRange| {
            // The length alone excludes most names.
            let prefix = range.name.checked_sub(name.len());
            prefix.is_some_and(|prefix| prefix > 0 && prefix % REDIRECT.len() == 0)
                && self.name(range).strip_suffix(name.as_bytes()).is_some_and(is_redirect)
        };
        let is_candidate = |n: usize| n >= 64 || self.redirected >> n & 1 == 1;
        let candidates =
            || self.ranges.iter().enumerate().rev().filter(|(n, _)| is_candidate(*n)).map(|(_, range)| range);
        let found = || {
            if self.redirected == 0 && self.ranges.len() <= 64 {
                return None;
            }
            candidates().find(redirected).map(|range| self.value(range))
        };
        self.exactly(name).or_else(found)
    }
}

/// Whether this is [`REDIRECT`], once or more often.
fn is_redirect(prefix: &[u8]) -> bool {
    prefix.chunks(REDIRECT.len()).all(|chunk| chunk == REDIRECT)
}

/// Parses a length in a FastCGI list: one byte up to 127, else four with the highest bit set.
fn parse_length(list: &[u8], at: &mut usize) -> Option<usize> {
    let rest = list.get(*at..)?;
    let first = *rest.first()?;
    if first < 0x80 {
        *at += 1;
        return Some(usize::from(first));
    }
    *at += 4;
    usize::try_from(u32::from_be_bytes(*rest.first_chunk()?) & 0x7fff_ffff).ok()
}

/// The parameters of a request while they arrive. Usually they are one record, which is not copied.
#[derive(Default, Debug)]
pub(crate) struct ParamBuffer {
    first: Bytes,
    all: BytesMut,
}

impl ParamBuffer {
    pub(crate) fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    pub(crate) fn add(&mut self, content: Bytes) {
        if self.first.is_empty() {
            self.first = content;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&content);
    }

    pub(crate) fn take(&mut self) -> Bytes {
        let Self { first, all } = std::mem::take(self);
        if all.is_empty() { first } else { all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_is_used_when_a_name_is_repeated() {
        let all = Variables::of([("A", "1"), ("", "nameless"), ("B", ""), ("A", "2")]);
        assert_eq!((all.get("A"), all.get("B"), all.get("C"), all.len()), (&b"2"[..], &b""[..], &b""[..], 4));
        assert!(all.has("B") && !all.has("C"));
        assert_eq!(all.shared(all.get("A")), "2");
        assert!(all.shared(all.get("C")).is_empty(), "a missing value can be shared too");
    }

    #[test]
    fn variables_are_equal_when_only_ignored_values_differ() {
        let one = Variables::of([("A", "1"), ("B", "2"), ("PORT", "80")]);
        let is_equal = |pairs: &[(&str, &str)]| one.equals_except(&Variables::of(pairs.iter().copied()), &[b"PORT"]);
        assert!(
            is_equal(&[("A", "1"), ("B", "2"), ("PORT", "80")])
                && is_equal(&[("A", "1"), ("B", "2"), ("PORT", "8080")])
        );
        for other in [
            &[("A", "1"), ("B", "3"), ("PORT", "80")][..],
            &[("A", "1"), ("B", ""), ("PORT", "80")],
            &[("A", "12"), ("B", ""), ("PORT", "80")],
            &[("A1", ""), ("B", "2"), ("PORT", "80")],
            &[("B", "2"), ("A", "1"), ("PORT", "80")],
            &[("A", "1"), ("B", "2"), ("PART", "80")],
            &[("A", "1"), ("B", "2")],
            &[("A", "1"), ("B", "2"), ("PORT", "80"), ("C", "")],
        ] {
            assert!(!is_equal(other), "{other:?}");
        }
    }

    #[test]
    fn configured_value_is_found_after_redirects() {
        let all =
            Variables::of([("REDIRECT_REDIRECT_A", "1"), ("XREDIRECT_B", "2"), ("REDIRECT_", "3"), ("HTTP_C", "4")]);
        assert_eq!(all.configured("A"), Some(&b"1"[..]));
        assert_eq!((all.configured("B"), all.configured("C")), (None, None));
    }

    #[test]
    fn list_is_parsed_with_all_lengths_and_rejected_when_cut() {
        let list = [b"\x01\x80\0\0\x82Ab".as_slice(), &[b'x'; 129], b"\x01\0B"].concat();
        let all = Variables::parse(list.clone().into()).unwrap();
        assert_eq!((all.get("A").len(), all.get("B"), all.len()), (130, &b""[..], 2));
        for cut in 1..list.len() {
            let whole = Variables::parse(Bytes::copy_from_slice(&list[..cut]));
            assert_eq!(whole.is_some(), cut == list.len() - 3, "{cut}");
        }
        assert!(Variables::parse(Bytes::from_static(b"\xff\xff\xff\xff\xff\xff\xff\xff")).is_none());
    }
}

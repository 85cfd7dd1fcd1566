//! The variables of one request, as RFC 3875 names them, in the order in which they came. They lie in one text as they
//! arrived and are not copied apart. What they mean is not known here.

use bytes::{Bytes, BytesMut};

/// Room for the variables of a usual request.
const USUAL: usize = 48;

/// Names and values. Any bytes may stand in them.
#[derive(Clone, Default, Debug)]
pub(super) struct Variables {
    text: Bytes,
    places: Vec<Place>,
}

/// Where a variable lies: its name, of that length, and its value right behind.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    name: usize,
    value: usize,
}

/// What Apache puts before the names of variables at an internal redirect, each time anew.
const REDIRECT: &[u8] = b"REDIRECT_";

impl Variables {
    /// Those of a program's environment.
    pub(super) fn of<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut text = Vec::new();
        let mut places = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            places.push(Place { start: text.len(), name: name.len(), value: value.len() });
            text.extend_from_slice(name);
            text.extend_from_slice(value);
        }
        Self { text: text.into(), places }
    }

    /// Those of a FastCGI list: the lengths of a name and of its value, then both; none if it is cut off.
    pub(super) fn parse(list: Bytes) -> Option<Self> {
        let mut places = Vec::with_capacity(if list.is_empty() { 0 } else { USUAL });
        let mut at = 0;
        while at < list.len() {
            let name = length(&list, &mut at)?;
            let value = length(&list, &mut at)?;
            places.push(Place { start: at, name, value });
            at = at.checked_add(name)?.checked_add(value)?;
            if at > list.len() {
                return None;
            }
        }
        Some(Self { text: list, places })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many bytes they take.
    pub(super) fn size(&self) -> usize {
        self.text.len()
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|place| (self.name(place), self.value(place)))
    }

    /// Whether the same names have the same values in the same order; the values of `besides` may differ.
    pub(super) fn agree(&self, other: &Self, besides: &[&[u8]]) -> bool {
        let same = |(ours, theirs): (&Place, &Place)| {
            ours.name == theirs.name
                && (ours.value == theirs.value && self.pair(ours) == other.pair(theirs)
                    || self.name(ours) == other.name(theirs) && besides.contains(&self.name(ours)))
        };
        // From the end, where web servers put the address of the request: most that differ do so there.
        self.places.len() == other.places.len() && self.places.iter().rev().zip(other.places.iter().rev()).all(same)
    }

    /// Name and value.
    fn pair(&self, place: &Place) -> &[u8] {
        self.text.get(place.start..place.start + place.name + place.value).unwrap_or_default()
    }

    fn name(&self, place: &Place) -> &[u8] {
        self.text.get(place.start..place.start + place.name).unwrap_or_default()
    }

    fn value(&self, place: &Place) -> &[u8] {
        let start = place.start + place.name;
        self.text.get(start..start + place.value).unwrap_or_default()
    }

    /// A value of these variables, to be kept beyond them without a copy.
    pub(super) fn shared(&self, value: &[u8]) -> Bytes {
        self.text.slice_ref(value)
    }

    /// Whether there is one of this very name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.exactly(name).is_some()
    }

    /// The value of this very name; the last one, as an environment would have it.
    fn exactly(&self, name: &str) -> Option<&[u8]> {
        let same = |place: &&Place| place.name == name.len() && self.name(place) == name.as_bytes();
        self.places.iter().rev().find(same).map(|place| self.value(place))
    }

    /// The value of a variable that the web server itself sets for each request; missing is empty.
    pub(super) fn get(&self, name: &str) -> &[u8] {
        self.exactly(name).unwrap_or_default()
    }

    /// The value of a variable that a configuration sets, also after internal redirects. No header of a client comes
    /// under such a name, since those begin with `HTTP_`.
    pub(super) fn configured(&self, name: &str) -> Option<&[u8]> {
        let redirected = |place: &&Place| {
            // Most names are not looked at.
            let prefix = place.name.checked_sub(name.len());
            prefix.is_some_and(|prefix| prefix > 0 && prefix % REDIRECT.len() == 0)
                && self.name(place).strip_suffix(name.as_bytes()).is_some_and(is_redirect)
        };
        let found = || self.places.iter().rev().find(redirected).map(|place| self.value(place));
        self.exactly(name).or_else(found)
    }
}

/// Whether this is [`REDIRECT`], once or more often.
fn is_redirect(prefix: &[u8]) -> bool {
    prefix.chunks(REDIRECT.len()).all(|chunk| chunk == REDIRECT)
}

/// One byte up to 127, else four with the highest bit set.
fn length(list: &[u8], at: &mut usize) -> Option<usize> {
    let rest = list.get(*at..)?;
    let first = *rest.first()?;
    if first < 0x80 {
        *at += 1;
        return Some(usize::from(first));
    }
    *at += 4;
    usize::try_from(u32::from_be_bytes(*rest.first_chunk()?) & 0x7fff_ffff).ok()
}

/// A list of parameters as far as it has arrived. Mostly it is one record, which is not copied.
#[derive(Default, Debug)]
pub(super) struct List {
    first: Bytes,
    all: BytesMut,
}

impl List {
    pub(super) fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    pub(super) fn add(&mut self, content: Bytes) {
        if self.first.is_empty() {
            self.first = content;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&content);
    }

    pub(super) fn take(&mut self) -> Bytes {
        let Self { first, all } = std::mem::take(self);
        if all.is_empty() { first } else { all.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_counts_when_a_name_comes_twice() {
        let all = Variables::of([("A", "1"), ("", "nameless"), ("B", ""), ("A", "2")]);
        assert_eq!((all.get("A"), all.get("B"), all.get("C"), all.len()), (&b"2"[..], &b""[..], &b""[..], 4));
        assert!(all.has("B") && !all.has("C"));
        assert_eq!(all.shared(all.get("A")), "2");
        assert!(all.shared(all.get("C")).is_empty(), "what is missing can be kept too");
    }

    #[test]
    fn variables_agree_when_only_values_of_the_named_differ() {
        let one = Variables::of([("A", "1"), ("B", "2"), ("PORT", "80")]);
        let agrees = |pairs: &[(&str, &str)]| one.agree(&Variables::of(pairs.iter().copied()), &[b"PORT"]);
        assert!(
            agrees(&[("A", "1"), ("B", "2"), ("PORT", "80")]) && agrees(&[("A", "1"), ("B", "2"), ("PORT", "8080")])
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
            assert!(!agrees(other), "{other:?}");
        }
    }

    #[test]
    fn configured_value_is_found_behind_redirects() {
        let all =
            Variables::of([("REDIRECT_REDIRECT_A", "1"), ("XREDIRECT_B", "2"), ("REDIRECT_", "3"), ("HTTP_C", "4")]);
        assert_eq!(all.configured("A"), Some(&b"1"[..]));
        assert_eq!((all.configured("B"), all.configured("C")), (None, None));
    }

    #[test]
    fn list_is_read_when_lengths_are_short_or_long_and_none_when_cut() {
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

//! The variables of one request, as RFC 3875 names them, in the order in which they came. They lie in one text as they
//! arrived and are not copied apart. What they mean is not known here.

use bytes::Bytes;

/// Room for the variables of a usual request.
const USUAL: usize = 48;

/// Names and values. Any bytes may stand in them.
#[derive(Clone, Default, Debug)]
pub(super) struct Variables {
    text: Bytes,
    places: Vec<Place>,
}

/// Where a variable lies: its name, and its value right behind.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    middle: usize,
    end: usize,
}

impl Variables {
    /// Those of a program's environment.
    pub(super) fn of<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut text = Vec::new();
        let mut places = Vec::new();
        for (name, value) in pairs {
            let start = text.len();
            text.extend_from_slice(name.as_ref());
            let middle = text.len();
            text.extend_from_slice(value.as_ref());
            places.push(Place { start, middle, end: text.len() });
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
            let place = Place { start: at, middle: at.checked_add(name)?, end: at.checked_add(name)?.checked_add(value)? };
            if place.end > list.len() {
                return None;
            }
            places.push(place);
            at = place.end;
        }
        Some(Self { text: list, places })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Names and values.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let part = |from, to| self.text.get(from..to).unwrap_or_default();
        self.places.iter().map(move |place| (part(place.start, place.middle), part(place.middle, place.end)))
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
        self.iter().rev().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of a variable that the web server itself sets for each request; missing is empty.
    pub(super) fn get(&self, name: &str) -> &[u8] {
        self.exactly(name).unwrap_or_default()
    }

    /// The value of a variable that a configuration sets, also after internal redirects. No header of a client comes
    /// under such a name, since those begin with `HTTP_`.
    pub(super) fn configured(&self, name: &str) -> Option<&[u8]> {
        self.exactly(name).or_else(|| {
            let ends = |n: &[u8]| n.strip_suffix(name.as_bytes()).is_some_and(is_redirect);
            self.iter().rev().find(|(n, _)| n.first() == Some(&b'R') && ends(n)).map(|(_, value)| value)
        })
    }
}

/// Whether this is `REDIRECT_`, once or more often.
fn is_redirect(prefix: &[u8]) -> bool {
    let word = b"REDIRECT_";
    !prefix.is_empty() && prefix.chunks(word.len()).all(|chunk| chunk == word)
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
    fn configured_value_is_found_behind_redirects() {
        let all = Variables::of([("REDIRECT_REDIRECT_A", "1"), ("XREDIRECT_B", "2"), ("REDIRECT_", "3"), ("HTTP_C", "4")]);
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

//! The records of a FastCGI connection on their way out. Bytes only: when they are sent is not decided here.

use super::variables::Variables;

const END_REQUEST: u8 = 3;
const STDOUT: u8 = 6;
const GET_VALUES_RESULT: u8 = 10;
const UNKNOWN_TYPE: u8 = 11;

/// The longest content of a record that is a multiple of eight.
const LONGEST: usize = 0xfff8;

/// How a request ended, as the protocol has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// As it should.
    Complete = 0,
    /// Its role is not played here.
    UnknownRole = 3,
}

/// A part of an answer.
pub(super) fn part(out: &mut Vec<u8>, id: u16, content: &[u8]) {
    for content in content.chunks(LONGEST) {
        record(out, STDOUT, id, content);
    }
}

/// The end of an answer. Without it a web server takes what came as half of one.
pub(super) fn end(out: &mut Vec<u8>, id: u16, end: End) {
    if end == End::Complete {
        record(out, STDOUT, id, b"");
    }
    record(out, END_REQUEST, id, &[0, 0, 0, 0, end as u8, 0, 0, 0]);
}

/// What a web server asked to know of this program.
pub(super) fn values(out: &mut Vec<u8>, names: &Variables, connections: usize) {
    let connections = connections.to_string();
    let known = [("FCGI_MAX_CONNS", connections.as_str()), ("FCGI_MAX_REQS", &connections), ("FCGI_MPXS_CONNS", "1")];
    let mut list = Vec::new();
    for (name, value) in known.into_iter().filter(|(name, _)| names.has(name)) {
        // All of these are short.
        list.extend([name.len(), value.len()].map(|length| u8::try_from(length).unwrap_or(0)));
        list.extend_from_slice(name.as_bytes());
        list.extend_from_slice(value.as_bytes());
    }
    record(out, GET_VALUES_RESULT, 0, &list);
}

/// That records of this kind mean nothing here.
pub(super) fn unknown(out: &mut Vec<u8>, kind: u8) {
    record(out, UNKNOWN_TYPE, 0, &[kind, 0, 0, 0, 0, 0, 0, 0]);
}

fn record(out: &mut Vec<u8>, kind: u8, id: u16, content: &[u8]) {
    let [id_high, id_low] = id.to_be_bytes();
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[1, kind, id_high, id_low, high, low, 0, 0]);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_parts_are_several_records() {
        let mut out = Vec::new();
        part(&mut out, 0x0102, &vec![b'x'; 70_000]);
        end(&mut out, 0x0102, End::Complete);
        assert_eq!(out[..8], [1, 6, 1, 2, 0xff, 0xf8, 0, 0]);
        let second = 8 + LONGEST;
        let rest = 70_000 - LONGEST;
        let [high, low] = u16::try_from(rest).unwrap().to_be_bytes();
        assert_eq!(out[second..second + 8], [1, 6, 1, 2, high, low, 0, 0]);
        let tail = [[1, 6, 1, 2, 0, 0, 0, 0], [1, 3, 1, 2, 0, 8, 0, 0], [0; 8]].concat();
        assert_eq!(out[second + 8 + rest..], tail);
    }

    #[test]
    fn nothing_is_no_part() {
        let mut out = Vec::new();
        part(&mut out, 1, b"");
        assert!(out.is_empty(), "an empty record would end the answer");
        end(&mut out, 1, End::UnknownRole);
        assert_eq!(out, [[1, 3, 0, 1, 0, 8, 0, 0], [0, 0, 0, 0, 3, 0, 0, 0]].concat());
    }
}

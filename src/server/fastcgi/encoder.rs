//! Encodes FastCGI records. It only produces bytes; the caller decides when they are sent.

use crate::server::cgi::variables::Variables;

const END_REQUEST: u8 = 3;
const STDOUT: u8 = 6;
const GET_VALUES_RESULT: u8 = 10;
const UNKNOWN_TYPE: u8 = 11;

/// The longest content of a record. A multiple of 8 bytes needs no padding.
const MAX_RECORD_BYTES: usize = 0xfff8;

/// The protocol status at the end of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestEnd {
    /// The request was answered.
    Complete = 0,
    /// The role of the request is not supported.
    UnknownRole = 3,
}

/// A part of a response.
pub(crate) fn stdout(out: &mut Vec<u8>, id: u16, content: &[u8]) {
    for content in content.chunks(MAX_RECORD_BYTES) {
        record(out, STDOUT, id, content);
    }
}

/// The end of a response. Without it a web server treats the response as incomplete.
pub(crate) fn end_request(out: &mut Vec<u8>, id: u16, end: RequestEnd) {
    if end == RequestEnd::Complete {
        record(out, STDOUT, id, b"");
    }
    record(out, END_REQUEST, id, &[0, 0, 0, 0, end as u8, 0, 0, 0]);
}

/// The answer to `FCGI_GET_VALUES`: the known ones of these variables and their values.
pub(crate) fn get_values_result(out: &mut Vec<u8>, names: &Variables, connections: usize) {
    let connections = connections.to_string();
    let known = [("FCGI_MAX_CONNS", connections.as_str()), ("FCGI_MAX_REQS", &connections), ("FCGI_MPXS_CONNS", "1")];
    let mut list = Vec::new();
    for (name, value) in known.into_iter().filter(|(name, _)| names.has(name)) {
        // All of these are shorter than 128 bytes.
        list.extend([name.len(), value.len()].map(|length| u8::try_from(length).unwrap_or(0)));
        list.extend_from_slice(name.as_bytes());
        list.extend_from_slice(value.as_bytes());
    }
    record(out, GET_VALUES_RESULT, 0, &list);
}

/// The answer to a management record of an unknown type.
pub(crate) fn unknown_type(out: &mut Vec<u8>, kind: u8) {
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
    fn long_part_is_split_into_records() {
        let mut out = Vec::new();
        stdout(&mut out, 0x0102, &vec![b'x'; 70_000]);
        end_request(&mut out, 0x0102, RequestEnd::Complete);
        assert_eq!(out[..8], [1, 6, 1, 2, 0xff, 0xf8, 0, 0]);
        let second = 8 + MAX_RECORD_BYTES;
        let rest = 70_000 - MAX_RECORD_BYTES;
        let [high, low] = u16::try_from(rest).unwrap().to_be_bytes();
        assert_eq!(out[second..second + 8], [1, 6, 1, 2, high, low, 0, 0]);
        let tail = [[1, 6, 1, 2, 0, 0, 0, 0], [1, 3, 1, 2, 0, 8, 0, 0], [0; 8]].concat();
        assert_eq!(out[second + 8 + rest..], tail);
    }

    #[test]
    fn empty_part_is_not_a_record() {
        let mut out = Vec::new();
        stdout(&mut out, 1, b"");
        assert!(out.is_empty(), "an empty record would end the response");
        end_request(&mut out, 1, RequestEnd::UnknownRole);
        assert_eq!(out, [[1, 3, 0, 1, 0, 8, 0, 0], [0, 0, 0, 0, 3, 0, 0, 0]].concat());
    }
}

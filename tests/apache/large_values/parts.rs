//! Parts of a large value (`Range`).

use super::content::{content, digest};
use super::{LENGTH, get, stored, through_each_way};
use crate::servers::Server;

through_each_way! {
    a_range_returns_exactly_its_bytes,
    a_range_after_the_end_is_416,
    if_range_never_mixes_two_versions,
    a_download_continues_after_a_broken_connection,
}

fn a_range_returns_exactly_its_bytes(server: &Server) {
    let value = content(1, LENGTH);
    let tag = stored(server, "image", &value);
    let end = LENGTH - 1;
    for (range, from, to) in [
        ("bytes=2500000-3500000".to_owned(), 2_500_000, 3_500_000),
        ("bytes=65535-65536".to_owned(), 65_535, 65_536),
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=1-".to_owned(), 1, end),
        (format!("bytes={end}-"), end, end),
        ("bytes=-200001".to_owned(), LENGTH - 200_001, end),
        ("bytes=4999999-99999999".to_owned(), 4_999_999, end),
    ] {
        let answer = get(server, "image", &format!("Range: {range}\r\n"));
        let part = &value[from..=to];
        assert_eq!((answer.status, answer.whole), (206, true), "{range}");
        assert!(answer.body == part, "{range}: {} bytes, other than those of the part", answer.body.len());
        let content_range = format!("bytes {from}-{to}/{LENGTH}");
        for (name, expected) in [
            ("content-range", content_range.as_str()),
            ("content-length", part.len().to_string().as_str()),
            ("repr-digest", &digest(&value)),
            ("etag", &tag),
        ] {
            assert_eq!(answer.header(name), Some(expected), "{range}: {name}");
        }
    }
}

fn a_range_after_the_end_is_416(server: &Server) {
    let value = content(2, LENGTH);
    stored(server, "image", &value);
    for range in [format!("bytes={LENGTH}-"), format!("bytes={LENGTH}-{}", LENGTH + 5), "bytes=-0".to_owned()] {
        let answer = get(server, "image", &format!("Range: {range}\r\n"));
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("content-range"), Some(format!("bytes */{LENGTH}").as_str()), "{range}");
    }
}

fn if_range_never_mixes_two_versions(server: &Server) {
    let (old, new) = (content(3, LENGTH), content(4, LENGTH));
    let tag = stored(server, "image", &old);
    let range = format!("Range: bytes=4000000-\r\nIf-Range: {tag}\r\n");
    let answer = get(server, "image", &range);
    assert_eq!(answer.status, 206);
    assert!(answer.body == old[4_000_000..]);
    let newer = stored(server, "image", &new);
    let answer = get(server, "image", &range);
    assert_eq!((answer.status, answer.header("etag")), (200, Some(newer.as_str())));
    assert!(answer.body == new, "{} bytes, not the whole new value", answer.body.len());
}

fn a_download_continues_after_a_broken_connection(server: &Server) {
    let value = content(5, LENGTH);
    let tag = stored(server, "image", &value);
    let mut received = vec![];
    while received.len() < LENGTH {
        let from = received.len();
        let to = from + 700_000;
        let answer = get(server, "image", &format!("Range: bytes={from}-{to}\r\nIf-Range: {tag}\r\n"));
        assert_eq!(answer.status, 206, "from {from}");
        // The client loses its connection after half of each part.
        received.extend_from_slice(&answer.body[..answer.body.len().div_ceil(2)]);
    }
    assert!(received == value);
}

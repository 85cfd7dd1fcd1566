//! Tests of the decoder. The records arrive byte by byte, so that every split is tested.

use super::*;

fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let padding = [0; 3];
    [&[1, kind][..], &id.to_be_bytes(), &length, &[3, 0], content, &padding].concat()
}

fn decoder() -> Decoder {
    Decoder::new(&ServerLimits { body: 10, head: 100, ..ServerLimits::default() })
}

/// Feeds the bytes one by one, so that every split is tested.
fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<DecodedEvent>, Malformed> {
    let mut events = Vec::new();
    for byte in bytes {
        decoder.read_buffer().extend_from_slice(&[*byte]);
        while let Some(event) = decoder.next(Instant::now())? {
            events.push(event);
        }
    }
    Ok(events)
}

/// The one request that these bytes complete.
fn decode_request(decoder: &mut Decoder, bytes: &[u8]) -> RequestInProgress {
    let mut events = decode(decoder, bytes).unwrap();
    let Some(DecodedEvent::Request(request)) = events.pop() else { panic!("no request") };
    assert!(events.is_empty());
    request
}

const BEGIN: &[u8] = &[0, 1, 1, 0, 0, 0, 0, 0];

#[test]
fn request_is_decoded_when_its_parameters_span_records() {
    let mut decoder = decoder();
    let bytes = [
        record(BEGIN_REQUEST, 7, BEGIN),
        record(PARAMS, 7, &[3, 0x80, 0, 0]),
        record(PARAMS, 7, b"\x02KEYv"),
        record(PARAMS, 7, b"\xff\x00\x00"),
        record(PARAMS, 7, b""),
        record(STDIN, 7, b"bo"),
        record(STDIN, 9, b"of nobody"),
        record(STDIN, 7, b"dy"),
        record(STDIN, 7, b""),
    ];
    let request = decode_request(&mut decoder, &bytes.concat());
    assert_eq!(request.variables.get("KEY"), b"v\xff");
    assert_eq!((request.id, request.keep, request.is_responder()), (7, true, true));
    assert_eq!((&request.body[..], request.error), (&b"body"[..], None));
    assert!(decoder.is_idle());
}

#[test]
fn bytes_are_dropped_when_the_body_is_too_large() {
    let mut decoder = decoder();
    let first = [record(BEGIN_REQUEST, 1, BEGIN), record(PARAMS, 1, b""), record(STDIN, 1, b"0123456789")].concat();
    decode(&mut decoder, &first).unwrap();
    assert_eq!(decoder.open[0].error, None);
    assert!(decode(&mut decoder, &record(STDIN, 1, b"x")).unwrap().is_empty());
    let request = decode_request(&mut decoder, &record(STDIN, 1, b""));
    assert_eq!((request.body.len(), request.error), (0, Some(TransportError::BodyTooLarge)));
}

#[test]
fn parameters_are_dropped_when_the_list_is_too_long() {
    let mut decoder = decoder();
    decode(&mut decoder, &record(BEGIN_REQUEST, 1, BEGIN)).unwrap();
    for _ in 0..30 {
        decode(&mut decoder, &record(PARAMS, 1, b"\x03\x03abcdef")).unwrap();
    }
    assert!(decoder.open[0].params.len() <= 100);
    let ends = [record(PARAMS, 1, b""), record(STDIN, 1, b"")].concat();
    assert_eq!(decode_request(&mut decoder, &ends).error, Some(TransportError::HeadTooLong));
}

#[test]
fn protocol_violations_are_errors() {
    let begin = record(BEGIN_REQUEST, 1, BEGIN);
    let ended = |kind| [begin.clone(), record(kind, 1, b""), record(kind, 1, b"x")].concat();
    let many: Vec<u8> = (1..=9).flat_map(|id| record(BEGIN_REQUEST, id, BEGIN)).collect();
    for (bytes, why) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "version"),
        (record(BEGIN_REQUEST, 1, &[0]), "FCGI_BEGIN_REQUEST is malformed"),
        (record(BEGIN_REQUEST, 1, &[]), "FCGI_BEGIN_REQUEST is malformed"),
        (record(BEGIN_REQUEST, 0, BEGIN), "FCGI_BEGIN_REQUEST is malformed"),
        ([begin.clone(), begin.clone()].concat(), "used again"),
        (ended(PARAMS), "after the end of the parameters"),
        (ended(STDIN), "after the end of the body"),
        (many, "too many"),
        (
            [begin.clone(), record(PARAMS, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]), record(PARAMS, 1, b"")].concat(),
            "a parameter is cut off",
        ),
        (record(GET_VALUES, 0, &[0xff, 0xff, 0xff, 0xff, 0]), "FCGI_GET_VALUES is cut off"),
    ] {
        let error = decode(&mut decoder(), &bytes).unwrap_err();
        assert!(error.0.contains(why), "{error:?} is not {why}");
    }
}

#[test]
fn abort_is_seen_before_it_is_decoded() {
    let mut decoder = decoder();
    decoder.read_buffer().extend_from_slice(&record(ABORT_REQUEST, 0x0102, b""));
    assert!(decoder.aborts(0x0102) && !decoder.aborts(1));
    assert!(decoder.next(Instant::now()).unwrap().is_none(), "an abort of no open request is dropped");
    decode(&mut decoder, &record(BEGIN_REQUEST, 1, BEGIN)).unwrap();
    let events = decode(&mut decoder, &record(ABORT_REQUEST, 1, b"")).unwrap();
    assert!(matches!(events.as_slice(), [DecodedEvent::Aborted(request)] if request.id == 1));
    assert!(decoder.is_idle());
}

#[test]
fn other_roles_and_management_records_are_recognized() {
    let mut decoder = decoder();
    let authorizer = [record(BEGIN_REQUEST, 1, &[0, 2, 0, 0, 0, 0, 0, 0]), record(PARAMS, 1, b"")].concat();
    let request = decode_request(&mut decoder, &authorizer);
    assert!(!request.is_responder() && !request.keep);
    let late = [record(STDIN, 1, b"x"), record(STDIN, 1, b""), record(DATA, 1, b"x"), record(77, 1, b"")].concat();
    assert!(decode(&mut decoder, &late).unwrap().is_empty(), "it is not open any more");
    let events = decode(&mut decoder, &[record(GET_VALUES, 0, b"\x01\0A"), record(77, 0, b"")].concat()).unwrap();
    assert!(matches!(events.as_slice(), [DecodedEvent::Values(names), DecodedEvent::Unknown(77)] if names.has("A")));
}

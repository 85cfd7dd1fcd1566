//! Requests from records, however these were cut.

use super::*;

fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let padding = [0; 3];
    [&[1, kind][..], &id.to_be_bytes(), &length, &[3, 0], content, &padding].concat()
}

fn sieve() -> Sieve {
    Sieve::new(&Limits { body: 10, head: 100, ..Limits::default() })
}

/// Feeds byte by byte, so that every cut is met.
fn passed(sieve: &mut Sieve, bytes: &[u8]) -> Result<Vec<Event>, Malformed> {
    let mut events = Vec::new();
    for byte in bytes {
        sieve.room().extend_from_slice(&[*byte]);
        while let Some(event) = sieve.next(Instant::now())? {
            events.push(event);
        }
    }
    Ok(events)
}

/// The one request that these bytes complete.
fn request(sieve: &mut Sieve, bytes: &[u8]) -> Begun {
    let mut events = passed(sieve, bytes).unwrap();
    let Some(Event::Request(begun)) = events.pop() else { panic!("no request") };
    assert!(events.is_empty());
    begun
}

const BEGIN: &[u8] = &[0, 1, 1, 0, 0, 0, 0, 0];

#[test]
fn request_is_gathered_when_its_parameters_lie_across_records() {
    let mut sieve = sieve();
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
    let begun = request(&mut sieve, &bytes.concat());
    assert_eq!(begun.variables.get("KEY"), b"v\xff");
    assert_eq!((begun.id, begun.keep, begun.is_responder()), (7, true, true));
    assert_eq!((&begun.body[..], begun.refusal), (&b"body"[..], None));
    assert!(sieve.is_idle());
}

#[test]
fn bytes_are_dropped_when_the_body_is_too_large() {
    let mut sieve = sieve();
    let first = [record(BEGIN_REQUEST, 1, BEGIN), record(PARAMS, 1, b""), record(STDIN, 1, b"0123456789")].concat();
    passed(&mut sieve, &first).unwrap();
    assert_eq!(sieve.open[0].refusal, None);
    assert!(passed(&mut sieve, &record(STDIN, 1, b"x")).unwrap().is_empty());
    let begun = request(&mut sieve, &record(STDIN, 1, b""));
    assert_eq!((begun.body.len(), begun.refusal), (0, Some(Refusal::TooLarge)));
}

#[test]
fn parameters_are_dropped_when_the_list_is_too_long() {
    let mut sieve = sieve();
    passed(&mut sieve, &record(BEGIN_REQUEST, 1, BEGIN)).unwrap();
    for _ in 0..30 {
        passed(&mut sieve, &record(PARAMS, 1, b"\x03\x03abcdef")).unwrap();
    }
    assert!(sieve.open[0].list.len() <= 100);
    let ends = [record(PARAMS, 1, b""), record(STDIN, 1, b"")].concat();
    assert_eq!(request(&mut sieve, &ends).refusal, Some(Refusal::LongHead));
}

#[test]
fn connection_is_given_up_when_the_rules_are_broken() {
    let begin = record(BEGIN_REQUEST, 1, BEGIN);
    let ended = |kind| [begin.clone(), record(kind, 1, b""), record(kind, 1, b"x")].concat();
    let many: Vec<u8> = (1..=9).flat_map(|id| record(BEGIN_REQUEST, id, BEGIN)).collect();
    for (bytes, why) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "version"),
        (record(BEGIN_REQUEST, 1, &[0]), "another form"),
        (record(BEGIN_REQUEST, 1, &[]), "another form"),
        (record(BEGIN_REQUEST, 0, BEGIN), "another form"),
        ([begin.clone(), begin.clone()].concat(), "twice"),
        (ended(PARAMS), "after their end"),
        (ended(STDIN), "after its end"),
        (many, "too many"),
        ([begin.clone(), record(PARAMS, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]), record(PARAMS, 1, b"")].concat(), "cut"),
        (record(GET_VALUES, 0, &[0xff, 0xff, 0xff, 0xff, 0]), "cut off"),
    ] {
        let error = passed(&mut sieve(), &bytes).unwrap_err();
        assert!(error.0.contains(why), "{error:?} is not {why}");
    }
}

#[test]
fn abort_is_seen_when_it_waits() {
    let mut sieve = sieve();
    sieve.room().extend_from_slice(&record(ABORT_REQUEST, 0x0102, b""));
    assert!(sieve.aborts(0x0102) && !sieve.aborts(1));
    assert!(sieve.next(Instant::now()).unwrap().is_none(), "an abort of nothing is dropped");
    passed(&mut sieve, &record(BEGIN_REQUEST, 1, BEGIN)).unwrap();
    let events = passed(&mut sieve, &record(ABORT_REQUEST, 1, b"")).unwrap();
    assert!(matches!(events.as_slice(), [Event::GivenUp(begun)] if begun.id == 1));
    assert!(sieve.is_idle());
}

#[test]
fn other_roles_and_management_are_told_apart() {
    let mut sieve = sieve();
    let authorizer = [record(BEGIN_REQUEST, 1, &[0, 2, 0, 0, 0, 0, 0, 0]), record(PARAMS, 1, b"")].concat();
    let begun = request(&mut sieve, &authorizer);
    assert!(!begun.is_responder() && !begun.keep);
    let late = [record(STDIN, 1, b"x"), record(STDIN, 1, b""), record(DATA, 1, b"x"), record(77, 1, b"")].concat();
    assert!(passed(&mut sieve, &late).unwrap().is_empty(), "it is not open any more");
    let events = passed(&mut sieve, &[record(GET_VALUES, 0, b"\x01\0A"), record(77, 0, b"")].concat()).unwrap();
    assert!(matches!(events.as_slice(), [Event::Values(names), Event::Unknown(77)] if names.has("A")));
}

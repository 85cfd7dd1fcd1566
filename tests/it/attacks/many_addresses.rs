//! An attacker with many addresses: the number of guesses is limited, and so is what kvs remembers of them, in the store
//! and in memory. Clients elsewhere are not affected.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::Request;
use kvs::model::{Bucket, Projection, Scan};
use kvs::web::{Body, ClientAddr};

use crate::store::named;
use crate::support::endpoint::{Endpoint, FORM, request};
use crate::support::served::{SECRET, Served};

/// How many clients kvs remembers (docs/http-api.md).
const REMEMBERED: u64 = 10_000;

fn guess(address: IpAddr, secret: &str) -> Request<Body> {
    let mut request = request("POST", "/", &[FORM], Body::from(format!("a=1&auth={secret}")));
    request.extensions_mut().insert(ClientAddr(Some(address)));
    request
}

async fn status(kvs: &Endpoint, address: IpAddr, secret: &str) -> u16 {
    kvs.respond(guess(address, secret)).await.status().as_u16()
}

async fn remembered(kvs: &Endpoint) -> u64 {
    let count = Scan { projection: Projection::Count, ..Scan::default() };
    kvs.store.scan(&Bucket::new("_kvs.throttle").unwrap(), count).await.unwrap().count.unwrap()
}

/// An address in the /64 network with this number, below the /16 network `begin`.
fn network(begin: u16, number: u32) -> IpAddr {
    let [high, low] = [number >> 16, number & 0xffff].map(|part| u16::try_from(part).unwrap());
    Ipv6Addr::new(begin, high, low, 7, 1, 2, 3, 4).into()
}

#[tokio::test]
async fn guesses_from_many_ipv6_networks_are_limited_and_others_are_served() {
    let kvs = Endpoint::new(named("memory"));
    let known = IpAddr::from(Ipv4Addr::new(198, 51, 100, 1));
    assert_eq!(status(&kvs, known, "s3cret").await, 200);
    // More networks than kvs remembers, each with one guess.
    let mut unauthorized = 0;
    for number in 0..12_000 {
        match status(&kvs, network(0x2001, number), &format!("guess{number}")).await {
            401 => unauthorized += 1,
            429 => {}
            other => panic!("{other} for network {number}"),
        }
    }
    assert!((REMEMBERED - 10..=REMEMBERED + 10).contains(&unauthorized), "{unauthorized} guesses were checked");
    let count = remembered(&kvs).await;
    assert!(count <= REMEMBERED + 10, "{count} counts are stored");
    // The rest of the attacked /16 network waits, whatever address the attacker takes.
    for number in 12_000..12_050 {
        assert_eq!(status(&kvs, network(0x2001, number), "s3cret").await, 429, "{number}");
    }
    // Known clients, and new ones elsewhere, are served.
    assert_eq!(status(&kvs, known, "s3cret").await, 200);
    assert_eq!(status(&kvs, network(0x2002, 1), "s3cret").await, 200);
    assert_eq!(status(&kvs, Ipv4Addr::new(203, 0, 113, 9).into(), "s3cret").await, 200);
    // A quarter of an hour later there is room again.
    kvs.clock.advance(Duration::from_secs(16 * 60));
    assert_eq!(status(&kvs, network(0x2001, 12_001), "s3cret").await, 200);
    assert!(remembered(&kvs).await < 100);
}

#[tokio::test]
async fn one_ipv4_address_has_one_count_in_each_of_its_forms() {
    let kvs = Endpoint::new(named("memory"));
    let plain = Ipv4Addr::new(192, 0, 2, 1);
    let translated = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x0201);
    let forms: [IpAddr; 3] = [plain.into(), plain.to_ipv6_mapped().into(), translated.into()];
    for number in 0..12 {
        let expected = if number < 5 { 401 } else { 429 };
        assert_eq!(status(&kvs, forms[number % 3], &format!("guess{number}")).await, expected, "{number}");
    }
}

/// Sends a request from each of many addresses over one connection, with the secret of its number. Returns how many were
/// accepted and how many refused.
fn from_many_addresses(served: &Served, count: u32, secret: impl Fn(u32) -> String) -> [usize; 2] {
    let mut socket = served.connect();
    let mut statuses = [0, 0];
    let request = |number: u32| {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
        let headers = format!("X-Forwarded-For: {address}\r\nX-KVS-Auth: {}", secret(number));
        format!("POST /kv/default/a?op=touch&ttl=9 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{headers}\r\n\r\n")
    };
    for first in (0..count).step_by(100) {
        let requests: String = (first..first + 100).map(request).collect();
        socket.write_all(requests.as_bytes()).unwrap();
        let (mut text, mut block) = (String::new(), vec![0; 65_536]);
        while text.matches("HTTP/1.1 ").count() < 100 || !is_complete(&text) {
            let received = socket.read(&mut block).unwrap();
            assert!(received > 0, "broken off: {text}");
            text.push_str(std::str::from_utf8(&block[..received]).unwrap());
        }
        // There is no such key.
        statuses[0] += text.matches("HTTP/1.1 404").count();
        statuses[1] += text.matches("HTTP/1.1 401").count() + text.matches("HTTP/1.1 429").count();
    }
    statuses
}

/// Whether the last response is there with its whole body, which is one line.
fn is_complete(text: &str) -> bool {
    let Some((_, last)) = text.rsplit_once("HTTP/1.1 ") else { return false };
    let Some((head, body)) = last.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.is_some_and(|length| length.parse() == Ok(body.len()))
}

/// What a process remembers of its clients has a limit, too: of those with the right secret, and of the others.
#[test]
fn memory_for_the_clients_of_the_rate_limit_is_bounded() {
    let served = Served::start(&["--store", "memory:", "--trusted-proxies", "127.0.0.1"]);
    from_many_addresses(&served, 1_000, |_| SECRET.to_owned());
    let before = served.present_memory();
    let [right, refused] = from_many_addresses(&served, 12_000, |_| SECRET.to_owned());
    assert_eq!((right, refused), (12_000, 0), "each client with the right secret is served");
    let [right, refused] = from_many_addresses(&served, 12_000, |number| format!("guess{number}"));
    assert_eq!((right, refused), (0, 12_000));
    let after = served.present_memory();
    // 10,000 counts and as many hashes; without a limit it would be more with every address.
    assert!(after < before + 32, "{before} MiB, then {after} MiB");
}

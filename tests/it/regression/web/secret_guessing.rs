//! Guessing secrets is slowed down, however it is distributed. Others are not slowed down: a household with an outdated
//! device, clients behind a proxy, or requests while the rate limiter is locked.

use std::fs::File;
use std::net::IpAddr;
use std::thread::scope;
use std::time::{Duration, Instant};

use fs2::FileExt;
use kvs::model::{Bucket, ErrorKind, Projection, Scan};
use kvs::web::Body;
use kvs::web::ClientAddr;

use crate::regression::server::programs::{FastCgi, Place, SECRET};
use crate::store::Make;
use crate::support::doubles::Failing;
use crate::support::endpoint::{Endpoint, FORM, cases, request};

cases! {
    ipv6_network_is_counted_as_one_client,
    repeated_wrong_secret_is_one_guess,
    pause_holds_when_the_clock_is_set_back,
    number_of_counters_is_limited,
}

async fn send(kvs: &Endpoint, address: &str, secret: &str) -> u16 {
    let mut request = request("POST", "/", &[FORM], Body::from(format!("a=1&auth={secret}")));
    let address: IpAddr = address.parse().unwrap();
    request.extensions_mut().insert(ClientAddr(Some(address)));
    kvs.send(request).await.status
}

async fn ipv6_network_is_counted_as_one_client(make: Make) {
    let kvs = Endpoint::new(make);
    for n in 0..40 {
        let status = send(&kvs, &format!("2001:db8:0:1:{n:x}::{n:x}"), &format!("guess{n}")).await;
        assert_eq!(status, if n < 5 { 401 } else { 429 }, "{n}");
    }
    assert_eq!(send(&kvs, "2001:db8:0:1::1", "s3cret").await, 429);
    assert_eq!(send(&kvs, "2001:db8:0:2::1", "s3cret").await, 200);
}

async fn repeated_wrong_secret_is_one_guess(make: Make) {
    let kvs = Endpoint::new(make);
    for turn in 0..30 {
        for device in 0..4 {
            assert_eq!(send(&kvs, "192.0.2.7", &format!("outdated{device}")).await, 401, "{turn}");
        }
        assert_eq!(send(&kvs, "192.0.2.7", "s3cret").await, 200, "{turn}");
        kvs.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(send(&kvs, "192.0.2.7", "guess").await, 401, "the fifth");
    assert_eq!(send(&kvs, "192.0.2.7", "outdated0").await, 429, "a pause is for all");
}

async fn pause_holds_when_the_clock_is_set_back(make: Make) {
    let kvs = Endpoint::new(make);
    kvs.clock.advance(Duration::from_secs(100_000));
    for n in 0..9 {
        send(&kvs, "192.0.2.7", &format!("guess{n}")).await;
        kvs.clock.advance(Duration::from_secs(16));
    }
    assert_eq!(send(&kvs, "192.0.2.7", "another").await, 429);
    kvs.clock.step_back(Duration::from_secs(3600));
    assert_eq!(send(&kvs, "192.0.2.7", "s3cret").await, 429);
    kvs.clock.advance(Duration::from_secs(33));
    assert_eq!(send(&kvs, "192.0.2.7", "s3cret").await, 200, "and no longer than a pause lasts");
}

async fn number_of_counters_is_limited(make: Make) {
    let kvs = Endpoint::new(make);
    let bucket = Bucket::new("_kvs.throttle").unwrap();
    let stored = async |kvs: &Endpoint| {
        let count = Scan { projection: Projection::Count, ..Scan::default() };
        kvs.store.scan(&bucket, count).await.unwrap().count.unwrap()
    };
    for n in 0..30 {
        send(&kvs, &format!("192.0.2.{n}"), "guess").await;
    }
    assert!(stored(&kvs).await > 30);
    kvs.clock.advance(Duration::from_secs(15 * 60));
    send(&kvs, "192.0.3.1", "guess").await;
    assert!(stored(&kvs).await < 5, "forgotten after a quarter of an hour, all of them");
}

/// Concurrent guesses at several processes get no more responses than sequential guesses.
#[test]
fn concurrent_guesses_across_processes_are_counted() {
    let place = Place::new();
    let all: Vec<FastCgi> = (0..8).map(|n| place.fastcgi(n)).collect();
    for process in &all {
        // All have started, and remember their own address.
        assert_eq!(process.send("198.51.100.1", &format!("a=1&auth={SECRET}")), 200);
    }
    for round in 0..6 {
        let (address, right) = (format!("192.0.2.{round}"), round * 7);
        let statuses: Vec<u16> = scope(|scope| {
            let guess = |n: usize| {
                let secret = if n == right { SECRET.to_owned() } else { format!("guess{n}") };
                let (process, address) = (&all[n % all.len()], &address);
                scope.spawn(move || process.send(address, &format!("a=1&auth={secret}")))
            };
            let sent: Vec<_> = (0..40).map(guess).collect();
            sent.into_iter().map(|guess| guess.join().unwrap()).collect()
        });
        let wrong = statuses.iter().filter(|status| **status == 401).count();
        assert!((1..=5).contains(&wrong), "{statuses:?}");
        assert!([200, 429, 503].contains(&statuses[right]), "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 401, 429, 503].contains(status)), "{statuses:?}");
        assert!(statuses.iter().filter(|status| **status == 200).count() <= 1, "{statuses:?}");
    }
}

#[test]
fn outdated_device_pauses_nobody_under_cgi() {
    let place = Place::new();
    for turn in 0..8 {
        assert_eq!(place.cgi("192.0.2.1", "a=1&auth=outdated").status, 401, "{turn}");
        assert_eq!(place.cgi("192.0.2.1", &format!("a=1&auth={SECRET}")).status, 200, "{turn}");
    }
}

#[test]
fn wrong_secret_is_logged_once_by_its_address_only() {
    let place = Place::new();
    let first = place.cgi("192.0.2.1", "a=1&auth=hunter2");
    assert!(first.log.contains("WARN") && first.log.contains("192.0.2.1"), "{}", first.log);
    assert!(!first.log.contains("hunter2"), "{}", first.log);
    assert_eq!(place.cgi("192.0.2.1", "a=1&auth=hunter2").log, "", "a repeated secret is not logged again");
    let right = place.cgi("192.0.2.1", &format!("a=1&auth={SECRET}"));
    assert_eq!((right.status, right.log.as_str()), (200, ""));
}

/// If a guess cannot be counted, only secrets that were used before are checked: right and wrong ones look the same.
#[test]
fn full_disk_does_not_allow_guessing() {
    let place = Place::new();
    let known = format!("a=1&auth={SECRET}");
    assert_eq!(place.cgi("192.0.2.1", &known).status, 200);
    let wrong = place.cgi_without_room("192.0.2.2", "a=1&auth=wrong");
    let right = place.cgi_without_room("192.0.2.2", &known);
    assert!(wrong.status >= 500 && wrong.text.contains("cannot be counted"), "{}", wrong.text);
    assert_eq!(wrong.text, right.text);
    for n in 0..8 {
        assert!(place.cgi_without_room("192.0.2.2", &format!("a=1&auth=guess{n}")).status >= 500);
    }
    let was_known = place.cgi_without_room("192.0.2.1", &known);
    assert!(!was_known.text.contains("cannot be counted"), "its secret is known there: {}", was_known.text);
    assert_eq!(place.cgi("192.0.2.2", &known).status, 200, "it works again once there is space");
}

#[tokio::test]
async fn failing_store_reveals_nothing_about_a_secret() {
    for (kind, status) in [
        (ErrorKind::Busy, 503),
        (ErrorKind::StorageFull, 507),
        (ErrorKind::Corrupt, 500),
        (ErrorKind::Unavailable, 500),
    ] {
        for serves_reads in [true, false] {
            let text = "/srv/kvs/_kvs.throttle.yaml is lost";
            let store = Failing { kind, text, serves_reads, spares_reserved: false }.store();
            let kvs = Endpoint::failing(store);
            let mut texts = vec![];
            for secret in ["s3cret", "wrong", "wronger", "wrong", "4", "5", "6", "7"] {
                let answer = kvs.form(&format!("a=1&auth={secret}")).await;
                assert_eq!(answer.status, status, "{kind:?}");
                texts.push(answer.text().to_owned());
            }
            assert!(texts.iter().all(|text| *text == texts[0] && !text.contains("srv")), "{texts:?}");
            let list = kvs.plain("GET", "/kv/default", &[("x-kvs-auth", "s3cret")]).await;
            assert_eq!(list.status, status, "{kind:?}");
        }
    }
}

#[test]
fn locked_rate_limiter_delays_nobody() {
    let place = Place::new();
    let known = format!("a=1&auth={SECRET}");
    let running = place.fastcgi(0);
    assert_eq!(running.send("192.0.2.1", &known), 200);
    let lock = File::options().write(true).open(place.path("data/_kvs.throttle.lock")).unwrap();
    lock.lock_exclusive().unwrap();
    for (address, form, expected) in [("192.0.2.1", known.as_str(), 200), ("192.0.2.2", "a=1&auth=wrong", 503)] {
        let start = Instant::now();
        assert_eq!(running.send(address, form), expected);
        assert!(start.elapsed() < Duration::from_millis(4500), "{address}: {:?}", start.elapsed());
    }
    let start = Instant::now();
    assert_eq!(place.cgi("192.0.2.2", &known).status, 503);
    assert!(start.elapsed() < Duration::from_millis(4500), "{:?}", start.elapsed());
    drop(lock);
    assert_eq!(place.cgi("192.0.2.2", &known).status, 200);
}

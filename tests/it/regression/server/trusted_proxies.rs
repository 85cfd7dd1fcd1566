//! Over plain HTTP, only a trusted proxy can set the address of the client.

use crate::support::served::{SECRET, Served};

fn send(served: &Served, headers: &str, secret: &str) -> u16 {
    let form = format!("a=1&auth={secret}");
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
    let answer = served.ask(&format!("{head}\r\n{headers}Content-Length: {}\r\n\r\n{form}", form.len()));
    answer[9..12].parse().unwrap()
}

#[test]
fn clients_behind_a_trusted_proxy_are_distinguished() {
    let served = Served::start(&["--trusted-proxies", "192.0.2.0/24,127.0.0.1"]);
    for n in 0..6 {
        // The client's own entry comes before the one that the proxy adds.
        let headers = format!("X-Forwarded-For: 203.0.113.{n}, 198.51.100.1, 192.0.2.9\r\n");
        assert_eq!(send(&served, &headers, &format!("guess{n}")), if n < 5 { 401 } else { 429 }, "{n}");
    }
    assert_eq!(send(&served, "Forwarded: for=\"198.51.100.1:4711\";proto=https\r\n", SECRET), 429);
    assert_eq!(send(&served, "X-Forwarded-For: 198.51.100.2\r\n", SECRET), 200);
    assert_eq!(send(&served, "Forwarded: for=\"[2001:db8::1]\"\r\n", SECRET), 200);
    assert_eq!(send(&served, "", SECRET), 200, "the proxy itself");
    // Two different headers, or an invalid address, count as the address of the proxy.
    for n in 0..6 {
        let headers = ["X-Forwarded-For: unknown\r\n", "Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n"][n % 2];
        assert_eq!(send(&served, headers, &format!("more{n}")), if n < 5 { 401 } else { 429 }, "{n}");
    }
    assert_eq!(send(&served, "X-Forwarded-For: 198.51.100.2\r\n", SECRET), 200);
}

#[test]
fn forwarded_addresses_of_other_clients_are_ignored() {
    for flags in [&[][..], &["--trusted-proxies", "192.0.2.1,unix"]] {
        let served = Served::start(flags);
        for n in 0..6 {
            let headers = format!("X-Forwarded-For: 198.51.100.{n}\r\nForwarded: for=198.51.100.{n}\r\n");
            assert_eq!(send(&served, &headers, &format!("guess{n}")), if n < 5 { 401 } else { 429 }, "{n}");
        }
    }
}

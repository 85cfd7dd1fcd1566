//! A body that did not arrive as the client sent it is rejected, and no part of it is stored.

use std::fs::OpenOptions;
use std::io::Write;

use crate::client::{Answer, send_part, try_send};
use crate::script::form;
use crate::servers::{Server, Way};
use crate::site::{SECRET, Site};

fn read(server: &Server, key: &str) -> Answer {
    server.send(format!("GET /?k={key} HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A form in chunks of `size` bytes.
fn chunked(pairs: &str, size: usize) -> Vec<u8> {
    let mut request = b"POST / HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in pairs.as_bytes().chunks(size) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

/// A site on a host that limits the size of bodies, as many hosts do.
fn site_with_limit() -> Site {
    let site = Site::new();
    let mut file = OpenOptions::new().append(true).open(site.root().join(".htaccess")).unwrap();
    writeln!(file, "LimitRequestBody 10000").unwrap();
    site
}

#[test]
fn body_that_apache_emptied_is_refused() {
    for way in [Way::ModFcgid, Way::ModCgid] {
        let server = Server::start_in(site_with_limit(), way);
        let answer = server.send(&form(&format!("long={}", "x".repeat(20_000))));
        assert_eq!(answer.status, 413, "{way:?}: {}", answer.text());
        assert_eq!(read(&server, "long").status, 404, "{way:?}");
        assert_eq!(server.send(&form("short=1")).status, 200, "{way:?}");
    }
}

#[test]
fn chunked_body_that_apache_may_have_cut_is_refused() {
    for way in [Way::ModFcgid, Way::ModCgid] {
        let server = Server::start_in(site_with_limit(), way);
        // The secret comes first, so that the rest of a body that Apache cut would be a valid form.
        for (length, size) in [(20_000, 100), (20_000, 5_000), (20_000, 20_000), (9_000, 1_000), (5, 5)] {
            let answer = try_send(server.port, &chunked(&format!("auth={SECRET}&long={}", "x".repeat(length)), size));
            let status = answer.map(|answer| answer.status);
            // mod_cgid may reject a long body itself. If the program rejects a body before it has read it, the rest of
            // the body that still arrives may close the connection before the response is read.
            let good = status == Some(411) || (way == Way::ModCgid && matches!(status, None | Some(413)));
            assert!(good, "{way:?}, {length} in chunks of {size}: {status:?}\n{}", server.site.logs());
            assert_eq!(read(&server, "long").status, 404, "{way:?}, {length} in chunks of {size}");
        }
    }
}

#[test]
fn chunked_body_is_stored_whole_if_the_server_does_not_cut_it() {
    for way in [Way::Http, Way::ModProxyFcgi, Way::NginxFastcgi, Way::NginxProxy] {
        let server = Server::start(way);
        for size in [1_000, 70_000] {
            let value = "x".repeat(60_000);
            let answer = server.send(&chunked(&format!("auth={SECRET}&long={value}"), size));
            assert_eq!(answer.status, 200, "{way:?}: {}", answer.text());
            assert_eq!(read(&server, "long").body, value.as_bytes(), "{way:?}, chunks of {size}");
        }
    }
}

#[test]
fn body_that_ends_early_is_not_stored() {
    for way in [Way::Http, Way::ModFcgid, Way::ModCgid, Way::ModProxyFcgi, Way::NginxFastcgi, Way::NginxProxy] {
        let server = Server::start(way);
        // The part that arrives is a valid form, only shorter than announced.
        let pairs = format!("auth={SECRET}&half=abc");
        let head = "POST / HTTP/1.1\r\nHost: kvs.test\r\nConnection: close\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";
        send_part(server.port, format!("{head}Content-Length: {}\r\n\r\n{pairs}", pairs.len() + 5).as_bytes());
        send_part(
            server.port,
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{pairs}\r\n", pairs.len()).as_bytes(),
        );
        assert_eq!(read(&server, "half").status, 404, "{way:?}");
        assert_eq!(server.send(&form("whole=1")).status, 200, "{way:?}");
    }
}

//! A peer of the reads behind Apache: a FastCGI program on the crate `fastcgi` that answers one fixed value from memory,
//! with the headers that kvs sends. It accepts connections on its standard input.

use std::io::Write;

const RESPONSE: &[u8] = b"Status: 200 OK\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 4\r\n\
    Cache-Control: no-cache\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Etag: \"dmy1sh23tn8f\"\r\n\
    Last-Modified: Sat, 21 Nov 2026 05:00:00 GMT\r\n\
    Kvs-Key: kitchen/temp\r\n\
    \r\n\
    21.5";

fn main() {
    fastcgi::run(|mut request| {
        // The web server may have gone away; there is nobody to report this to.
        let _ = request.stdout().write_all(RESPONSE);
    });
}

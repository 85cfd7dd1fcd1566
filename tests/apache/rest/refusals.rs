//! Rejected requests: without a right, with a secret in the query, at a wrong path, and for features that do not exist
//! yet.

use super::{request, write};
use crate::script::{Step, ask, get, raw};
use crate::site::{READER, SECRET, WRONG};

pub(super) fn steps() -> Vec<Step> {
    [rights(), places(), to_come(), wrong_secrets()].into_iter().flatten().collect()
}

fn rights() -> Vec<Step> {
    let put = |name, headers: &str| raw(name, request("PUT /kv/default/refused", headers, "no"));
    let auth = |name, method: &str| {
        raw(
            name,
            request(&format!("{method} /kv/default/a?auth=of-an-address"), &format!("X-KVS-Auth: {SECRET}\r\n"), ""),
        )
        .status(400)
    };
    vec![
        put("without a secret", "").status(401),
        put("with an empty one", "X-KVS-Auth: \r\n").status(401),
        put("with one that may only read", &format!("X-KVS-Auth: {READER}\r\n")).status(403),
        put(
            "with two, one of them without the right",
            &format!("X-KVS-Auth: {SECRET}\r\nAuthorization: Bearer {READER}\r\n"),
        )
        .status(403),
        raw(
            "by a form, whose secret is part of the value",
            request(
                "PUT /kv/default/refused",
                "Content-Type: application/x-www-form-urlencoded\r\n",
                format!("a=1&auth={SECRET}"),
            ),
        )
        .status(401),
        raw("DELETE without a secret", request("DELETE /kv/default/a", "", "")).status(401),
        raw("incr without a secret", request("POST /kv/default/a?op=incr", "", "")).status(401),
        raw("DELETE by POST without a secret", request("POST /kv/default/a", "X-HTTP-Method-Override: DELETE\r\n", ""))
            .status(401),
        auth("secret in the query of a GET", "GET"),
        auth("secret in the query of a PUT", "PUT"),
        auth("secret in the query of a DELETE", "DELETE"),
        auth("secret in the query of an OPTIONS", "OPTIONS"),
        get("secret in the query of a missing page", "/nope?auth=of-an-address").status(400),
        get("escaped secret in the query", "/kv/default/a?%61uth=of-an-address").status(400),
        ask("our own bucket, with the secret", "GET /kv/_kvs.throttle", &format!("X-KVS-Auth: {SECRET}\r\n"))
            .status(404),
        write("PUT into our own bucket", "PUT /kv/_kvs.throttle/a", "", "x").status(404),
        get("nothing was stored", "/kv/default/refused").status(404),
        ask("a problem in JSON", "DELETE /kv/default/a", "Accept: application/problem+json\r\n").status(401),
    ]
}

fn places() -> Vec<Step> {
    vec![
        get("kv without a bucket and a secret", "/kv").status(401),
        get("kv/ without a bucket and a secret", "/kv/").status(401),
        get("in capitals", "/KV/default/a").status(404),
        get("status of a key", "/status/a").status(404),
        write("PUT of the status", "PUT /status", "", "x").status(405),
        write("PUT of the page", "PUT /", "", "x").status(405),
        write("an unknown method", "BREW /kv/default/a", "", "x").status(405),
        write("PROPFIND", "PROPFIND /kv/default/a", "", "").status(405),
    ]
}

/// Features of the contract that are not implemented yet are rejected, and change nothing.
fn to_come() -> Vec<Step> {
    vec![
        write("for the next steps", "PUT /kv/default/json", "Content-Type: application/json\r\n", "{\"a\":1}")
            .status(201),
        get("a log", "/log/default/a").status(404),
        write("PUT of a log", "PUT /log/default/a", "", "x").status(405),
        get("is unchanged", "/kv/default/json").body("{\"a\":1}"),
    ]
}

fn wrong_secrets() -> Vec<Step> {
    let guess = |name| raw(name, request("PUT /kv/default/refused", &format!("X-KVS-Auth: {WRONG} {name}\r\n"), "no"));
    vec![
        guess("first wrong secret").status(401),
        ask("second, for a list", "GET /kv/default", &format!("X-KVS-Auth: {WRONG}\r\n")).status(401),
        raw(
            "third, with a right one",
            request("DELETE /kv/default/a", &format!("X-KVS-Auth: {SECRET}\r\nAuthorization: Bearer {WRONG}\r\n"), ""),
        )
        .status(401),
        guess("fourth").status(401),
        guess("fifth").status(401),
        guess("sixth").status(429),
        write("the right secret, too soon", "PUT /kv/default/refused", "", "no").status(429),
        get("reads still work", "/kv/default/json").body("{\"a\":1}"),
        get("nothing was stored by any of them", "/kv/default/refused").status(404),
    ]
}

//! Parts of JSON values, and patches.

use super::{json, write};
use crate::script::{Step, ask, get};

pub(super) fn steps() -> Vec<Step> {
    let merge = "Content-Type: application/merge-patch+json\r\n";
    let patch = "Content-Type: application/json-patch+json\r\n";
    let by_post = "Content-Type: application/merge-patch+json\r\nX-HTTP-Method-Override: PATCH\r\n";
    vec![
        json("JSON document", "PUT /kv/docs/a", "{\"a/b\": [21.50, {\"c\": null}]}").status(201),
        get("part", "/kv/docs/a?path=/a~1b/0").body("21.50").header("content-type", "application/json"),
        get("part with escapes", "/kv/docs/a?path=%2Fa~1b%2F1%2Fc").body("null"),
        ask("HEAD of a part", "HEAD /kv/docs/a?path=/a~1b", "").body(""),
        get("missing part", "/kv/docs/a?path=/x").status(404),
        get("a number is no way", "/kv/docs/a?path=/a~1b/0/x").status(409),
        get("no JSON Pointer", "/kv/docs/a?path=x").status(400),
        write("PUT of a part", "PUT /kv/docs/a?path=/a~1b/-", "", "1E+2").status(201),
        write("PUT over a part", "PUT /kv/docs/a?path=/a~1b/1", "", "\"x\"").body("OK"),
        write("PUT of a part that is not JSON", "PUT /kv/docs/a?path=/x", "", "open").status(400),
        get("changed parts", "/kv/docs/a").body("{\"a/b\":[21.50,\"x\",1E+2]}"),
        write("POST of a part", "POST /kv/docs/a?path=/x/y", "", "true").status(201),
        write("DELETE of a part", "DELETE /kv/docs/a?path=/a~1b/0", "", "").body("OK"),
        write("DELETE of a missing part", "DELETE /kv/docs/a?path=/a~1b/5", "", "").status(404),
        write("merge patch", "PATCH /kv/docs/a", merge, "{\"x\":null,\"n\":0.10}").body("OK"),
        write("merge patch by POST", "POST /kv/docs/a", by_post, "{\"m\":{}}").body("OK"),
        write("JSON Patch", "PATCH /kv/docs/a", patch, "[{\"op\":\"move\",\"from\":\"/n\",\"path\":\"/m/n\"}]")
            .body("OK"),
        get("patched", "/kv/docs/a").body("{\"a/b\":[\"x\",1E+2],\"m\":{\"n\":0.10}}"),
        write(
            "JSON Patch whose test fails",
            "PATCH /kv/docs/a",
            patch,
            "[{\"op\":\"test\",\"path\":\"/m\",\"value\":1}]",
        )
        .status(409),
        write("malformed JSON Patch", "PATCH /kv/docs/a", patch, "[{}]").status(400),
        json("patch of another type", "PATCH /kv/docs/a", "{}")
            .status(415)
            .header("accept-patch", "application/json-patch+json, application/merge-patch+json"),
        write("stale patch", "PATCH /kv/docs/a", &format!("{merge}If-Match: \"1\"\r\n"), "{}").status(412),
        ask("patch without a secret", "PATCH /kv/docs/a", "").status(401),
        write("merge patch of a new key", "PATCH /kv/docs/b", merge, "{\"a\":1}").status(201),
        get("created by a patch", "/kv/docs/b").body("{\"a\":1}"),
    ]
}

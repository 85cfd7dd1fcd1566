//! Logs, parts of values, and digests.

use super::{json, write};
use crate::script::{Step, ask, get};

pub(super) fn steps() -> Vec<Step> {
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let digest = "Content-Digest: sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:\r\n";
    let delete = "X-HTTP-Method-Override: DELETE\r\n";
    vec![
        get("missing log", "/log/sensors/hall/temp").status(404),
        write("append", "POST /log/sensors/hall/temp", "", "21.5").body("{\"index\":0}").status(201),
        write("append lines", "POST /log/sensors/hall/temp", ndjson, "21.6\n{\"t\":21.70}\n")
            .body("{\"index\":1,\"count\":2}")
            .status(201),
        write("bad line", "POST /log/sensors/hall/temp", ndjson, "1\n{").status(400),
        write("index that is taken", "POST /log/sensors/hall/temp?index=2", "", "x").status(409),
        write("wrong limit", "POST /log/sensors/hall/temp?keep=0", "", "x").status(400),
        ask("append without a secret", "POST /log/sensors/hall/temp", "").status(401),
        get("log as text", "/log/sensors/hall/temp?format=text")
            .body("21.5\n21.6\n{\"t\":21.70}\n")
            .header("kvs-first", "0")
            .header("kvs-next", "3")
            .header("kvs-end", "3"),
        get("end of a log", "/log/sensors?key=hall/temp&from=-2&limit=1&format=text")
            .body("21.6\n")
            .header("kvs-next", "2"),
        get("log after its end", "/log/sensors/hall/temp?from=3&format=csv").body("index,updated,value\r\n"),
        ask("HEAD of a log", "HEAD /log/sensors/hall/temp?format=text", "").body(""),
        json("JSON entry", "POST /log/sensors/hall/json", "{\"a\":1.50}").body("{\"index\":0}").status(201),
        write("ring", "POST /log/sensors/hall/temp?keep=2", "", "21.8").body("{\"index\":3}").status(201),
        get("ring as text", "/log/sensors/hall/temp?format=text")
            .body("{\"t\":21.70}\n21.8\n")
            .header("kvs-first", "2"),
        write("list of logs", "GET /log/sensors", "", "")
            .body("{\"keys\":[\"hall/json\",\"hall/temp\"],\"cursor\":null}"),
        write("removed entry", "DELETE /log/sensors/hall/temp?before=3", "", "").body("{\"removed\":1}"),
        write("unknown parameter", "DELETE /log/sensors/hall/temp?befor=3", "", "").status(400),
        write("removed log", "POST /log/sensors/hall/temp", delete, "").body("{\"removed\":1}"),
        get("log that was removed", "/log/sensors/hall/temp").status(404),
        ask("PUT of a log", "PUT /log/sensors/hall/temp", "").status(405),
        write("value with a digest", "PUT /kv/images/a", digest, "0123456789").status(201),
        write("value with another digest", "PUT /kv/images/a", digest, "0123456788").status(400),
        get("whole value", "/kv/images/a")
            .body("0123456789")
            .header("accept-ranges", "bytes")
            .header("content-digest", "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:"),
        ask("part of a value", "GET /kv/images/a", "Range: bytes=2-4\r\n")
            .body("234")
            .status(206)
            .header("content-range", "bytes 2-4/10"),
        ask("end of a value", "GET /kv/images/a", "Range: bytes=-3\r\n").body("789").status(206),
        ask("range after the end", "GET /kv/images/a", "Range: bytes=10-\r\n")
            .status(416)
            .header("content-range", "bytes */10"),
        ask("part of another version", "GET /kv/images/a", "Range: bytes=2-4\r\nIf-Range: \"1\"\r\n")
            .body("0123456789"),
    ]
}

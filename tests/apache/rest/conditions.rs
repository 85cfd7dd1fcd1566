//! Conditions on `/kv/{bucket}/{key}`, of reads and of writes, and waiting.

use super::write;
use crate::script::{Step, ask, get};
use crate::servers::Way;

const EPOCH: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

pub(super) fn steps() -> Vec<Step> {
    [reads(), writes(), dates(), creating(), waiting()].into_iter().flatten().collect()
}

fn reads() -> Vec<Step> {
    let read = |name, headers: &str| ask(name, "GET /kv/cond/a", &format!("{headers}\r\n"));
    vec![
        write("for conditions", "PUT /kv/cond/a", "", "1").status(201),
        get("for its tag and date", "/kv/cond/a").body("1"),
        read("same tag", "If-None-Match: \"{tag}\"").status(304),
        read("same tag, weak", "If-None-Match: W/\"{tag}\"").status(304),
        read("same tag with -gzip", "If-None-Match: \"{tag}-gzip\"").status(304),
        read("same tag with -br, weak", "If-None-Match: W/\"{tag}-br\"").status(304),
        read("same tag in a list", "If-None-Match: \"x\", W/\"{tag}\"").status(304),
        // nginx does not accept this header twice.
        read("same tag in two lines", "If-None-Match: \"x\"\r\nIf-None-Match: \"{tag}\"")
            .status(304)
            .elsewhere(|way| matches!(way, Way::NginxFastcgi | Way::NginxProxy).then_some(400)),
        read("any tag", "If-None-Match: *").status(304),
        read("another tag", "If-None-Match: \"x\"").body("1"),
        read("invalid tag", "If-None-Match: nonsense").body("1"),
        read("wants this tag", "If-Match: \"{tag}\"").body("1"),
        read("wants this tag with -gzip", "If-Match: \"{tag}-gzip\"").body("1"),
        read("wants this tag, weak", "If-Match: W/\"{tag}\"").status(412),
        read("wants any", "If-Match: *").body("1"),
        read("wants another", "If-Match: \"x\"").status(412),
        read("unchanged since", "If-Modified-Since: {date}").status(304),
        read("changed since", &format!("If-Modified-Since: {EPOCH}")).body("1"),
        read("invalid date", "If-Modified-Since: yesterday").body("1"),
        read("tag before date", "If-None-Match: \"x\"\r\nIf-Modified-Since: {date}").body("1"),
        read("wants it unchanged", "If-Unmodified-Since: {date}").body("1"),
        read("wants it unchanged for long", &format!("If-Unmodified-Since: {EPOCH}")).status(412),
        read("wanted tag before wanted date", &format!("If-Match: \"{{tag}}\"\r\nIf-Unmodified-Since: {EPOCH}"))
            .body("1"),
        read("wanted, but seen", "If-Match: \"{tag}\"\r\nIf-None-Match: \"{tag}\"").status(304),
        ask("HEAD, same tag", "HEAD /kv/cond/a", "If-None-Match: \"{tag}\"\r\n").status(304),
        ask("HEAD, wants another", "HEAD /kv/cond/a", "If-Match: \"x\"\r\n").status(412),
        ask("meta, same tag", "GET /kv/cond/a?meta", "If-None-Match: \"{tag}\"\r\n").status(304),
        get("seen in the address", "/kv/cond/a?seen={tag}").status(304),
        ask("missing, any tag", "GET /kv/cond/no", "If-None-Match: *\r\n").status(404),
        ask("missing, wants any", "GET /kv/cond/no", "If-Match: *\r\n").status(404),
    ]
}

fn writes() -> Vec<Step> {
    let put = |name, headers: &str, body: &str| write(name, "PUT /kv/cond/a", &format!("{headers}\r\n"), body);
    vec![
        get("for the tag to write on", "/kv/cond/a").body("1"),
        put("on its tag", "If-Match: \"{tag}\"", "2").body("OK"),
        put("on the tag of that answer", "If-Match: \"x\", \"{tag}\"", "3").body("OK"),
        put("on its tag with -gzip", "If-Match: \"{tag}-gzip\"", "4").body("OK"),
        put("on its tag, weak", "If-Match: W/\"{tag}\"", "no").status(412),
        put("on another tag", "If-Match: \"x\"", "no").status(412),
        put("on any", "If-Match: *", "5").body("OK"),
        put("on a tag without quotes", "If-Match: {tag}", "no").status(400),
        put("on half a tag", "If-Match: \"{tag}", "no").status(400),
        put("unless its tag", "If-None-Match: W/\"{tag}\"", "no").status(412),
        put("unless any", "If-None-Match: *", "no").status(412),
        put("unless another tag", "If-None-Match: \"x\"", "6").body("OK"),
        put("unless an invalid tag", "If-None-Match: nonsense", "no").status(400),
        get("rejected values are not stored", "/kv/cond/a").body("6"),
        write("incr on another tag", "POST /kv/cond/a?op=incr", "If-Match: \"x\"\r\n", "").status(412),
        write("incr on its tag", "POST /kv/cond/a?op=incr", "If-Match: \"{tag}\"\r\n", "").body("7"),
        write("append on its tag", "POST /kv/cond/a?op=append", "If-Match: \"{tag}\"\r\n", "0").body("OK"),
        write("touch on its tag", "POST /kv/cond/a?op=touch&ttl=99", "If-Match: \"{tag}\"\r\n", "").body("OK"),
        write("touch does not change the tag", "POST /kv/cond/a?op=persist", "If-Match: \"{tag}\"\r\n", "").body("OK"),
        write("DELETE on another tag", "DELETE /kv/cond/a", "If-Match: \"x\"\r\n", "").status(412),
        write("DELETE on its tag", "DELETE /kv/cond/a", "If-Match: \"{tag}\"\r\n", "").body("OK"),
        write("DELETE of a missing entry on any", "DELETE /kv/cond/a", "If-Match: *\r\n", "").status(412),
        put("on any, of a missing entry", "If-Match: *", "no").status(412),
        put("on a tag of a missing entry", "If-Match: \"{tag}\"", "no").status(412),
        get("is still missing", "/kv/cond/a").status(404),
    ]
}

fn dates() -> Vec<Step> {
    let put =
        |name, date: &str, body: &str| write(name, "PUT /kv/cond/d", &format!("If-Unmodified-Since: {date}\r\n"), body);
    vec![
        put("unmodified, because it is missing", EPOCH, "1").body("OK").status(201),
        get("for its date", "/kv/cond/d").body("1"),
        put("unmodified since", "{date}", "2").body("OK"),
        put("the same date again", "{date}", "no").status(412),
        put("unmodified for long", EPOCH, "no").status(412),
        put("unmodified until later", FUTURE, "3").body("OK"),
        put("invalid date", "yesterday", "no").status(400),
        write(
            "invalid date together with a tag",
            "PUT /kv/cond/d",
            "If-Match: *\r\nIf-Unmodified-Since: yesterday\r\n",
            "4",
        )
        .body("OK"),
        write("DELETE, unmodified for long", "DELETE /kv/cond/d", &format!("If-Unmodified-Since: {EPOCH}\r\n"), "")
            .status(412),
        get("value of the last write", "/kv/cond/d").body("4"),
    ]
}

fn creating() -> Vec<Step> {
    let create = |name, body: &str| write(name, "PUT /kv/cond/new", "If-None-Match: *\r\n", body);
    vec![
        create("created if missing", "1").body("OK").status(201),
        create("not created twice", "2").status(412),
        write("deleted", "DELETE /kv/cond/new", "", "").body("OK"),
        create("created again", "3").body("OK").status(201),
        get("value of the last", "/kv/cond/new").body("3"),
    ]
}

fn waiting() -> Vec<Step> {
    let prefer = |name, seconds: &str| {
        ask(name, "GET /kv/cond/new", &format!("Prefer: wait={seconds}\r\nIf-None-Match: \"{{tag}}\"\r\n"))
    };
    vec![
        get("for the tag it waits on", "/kv/cond/new").body("3"),
        prefer("wait times out", "1").status(304),
        get("wait times out by address", "/kv/cond/new?wait=1&seen={tag}").status(304),
        get("wait times out for an entry", "/kv/cond/no?wait=1&seen=none").status(404),
        prefer("does not wait", "0").status(304),
        prefer("does not wait for an invalid time", "soon").status(304),
        get("a value that was not seen is returned at once", "/kv/cond/new?wait=20").body("3"),
        get("an existing value is returned at once", "/kv/cond/new?wait=20&seen=none").body("3"),
        get("wait that is not a number", "/kv/cond/new?wait=soon&seen=none").status(400),
    ]
}

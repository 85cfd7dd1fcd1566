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
    let look = |name, headers: &str| ask(name, "GET /kv/cond/a", &format!("{headers}\r\n"));
    vec![
        write("for conditions", "PUT /kv/cond/a", "", "1").status(201),
        get("for its tag and date", "/kv/cond/a").body("1"),
        look("same tag", "If-None-Match: \"{tag}\"").status(304),
        look("same tag, weak", "If-None-Match: W/\"{tag}\"").status(304),
        look("same tag behind gzip", "If-None-Match: \"{tag}-gzip\"").status(304),
        look("same tag behind brotli, weak", "If-None-Match: W/\"{tag}-br\"").status(304),
        look("same tag in a list", "If-None-Match: \"x\", W/\"{tag}\"").status(304),
        // nginx takes no such header twice.
        look("same tag in two lines", "If-None-Match: \"x\"\r\nIf-None-Match: \"{tag}\"")
            .status(304)
            .elsewhere(|way| matches!(way, Way::NginxFastcgi | Way::NginxProxy).then_some(400)),
        look("any tag", "If-None-Match: *").status(304),
        look("another tag", "If-None-Match: \"x\"").body("1"),
        look("no tag", "If-None-Match: nonsense").body("1"),
        look("wants this tag", "If-Match: \"{tag}\"").body("1"),
        look("wants this tag behind gzip", "If-Match: \"{tag}-gzip\"").body("1"),
        look("wants this tag, weak", "If-Match: W/\"{tag}\"").status(412),
        look("wants any", "If-Match: *").body("1"),
        look("wants another", "If-Match: \"x\"").status(412),
        look("unchanged since", "If-Modified-Since: {date}").status(304),
        look("changed since", &format!("If-Modified-Since: {EPOCH}")).body("1"),
        look("no date", "If-Modified-Since: yesterday").body("1"),
        look("tag before date", "If-None-Match: \"x\"\r\nIf-Modified-Since: {date}").body("1"),
        look("wants it unchanged", "If-Unmodified-Since: {date}").body("1"),
        look("wants it unchanged for long", &format!("If-Unmodified-Since: {EPOCH}")).status(412),
        look("wanted tag before wanted date", &format!("If-Match: \"{{tag}}\"\r\nIf-Unmodified-Since: {EPOCH}"))
            .body("1"),
        look("wanted, but seen", "If-Match: \"{tag}\"\r\nIf-None-Match: \"{tag}\"").status(304),
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
        put("on its tag behind gzip", "If-Match: \"{tag}-gzip\"", "4").body("OK"),
        put("on its tag, weak", "If-Match: W/\"{tag}\"", "no").status(412),
        put("on another tag", "If-Match: \"x\"", "no").status(412),
        put("on any", "If-Match: *", "5").body("OK"),
        put("on a tag without quotes", "If-Match: {tag}", "no").status(400),
        put("on half a tag", "If-Match: \"{tag}", "no").status(400),
        put("unless its tag", "If-None-Match: W/\"{tag}\"", "no").status(412),
        put("unless any", "If-None-Match: *", "no").status(412),
        put("unless another tag", "If-None-Match: \"x\"", "6").body("OK"),
        put("unless no tag", "If-None-Match: nonsense", "no").status(400),
        get("nothing that was refused was stored", "/kv/cond/a").body("6"),
        write("incr on another tag", "POST /kv/cond/a?op=incr", "If-Match: \"x\"\r\n", "").status(412),
        write("incr on its tag", "POST /kv/cond/a?op=incr", "If-Match: \"{tag}\"\r\n", "").body("7"),
        write("append on its tag", "POST /kv/cond/a?op=append", "If-Match: \"{tag}\"\r\n", "0").body("OK"),
        write("touch on its tag", "POST /kv/cond/a?op=touch&ttl=99", "If-Match: \"{tag}\"\r\n", "").body("OK"),
        write("touch leaves the tag", "POST /kv/cond/a?op=persist", "If-Match: \"{tag}\"\r\n", "").body("OK"),
        write("DELETE on another tag", "DELETE /kv/cond/a", "If-Match: \"x\"\r\n", "").status(412),
        write("DELETE on its tag", "DELETE /kv/cond/a", "If-Match: \"{tag}\"\r\n", "").body("OK"),
        write("DELETE of nothing on any", "DELETE /kv/cond/a", "If-Match: *\r\n", "").status(412),
        put("on any, of nothing", "If-Match: *", "no").status(412),
        put("on a tag of nothing", "If-Match: \"{tag}\"", "no").status(412),
        get("is still nothing", "/kv/cond/a").status(404),
    ]
}

fn dates() -> Vec<Step> {
    let put =
        |name, date: &str, body: &str| write(name, "PUT /kv/cond/d", &format!("If-Unmodified-Since: {date}\r\n"), body);
    vec![
        put("unmodified, as it is not there", EPOCH, "1").body("OK").status(201),
        get("for its date", "/kv/cond/d").body("1"),
        put("unmodified since", "{date}", "2").body("OK"),
        put("the same date again", "{date}", "no").status(412),
        put("unmodified for long", EPOCH, "no").status(412),
        put("unmodified until later", FUTURE, "3").body("OK"),
        put("no date", "yesterday", "no").status(400),
        write("no date beside a tag", "PUT /kv/cond/d", "If-Match: *\r\nIf-Unmodified-Since: yesterday\r\n", "4")
            .body("OK"),
        write("DELETE, unmodified for long", "DELETE /kv/cond/d", &format!("If-Unmodified-Since: {EPOCH}\r\n"), "")
            .status(412),
        get("as the last one left it", "/kv/cond/d").body("4"),
    ]
}

fn creating() -> Vec<Step> {
    let create = |name, body: &str| write(name, "PUT /kv/cond/new", "If-None-Match: *\r\n", body);
    vec![
        create("made if new", "1").body("OK").status(201),
        create("not made twice", "2").status(412),
        write("gone", "DELETE /kv/cond/new", "", "").body("OK"),
        create("made again", "3").body("OK").status(201),
        get("by the last", "/kv/cond/new").body("3"),
    ]
}

fn waiting() -> Vec<Step> {
    let prefer = |name, seconds: &str| {
        ask(name, "GET /kv/cond/new", &format!("Prefer: wait={seconds}\r\nIf-None-Match: \"{{tag}}\"\r\n"))
    };
    vec![
        get("for the tag it waits on", "/kv/cond/new").body("3"),
        prefer("waits in vain", "1").status(304),
        get("waits in vain by address", "/kv/cond/new?wait=1&seen={tag}").status(304),
        get("waits in vain for an entry", "/kv/cond/no?wait=1&seen=none").status(404),
        prefer("does not wait", "0").status(304),
        prefer("waits for no time that is none", "soon").status(304),
        get("what has not been seen comes at once", "/kv/cond/new?wait=20").body("3"),
        get("what is there comes at once", "/kv/cond/new?wait=20&seen=none").body("3"),
        get("wait that is no number", "/kv/cond/new?wait=soon&seen=none").status(400),
    ]
}

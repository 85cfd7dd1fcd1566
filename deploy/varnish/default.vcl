# kvs behind Varnish 7 (VCL 4.1). As /etc/varnish/default.vcl:
#
#   client -> Varnish -> kvs, or the web server in front of kvs
#
# It keeps only what kvs allows: the value of a single key, in buckets whose policy has a `max_age`. kvs must tell it of
# changes, in config.yaml beside the program:
#
#   purge: http://127.0.0.1:6081      where Varnish listens, and below it the path where kvs is mounted, if it is below one
#   max_age: 1h
#
# docs/hooks.md says what is promised and what is not.
vcl 4.1;

import std;

# Where kvs listens. If a web server with several sites stands there, name ours in the probe (`.host_header = "..."`).
backend kvs {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 1s;
    # A read may wait: `max_wait`, and some more.
    .first_byte_timeout = 40s;
    .probe = {
        .url = "/status";
        .interval = 5s;
        .timeout = 2s;
        .window = 5;
        .threshold = 3;
    }
}

# Who may purge: the machines that kvs runs on. Behind something that ends TLS on this machine every client comes from
# 127.0.0.1, unless it speaks the PROXY protocol to Varnish.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ purgers) {
            return (synth(403, "Only kvs may purge"));
        }
        return (purge);
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # What an answer to a secret says is for nobody else.
    if (req.http.Authorization || req.http.X-KVS-Auth) {
        return (pass);
    }
    # Who waits for a change asks kvs, not a copy of what was.
    if (req.http.Prefer ~ "(?i)wait" || req.url ~ "[?&](wait|seen)=") {
        return (pass);
    }
    # Varnish does not judge this one, nor pass it on with a read that it may keep.
    if (req.http.If-Unmodified-Since) {
        return (pass);
    }
    # Nor If-Match. kvs takes it under the other name as well and says that its answer varies with it, so that a copy goes
    # only to who sent the same; a 412 is never kept.
    if (req.http.If-Match) {
        set req.http.X-If-Match = std.collect(req.http.If-Match);
        unset req.http.If-Match;
    }
    # kvs knows no cookies.
    unset req.http.Cookie;
    return (hash);
}

# One kvs is behind this, under whatever name it was asked for; kvs purges by the name that `purge` has.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # What is purged must not be served on while it is fetched anew.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    # All else, whoever answers: not kept, and no request waits for another's answer.
    if (beresp.http.Cache-Control !~ "(?i)s-maxage=[1-9]") {
        set beresp.uncacheable = true;
        set beresp.ttl = 120s;
    }
    return (deliver);
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
    # Nobody purges the caches between here and the client.
    if (resp.http.Cache-Control ~ "(?i)s-maxage") {
        set resp.http.Cache-Control = "no-cache";
        unset resp.http.Age;
    }
}

# kvs behind Varnish 7 (VCL 4.1). Install this file as /etc/varnish/default.vcl:
#
#   client -> Varnish -> kvs, or the web server in front of kvs
#
# It keeps only what kvs allows: the value of a single key, in buckets whose policy has a `max_age`. kvs must purge it
# after changes. For that, write into config.yaml next to the program:
#
#   purge: http://127.0.0.1:6081      where Varnish listens; if kvs is mounted below a path, add this path
#   max_age: 1h
#
# docs/hooks.md says what this guarantees and what it does not.
vcl 4.1;

import std;

# Where kvs listens. If this is a web server with several sites, name that of kvs in the probe (`.host_header = "..."`).
backend kvs {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 1s;
    # Longer than the longest wait of a read (`max_wait`).
    .first_byte_timeout = 40s;
    .probe = {
        .url = "/status";
        .interval = 5s;
        .timeout = 2s;
        .window = 5;
        .threshold = 3;
    }
}

# The machines that may purge: those that kvs runs on. If a TLS proxy on this machine is in front of Varnish, every
# client comes from 127.0.0.1, unless the proxy uses the PROXY protocol.
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
    # The response to a request with a secret is for this client only.
    if (req.http.Authorization || req.http.X-KVS-Auth) {
        return (pass);
    }
    # An event stream lasts as long as its client, so Varnish only passes its bytes on.
    if (req.http.Accept ~ "(?i)text/event-stream") {
        return (pipe);
    }
    # A long poll must reach kvs; a cached response would be old.
    if (req.http.Prefer ~ "(?i)wait" || req.url ~ "[?&](wait|seen)=") {
        return (pass);
    }
    # Varnish does not evaluate this condition, and does not pass it on with a read that it may cache.
    if (req.http.If-Unmodified-Since) {
        return (pass);
    }
    # The same holds for If-Match. kvs accepts it under another name too, and its response varies with that header. So a
    # cached response is used only for requests with the same header; a 412 is never cached.
    if (req.http.If-Match) {
        std.collect(req.http.If-Match);
        set req.http.X-If-Match = req.http.If-Match;
        unset req.http.If-Match;
    }
    std.collect(req.http.X-If-Match);
    # kvs uses no cookies.
    unset req.http.Cookie;
    return (hash);
}

# There is one kvs, whatever the Host of a request is; kvs purges with the host name in `purge`.
sub vcl_hash {
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # A purged response must not be served while a new one is fetched.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    # All other responses are not cached, and no request waits for the response to another one.
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
    # The caches between Varnish and the client are not purged.
    if (resp.http.Cache-Control ~ "(?i)s-maxage") {
        set resp.http.Cache-Control = "no-cache";
        unset resp.http.Age;
    }
}

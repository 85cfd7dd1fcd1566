//! `kvs serve --check-config`, and settings that need the whole program.

use super::{Place, Run};

const CONFIG: &str = "\
# comment
max_age: 30s
cors: '*'
http: [127.0.0.1:8080, '[::1]:8080']
buckets:
  shop: {reads: secret}
  news:
    reads: listed
    max_age: 60s
";

fn checked(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Run {
    place.with(&[&["serve", "--check-config"], args].concat(), env, b"")
}

#[test]
fn every_setting_is_shown_with_its_source() {
    let place = Place::new();
    place.file("config.yaml", CONFIG);
    place.file("auth.txt", "hidden-secret\nother-secret read\n");
    let args = ["--max-waiters", "5", "--policy", "shop: timestamps=client", "--base-path", "/kvs"];
    let run = checked(&place, &args, &[("KVS_MAX_WAIT", "3s"), ("KVS_STORE", "yaml:elsewhere")]).ok();
    let lines: Vec<_> = run.text().lines().collect();
    for line in [
        "store: yaml:elsewhere  # KVS_STORE",
        "auth: auth.txt  # default; 2 secrets",
        "max_value: 1MiB  # default",
        "http: [127.0.0.1:8080, '[::1]:8080']  # config.yaml line 4",
        "fastcgi: none  # default",
        "base_path: /kvs  # flag",
        "max_wait: 3s  # KVS_MAX_WAIT",
        "max_waiters: 5  # flag",
        "reads: open  # default",
        "max_age: 30s  # config.yaml line 2",
        "cors: '*'  # config.yaml line 3",
        "buckets.news: {reads: listed, writes: secret, timestamps: server, max_age: 60s, max_value: 1 MiB}  # config.yaml line 7",
        "buckets.shop: {reads: secret, writes: secret, timestamps: client, max_age: 30s, max_value: 1 MiB}  # flag, config.yaml line 6",
    ] {
        assert!(lines.contains(&line), "{line} is not in {lines:#?}");
    }
    assert!(!run.text().contains("-secret") && run.err.is_empty(), "{run:?}");
    assert!(!place.path("elsewhere").exists() && !place.path("data").exists());
}

#[test]
fn the_output_is_valid_in_the_file() {
    let place = Place::new();
    let args = ["--cors", "https://a.example,http://localhost:1", "--http", "[::1]:80", "--max-age", "5s"];
    let shown = checked(&place, &args, &[]).ok();
    let given = shown.text().lines().filter(|line| line.ends_with("# flag")).collect::<Vec<_>>().join("\n");
    place.file("config.yaml", given.as_bytes());
    let again = checked(&place, &[], &[]).ok();
    let values = |run: &Run| {
        let lines = run.text().lines().map(|line| line.split("  # ").next().unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(values(&shown), values(&again));
}

#[test]
fn errors_are_named_with_exit_code_2() {
    let place = Place::new();
    for (config, expected) in [
        ("max_vaule: 1\n", "config.yaml: line 1: there is no setting `max_vaule`; did you mean `max_value`?"),
        ("\nmax_value: 11GiB\n", "config.yaml: line 2: max_value: must be at most 10 GiB"),
        (
            "buckets:\n  shop:\n    raeds: open\n",
            "config.yaml: line 3: shop: there is no field `raeds`; did you mean `reads`?",
        ),
        ("buckets:\n  a: {}\n  a: {}\n", "config.yaml: line 3: `a` is given twice"),
        ("buckets:\n  _kvs.throttle: {}\n", "config.yaml: line 2: the bucket _kvs.throttle is reserved for kvs"),
        ("cors: https://app.example/\n", "config.yaml: line 1: cors: bad origin"),
        ("reads: open\nreads: secret\n", "config.yaml: line 2: `reads` is given twice"),
    ] {
        place.file("config.yaml", config);
        checked(&place, &[], &[]).fails(2, expected);
        place.run(&["get", "a"]).fails(2, expected);
    }
    place.file("config.yaml", "");
    place.file("auth.txt", "a-secret\nhidden-secret fly\n");
    let run = checked(&place, &[], &[]).fails(2, "auth.txt: auth file, line 2");
    assert!(!run.err.contains("hidden"), "{run:?}");
    checked(&place, &["--auth", "none.txt"], &[]).fails(2, "none.txt");
    checked(&place, &["--config", "none.yaml"], &[]).fails(2, "none.yaml");
    checked(&place, &["--policy", "shop: reads=closed"], &[]).fails(2, "open, secret or listed");
    checked(&place, &[], &[("KVS_POLICY", "shop")]).fails(2, "NAME: reads=secret");
    checked(&place, &[], &[("KVS_MAX_VALUE", "11GiB")]).fails(2, "KVS_MAX_VALUE: must be at most 10 GiB");
}

#[test]
fn under_a_web_server_policies_come_from_the_environment() {
    let place = Place::new();
    let home = place.0.path().to_str().unwrap();
    place.run(&["set", "a", "1"]).ok();
    let get = |target: &str, policies: &str| {
        let (_, query) = target.split_once('?').unwrap_or((target, ""));
        let env = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", target),
            ("QUERY_STRING", query),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("KVS_HOME", home),
            ("KVS_POLICY", policies),
            ("KVS_CORS", "*"),
        ];
        place.with(&[], &env, b"").ok().text().to_owned()
    };
    let open = get("/?k=a", "shop: reads=secret; default: max_age=60s");
    assert!(open.to_lowercase().contains("cache-control: public, max-age=0, s-maxage=60, must-revalidate"), "{open}");
    assert!(open.to_lowercase().contains("access-control-allow-origin: *"), "{open}");
    let listed = get("/kv/default?keys", "default: reads=listed");
    assert!(listed.contains("{\"keys\":[\"a\"],\"cursor\":null}"), "{listed}");
    let closed = get("/?k=a", "default: reads=secret");
    assert!(closed.starts_with("Status: 403"), "{closed}");
}

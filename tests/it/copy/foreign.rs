//! Copies of tables of pgkv and Poky, created as those programs create them.

use std::sync::Arc;

use kvs::copy::{CopyJob, CopyReport, CopySettings, Mode};
use kvs::model::{Bucket, Clock, Entry, ErrorKind, SystemClock, Time};
use kvs::postgres::{ForeignTable, Layout};
use kvs::store::Store;
use kvs::yaml::{YamlOptions, YamlStore};

use super::{Held, all, copied, everything, memory, settings};
use crate::postgres::{Server, table};

fn psql(sql: &str) -> String {
    Server::shared().psql(sql)
}

/// A table of pgkv with a name that needs quotes, in its own schema.
fn pgkv_table() -> (String, String) {
    let (schema, name) = (table(), format!("My-{} table", table()));
    psql(&format!(
        "CREATE SCHEMA {schema}; CREATE UNLOGGED TABLE {schema}.\"{name}\" (key text PRIMARY KEY, value bytea NOT NULL, \
         expires_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), \
         updated_at timestamptz NOT NULL DEFAULT now()); \
         CREATE INDEX ON {schema}.\"{name}\" (expires_at) WHERE expires_at IS NOT NULL"
    ));
    let url = Server::shared().url(&format!("schema={schema}&table={}", name.replace(' ', "%20")));
    (url, format!("{schema}.\"{name}\""))
}

fn open(url: &str, layout: Layout) -> Arc<ForeignTable> {
    Arc::new(ForeignTable::open(url, layout, &SystemClock).unwrap())
}

fn pgkv(url: &str) -> Arc<ForeignTable> {
    open(url, Layout::Pgkv { bucket: Bucket::new("app").unwrap() })
}

async fn take(from: Arc<ForeignTable>, to: &Arc<dyn Store>, how: CopySettings) -> CopyReport {
    CopyJob::from_source(from, to.clone(), how).run().await.unwrap()
}

#[track_caller]
fn entry<'a>(held: &'a Held, key: &str) -> &'a Entry {
    held.iter().find(|(found, _)| found.as_str() == key).unwrap().1.as_ref().unwrap()
}

#[track_caller]
fn has_revisions_of_its_own(held: &Held) {
    let mut revisions: Vec<_> = held.iter().map(|(_, entry)| entry.as_ref().unwrap().revision).collect();
    revisions.sort_unstable();
    assert!(revisions.is_sorted_by(|a, b| a < b), "two entries have the same");
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_pgkv_is_copied_with_its_times() {
    let (url, name) = pgkv_table();
    psql(&format!(
        "INSERT INTO {name} VALUES \
         ('text', convert_to('grün', 'UTF8'), NULL, '2024-01-02 03:04:05.678901+00', '2024-02-03 04:05:06.789012+02'), \
         ('binary', '\\x00ff80', '2100-01-01 00:00:00.000001+00', '2024-01-01', '2024-01-01'), \
         ('', 'no key', NULL, now(), now()), (E'line\\nbreak', 'x', NULL, now(), now()), \
         (repeat('ä', 600), 'x', NULL, now(), now()), ('a: # ~', '', NULL, now(), now()), \
         ('ended', 'x', now() - interval '1 s', now(), now()), ('for ever', 'x', 'infinity', now(), now()), \
         ('never', 'x', '-infinity', now(), now()), ('far', 'x', '9999-01-01', now(), now()), \
         ('ahead', 'x', NULL, now(), now() + interval '1 year'), ('old', 'x', NULL, '1950-01-01', '1950-01-01'), \
         ('ancient', 'x', NULL, '-infinity', now())"
    ));
    // Many rows of the same time, as after a transaction.
    psql(&format!("INSERT INTO {name} SELECT 'k' || n, 'v' FROM generate_series(1, 2500) n"));
    let to = memory();
    let refused = take(pgkv(&url), &to, settings()).await;
    assert!(to.buckets().await.unwrap().is_empty());
    let invalid: Vec<String> = refused.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(invalid.len(), 4, "{invalid:?}");
    for (invalid, expected) in
        invalid.iter().zip(["must not be empty", "outside of the years", "U+000A", "at most 1024 bytes"])
    {
        assert!(invalid.starts_with("bucket \"app\", key ") && invalid.contains(expected), "{invalid}");
    }
    let skip = || CopySettings { skip_incompatible: true, ..settings() };
    let report = take(pgkv(&url), &to, skip()).await;
    copied(&report, 2507, 0);
    let held = all(&*to, "app").await;
    let text = entry(&held, "text");
    assert_eq!((&text.value[..], text.content_type.is_default()), ("grün".as_bytes(), true));
    assert_eq!(text.created, time("2024-01-02T03:04:05.678901Z"));
    assert_eq!(text.updated(), time("2024-02-03T02:05:06.789012Z"));
    assert_eq!((text.modified, text.expires), (None, None));
    let binary = entry(&held, "binary");
    assert_eq!((&binary.value[..], binary.content_type.as_str()), (&b"\0\xff\x80"[..], "application/octet-stream"));
    assert_eq!(binary.expires, Some(time("2100-01-01T00:00:00.000001Z")));
    assert_eq!(entry(&held, "for ever").expires.or(entry(&held, "far").expires), None);
    assert!(entry(&held, "ahead").updated() <= SystemClock.now());
    assert_eq!(entry(&held, "old").created, time("1950-01-01T00:00:00Z"));
    has_revisions_of_its_own(&held);

    // Again: raised revisions are recognised; new and changed rows are copied.
    let verify = CopySettings { mode: Mode::Verify, ..skip() };
    let mut again = take(pgkv(&url), &to, verify.clone()).await.differences.first;
    // Rows with a future time still have it, and were copied with it.
    again.retain(|difference| difference.key.as_str() != "ahead");
    assert_eq!(again, []);
    psql(&format!(
        "UPDATE {name} SET value = 'changed', updated_at = now() WHERE key = 'k7'; DELETE FROM {name} WHERE key = 'k9'; \
         UPDATE {name} SET expires_at = '2100-01-01' WHERE key = 'k11'; \
         UPDATE {name} SET value = 'w' WHERE key IN ('k12', 'k13'); DELETE FROM {name} WHERE key = 'ahead'; \
         INSERT INTO {name} SELECT 'k10a', 'v', NULL, created_at, updated_at FROM {name} WHERE key = 'k10'"
    ));
    let report = take(pgkv(&url), &to, skip()).await;
    copied(&report, 5, 2);
    let after = all(&*to, "app").await;
    assert_eq!(entry(&after, "k7").value, "changed");
    assert_eq!(entry(&after, "k11").revision, entry(&held, "k11").revision);
    assert_eq!(entry(&after, "k10a").value, "v");
    has_revisions_of_its_own(&after);
    copied(&take(pgkv(&url), &to, skip()).await, 0, 0);
    assert!(take(pgkv(&url), &to, verify).await.is_equal());
    assert_eq!(psql(&format!("SELECT count(*) FROM {name}")), "2512", "the table is only read");
}

/// A table of Poky, in either of its layouts.
fn poky_table(partitioned: bool) -> String {
    let name = table();
    let utc = |column: &str| {
        format!("{column} timestamptz NOT NULL DEFAULT now() CHECK (extract(timezone FROM {column}) = '0')")
    };
    let (created, modified) = (utc("created_at"), utc("modified_at"));
    let end = if partitioned { ")" } else { ", PRIMARY KEY (bucket, key))" };
    psql(&format!(
        "SET timezone = 'UTC'; CREATE TABLE {name} (bucket varchar(256) NOT NULL, key varchar(1024) NOT NULL, \
         data text, {created}, {modified}{end}"
    ));
    if partitioned {
        for bucket in ["photos", "tool_tips"] {
            psql(&format!(
                "CREATE TABLE {name}_{bucket} (CHECK (bucket = '{bucket}'), PRIMARY KEY (key)) INHERITS ({name})"
            ));
        }
    }
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_poky_is_copied_flat_or_partitioned() {
    for partitioned in [false, true] {
        let name = poky_table(partitioned);
        let into = |bucket: &str| if partitioned { format!("{name}_{bucket}") } else { name.clone() };
        let (photos, tips) = (into("photos"), into("tool_tips"));
        psql(&format!(
            "SET timezone = 'UTC'; INSERT INTO {photos} VALUES ('photos', 'a,b.c-d_1', 'été', '2013-05-18 16:43:23.361331+00', \
             '2013-06-01 00:00:00+00'), ('photos', 'none', NULL, '2013-05-18', '2013-05-18'), \
             ('photos', 'ahead', 'x', '2013-05-18', '2200-01-01'), ('photos', 'big', repeat('x', 1000), now(), now()); \
             INSERT INTO {tips} SELECT 'tool_tips', n || 'ü', '{{\"n\": ' || n || '}}', '2014-01-01', '2014-01-01' \
             FROM generate_series(1, 1200) n"
        ));
        let url = Server::shared().url(&format!("table={name}"));
        let folder = tempfile::tempdir().unwrap();
        let to: Arc<dyn Store> = Arc::new(YamlStore::open(folder.path(), YamlOptions::default()).unwrap());
        let report = take(open(&url, Layout::Poky), &to, settings()).await;
        copied(&report, 1204, 0);
        assert_eq!((report.buckets, report.rejected.len()), (2, 0));
        let held = all(&*to, "photos").await;
        let one = entry(&held, "a,b.c-d_1");
        assert_eq!((&one.value[..], one.content_type.as_str()), ("été".as_bytes(), "text/plain; charset=utf-8"));
        assert_eq!(one.created, time("2013-05-18T16:43:23.361331Z"));
        assert_eq!((one.updated(), one.modified), (time("2013-06-01T00:00:00Z"), Some(time("2013-06-01T00:00:00Z"))));
        assert_eq!(entry(&held, "none").value, "");
        let ahead = entry(&held, "ahead");
        assert_eq!(ahead.modified, Some(time("2200-01-01T00:00:00Z")));
        assert!(ahead.updated() <= SystemClock.now(), "a date from the future does not carry the bucket there");
        assert_eq!(all(&*to, "tool_tips").await.len(), 1200);

        // Rows that kvs cannot hold are reported before anything is written.
        psql(&format!(
            "SET timezone = 'UTC'; INSERT INTO {name} VALUES ('no bucket!', 'a', 'x'), ('no bucket!', 'b', 'x'), \
             ('_kvs.copy', 'a', 'x'), (repeat('b', 65), 'a', 'x'), ('photos', E'tab\\t', 'x')"
        ));
        let before = everything(&*to).await;
        let report = take(open(&url, Layout::Poky), &to, settings()).await;
        let reported: Vec<String> = report.rejected.iter().map(ToString::to_string).collect();
        let has = |expected: &str| reported.iter().any(|reported| reported.contains(expected));
        assert_eq!(reported.len(), 4, "{reported:?}");
        assert!(
            has("bucket \"no bucket!\", 2 rows: bad bucket name") && has("key \"tab\\t\": bad key"),
            "{reported:?}"
        );
        assert!(has("\"_kvs.copy\", 1 rows: names that begin with _kvs"), "{reported:?}");
        assert_eq!(everything(&*to).await, before);
        // Rows with a future time still have it, and may be copied again.
        let report = take(open(&url, Layout::Poky), &to, CopySettings { skip_incompatible: true, ..settings() }).await;
        assert!(report.is_equal() && report.copied <= 1, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_entry_of_a_key_in_two_partitions_is_copied() {
    let name = poky_table(true);
    psql(&format!(
        "SET timezone = 'UTC'; INSERT INTO {name} VALUES ('photos', 'a', 'old', '2013-01-01', '2013-01-01'), \
         ('photos', 'b', 'only', '2013-01-01', '2013-01-01'); \
         INSERT INTO {name}_photos VALUES ('photos', 'a', 'new', '2013-01-01', '2014-01-01')"
    ));
    let to = memory();
    let url = Server::shared().url(&format!("table={name}"));
    let report = take(open(&url, Layout::Poky), &to, settings()).await;
    assert_eq!(report.rejected.len(), 1);
    assert!(report.rejected[0].to_string().contains("occurs more than once"), "{report:?}");
    let report = take(open(&url, Layout::Poky), &to, CopySettings { skip_incompatible: true, ..settings() }).await;
    copied(&report, 2, 0);
    assert_eq!(entry(&all(&*to, "photos").await, "a").value, "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_different_table_is_an_error() {
    let server = Server::shared();
    let (other, poky) = (table(), poky_table(false));
    psql(&format!("CREATE TABLE {other} (key text, value text)"));
    for (parameters, layout, expected) in [
        ("table=nowhere".to_owned(), Layout::Poky, "there is no table \"nowhere\" in this database"),
        ("schema=nowhere".to_owned(), Layout::Poky, "there is no table \"nowhere.poky\""),
        (format!("table={other}"), Layout::Poky, "is not a table of Poky: expected the columns bucket, key, data"),
        (format!("table={other}"), Layout::Pgkv { bucket: Bucket::default() }, "is not a table of pgkv"),
        (format!("table={poky}"), Layout::Pgkv { bucket: Bucket::default() }, "is not a table of pgkv"),
    ] {
        let copying = CopyJob::from_source(open(&server.url(&parameters), layout), memory(), settings());
        let error = copying.run().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(expected), "{error}");
    }
    for bad in ["table=", "schema=%ff", "tabel=x"] {
        let url = server.tcp_url("hunter2", bad);
        let error = ForeignTable::open(&url, Layout::Poky, &SystemClock).err().unwrap();
        assert!(error.kind() == ErrorKind::Invalid && !error.to_string().contains("hunter2"), "{error}");
    }
    let name = |url: &str| ForeignTable::open(url, Layout::Poky, &SystemClock).unwrap().name();
    assert_eq!(name("postgresql://me:x@h/db?pool_size=3"), "Poky postgresql://h:5432/db poky");
}

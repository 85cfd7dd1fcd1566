//! Keys in order: listed, counted, read in pages, deleted by prefix.

use kvs::blocking::Client;
use kvs::model::{Key, Projection, Scan};

use super::on_each_store;

fn three(client: &Client) {
    client.set_many(&[("user/1", "Ada"), ("user/2", "Bob"), ("room/1", "Hall")]).unwrap();
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(Key::as_str).collect()
}

#[test]
fn test_keys() {
    on_each_store(|client, _| {
        three(client);
        assert_eq!(names(&client.keys("").unwrap()), ["room/1", "user/1", "user/2"]);
        assert_eq!(names(&client.keys("user/").unwrap()), ["user/1", "user/2"]);
        assert_eq!(names(&client.keys("nobody").unwrap()), [""; 0]);
        let some = client.scan(Scan { limit: 2, projection: Projection::Keys, ..Scan::default() }).unwrap();
        assert_eq!(some.entries.len(), 2);
    });
}

#[test]
fn test_scan() {
    on_each_store(|client, _| {
        three(client);
        let page = client.scan(Scan { prefix: "user/".into(), ..Scan::default() }).unwrap();
        let found: Vec<_> =
            page.entries.into_iter().map(|(key, entry)| (key.to_string(), entry.unwrap().value)).collect();
        assert_eq!(found, [("user/1".to_owned(), "Ada".into()), ("user/2".to_owned(), "Bob".into())]);
    });
}

#[test]
fn test_count() {
    on_each_store(|client, _| {
        three(client);
        assert_eq!((client.count("").unwrap(), client.count("user/").unwrap(), client.count("x").unwrap()), (3, 2, 0));
    });
}

#[test]
fn test_delete_prefix() {
    on_each_store(|client, _| {
        three(client);
        // Wildcards of SQL have no meaning here.
        client.set_many(&[("user%", "1"), ("user_", "2"), ("USER/3", "3")]).unwrap();
        assert_eq!(client.delete_prefix("user/").unwrap(), 2);
        assert_eq!(client.delete_prefix("user/").unwrap(), 0);
        assert_eq!(client.delete_prefix("user%").unwrap(), 1);
        assert_eq!(names(&client.keys("").unwrap()), ["USER/3", "room/1", "user_"]);
    });
}

#[test]
fn test_large_batch() {
    on_each_store(|client, _| {
        let pairs: Vec<(String, String)> = (0..1000).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
        client.set_many(&pairs).unwrap();
        assert_eq!(client.count("").unwrap(), 1000);
        let found = client.get_many(&pairs.iter().map(|(key, _)| key).collect::<Vec<_>>()).unwrap();
        assert!(found.iter().zip(&pairs).all(|(found, (_, value))| found.as_deref() == Some(value.as_bytes())));
    });
}

/// Pages continue after a cursor instead of an offset, so that writes in between neither repeat nor skip a key.
#[test]
fn test_pagination() {
    on_each_store(|client, _| {
        let pairs: Vec<(String, &str)> = (0..100).map(|n| (format!("k{n:03}"), "x")).collect();
        client.set_many(&pairs).unwrap();
        let mut query = Scan { limit: 25, projection: Projection::Keys, ..Scan::default() };
        let mut found = vec![];
        for turn in 1..=4 {
            let page = client.scan(query.clone()).unwrap();
            assert_eq!((page.entries.len(), page.cursor.is_some()), (25, turn < 4));
            query.after = page.cursor.map(|key| key.to_string());
            found.extend(page.entries.into_iter().map(|(key, _)| key.to_string()));
            client.set("k0", "written between two pages, before the cursor").unwrap();
        }
        assert!(found.iter().eq(pairs.iter().map(|(key, _)| key)));
    });
}

//! Stores opened by their URL: `kvs::open` and `kvs::blocking::open`.

use kvs::model::ErrorKind;

#[tokio::test]
async fn each_kind_of_url_opens_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let yaml = format!("yaml:{}", data.display());
    for url in [yaml.as_str(), "memory:", &crate::postgres::empty("")] {
        let client = kvs::open(url).unwrap();
        client.set("door", "open").await.unwrap();
        assert_eq!(client.get_string("door").await.unwrap().as_deref(), Some("open"), "{url}");
    }
    assert!(data.join("default.yaml").is_file());
    let again = kvs::open(&yaml).unwrap();
    assert_eq!(again.get_string("door").await.unwrap().as_deref(), Some("open"));
}

#[test]
fn a_program_without_a_runtime_opens_the_same_stores() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("yaml:{}", folder.path().join("data").display());
    for url in [yaml.as_str(), "memory:", &crate::postgres::empty("")] {
        let client = kvs::blocking::open(url).unwrap();
        client.set("door", "open").unwrap();
        assert_eq!(client.get_string("door").unwrap().as_deref(), Some("open"), "{url}");
    }
}

#[test]
fn a_wrong_url_is_refused_and_not_repeated() {
    for url in ["", "data", "yaml:", "memory:x", "redis://me:hunter2@h/", "postgresql://h/db?tabel=x&password=hunter2"]
    {
        let Err(error) = kvs::open(url) else { panic!("{url} was opened") };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

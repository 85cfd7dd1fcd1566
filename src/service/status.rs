//! `GET /status`: `ok`, or what a person must mend.
//!
//! Open to all, so it is cheap, and tells the name and line of a damaged file but not the folder it is in.

use axum::response::Response;

use super::Service;
use super::reply::{self, Cache, Refusal};
use crate::model::{Batch, Bucket, Error, Kind};

/// Answers `GET /status`.
pub(crate) async fn answer(service: &Service) -> Result<Response, Refusal> {
    // One at a time: however many ask, the store is not kept busy with answering them.
    let _turn = service.checking.lock().await;
    let buckets = service.store.buckets().await.map_err(told)?;
    for bucket in &buckets {
        check(service, bucket).await?;
    }
    Ok(reply::text("ok", Cache::Never))
}

async fn check(service: &Service, bucket: &Bucket) -> Result<(), Refusal> {
    service.store.get(bucket, &[]).await.map_err(told)?;
    // A store that serves the last good state of a damaged file is found out by writing nothing: it refuses even that.
    match service.store.apply(bucket, Batch::default()).await {
        Ok(_) => Ok(()),
        // Others hold it, so it works.
        Err(error) if error.kind() == Kind::Busy => Ok(()),
        Err(error) => Err(told(error)),
    }
}

fn told(error: Error) -> Refusal {
    if error.kind() != Kind::Damaged {
        return error.into();
    }
    tracing::error!("{error}");
    Refusal::damaged(without_folders(&error.to_string()))
}

/// The text with every path in it cut down to its last part. A folder may have blanks in its name: from a word that
/// begins a path up to the word that holds the last slash, all is cut.
fn without_folders(text: &str) -> String {
    let mut words: Vec<&str> = vec![];
    let mut start = None;
    for word in text.split(' ') {
        let bare = word.trim_start_matches(['"', '\'', '(', '`']);
        if start.is_none() && (bare.starts_with('/') || bare.starts_with("./") || bare.starts_with("../")) {
            start = Some(words.len());
        }
        match (start, word.rsplit_once('/')) {
            (Some(from), Some((_, name))) => {
                words.truncate(from);
                words.push(name);
            }
            (None, Some((_, name))) if name.contains(".yaml") || name.contains(".lock") => words.push(name),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_to_its_last_part() {
        let cases = [
            ("/srv/kv/data/default.yaml:12: not YAML", "default.yaml:12: not YAML"),
            ("data/default.yaml, line 12: not YAML", "default.yaml, line 12: not YAML"),
            ("reading /home/my own/kv data/default.yaml:3: bad", "reading default.yaml:3: bad"),
            ("\"/srv/kv/default.yaml\" line 3", "default.yaml\" line 3"),
            ("the key \"kitchen/temp\" stands twice", "the key \"kitchen/temp\" stands twice"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_folders(text), expected);
        }
    }

    #[test]
    fn only_damage_is_told() {
        let told = |kind| format!("{:?}", told(Error::new(kind, "/srv/a/default.yaml:3: bad")));
        assert!(told(Kind::Damaged).contains("default.yaml:3"));
        assert!(!told(Kind::Damaged).contains("srv"));
        assert!(!told(Kind::Failed).contains("default.yaml"));
    }
}

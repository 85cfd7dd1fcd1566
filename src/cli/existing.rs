//! What is to be read must be there. A slip in the name of a folder or a bucket is told, with the names that there are,
//! rather than taken for a store without entries: an export of that would replace a good backup by an empty file.

use std::path::Path;

use super::failure::{Done, Failure};
use super::nearest::nearest;
use super::open::{Opened, StoreUrl};
use super::settings::Settings;
use crate::api::Client;
use crate::model::Bucket;

/// So many names are told.
const TOLD: usize = 20;

/// A client of the bucket that is to be read.
///
/// # Errors
/// If its store or the bucket is not there.
pub(super) async fn client(settings: &Settings) -> Done<Client> {
    let opened = opened(&settings.store, settings.open()?).await?;
    let bucket = settings.bucket();
    bucket_in(&settings.store, &opened, &bucket).await?;
    Ok(Client::new(opened.store).with_bucket(bucket))
}

/// The buckets to work on, for commands that work on all unless one is named.
///
/// # Errors
/// If the store or a bucket that was named is not there: a wrong name in a nightly `kvs check` is not to look like health.
pub(super) async fn buckets(settings: &Settings) -> Done<(Opened, Vec<Bucket>)> {
    let opened = opened(&settings.store, settings.open()?).await?;
    let buckets = match &settings.bucket {
        Some(one) => {
            bucket_in(&settings.store, &opened, one).await?;
            vec![one.clone()]
        }
        None => opened.store.buckets().await?,
    };
    Ok((opened, buckets))
}

/// The same store, whose folder or tables are there.
///
/// # Errors
/// If they are not.
pub(super) async fn opened(url: &StoreUrl, opened: Opened) -> Done<Opened> {
    if let Some(folder) = url.folder().filter(|folder| !folder.is_dir()) {
        let text = format!("there is no folder {}; {}", folder.display(), beside(&folder));
        return Err(Failure::Failed(text));
    }
    // Looked at first, since the tables would be made by whatever is done with the store.
    if let Some(store) = &opened.postgres
        && !store.is_made().await?
    {
        return Err(Failure::Failed(format!("there are no tables of kvs at {url}; what is stored first makes them")));
    }
    Ok(opened)
}

async fn bucket_in(url: &StoreUrl, opened: &Opened, bucket: &Bucket) -> Done {
    match instead_of(bucket, opened).await? {
        None => Ok(()),
        Some(others) => Err(Failure::Failed(format!("there is no bucket {bucket} in {url}; {others}"))),
    }
}

/// Which buckets there are in the store, if this one is not there.
///
/// # Errors
/// If the store does not say.
pub(super) async fn instead_of(bucket: &Bucket, opened: &Opened) -> Done<Option<String>> {
    let all = opened.store.buckets().await?;
    let names: Vec<&str> = all.iter().filter(|bucket| !bucket.is_reserved()).map(Bucket::as_str).collect();
    Ok((!all.contains(bucket)).then(|| choice(bucket.as_str(), &names)))
}

/// Which name may have been meant, or which there are.
fn choice(written: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return "there is none yet".to_owned();
    }
    let listed = names.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > TOLD { format!(" and {} more", names.len() - TOLD) } else { String::new() };
    let meant = nearest(written, names).map_or(String::new(), |name| format!("did you mean {name}? "));
    let there = if names.len() == 1 { "there is" } else { "there are" };
    format!("{meant}{there} {listed}{more}")
}

/// What is in the place of a folder that is not there.
fn beside(folder: &Path) -> String {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(parent) else {
        let known = folder.ancestors().skip(1).find(|folder| folder.is_dir());
        return match known {
            Some(known) => format!("what there is of this path ends with {}", known.display()),
            None => "nothing of this path is there".to_owned(),
        };
    };
    let stores = entries.flatten().filter(|entry| holds_buckets(&entry.path()));
    let mut names: Vec<String> = stores.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.is_empty() {
        return format!("no folder in {} holds buckets", parent.display());
    }
    let written = folder.file_name().unwrap_or_default().to_string_lossy();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("{} in {}", choice(&written, &names), parent.display())
}

fn holds_buckets(folder: &Path) -> bool {
    let is_bucket = |name: &str| name.strip_suffix(".yaml").is_some_and(|name| Bucket::new(name).is_ok());
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| is_bucket(&name) && name != "config.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_the_likely_one_first_and_never_too_many() {
        assert_eq!(choice("shop", &[]), "there is none yet");
        assert_eq!(choice("shpo", &["news", "shop"]), "did you mean shop? there are news, shop");
        assert_eq!(choice("x", &["default"]), "there is default");
        let many: Vec<String> = (0..30).map(|n| format!("bucket{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(choice("x", &many).ends_with("bucket19 and 10 more"));
    }

    #[test]
    fn what_is_in_the_place_of_a_missing_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(beside(&data).starts_with("no folder in"));
        std::fs::create_dir(&data).unwrap();
        assert!(beside(&dir.path().join("dtaa")).starts_with("no folder in"), "it is empty");
        std::fs::File::create(data.join("default.yaml")).unwrap();
        let told = beside(&dir.path().join("dtaa"));
        assert_eq!(told, format!("did you mean data? there is data in {}", dir.path().display()));
        let deep = beside(&dir.path().join("a/b/c"));
        assert!(deep.ends_with(&dir.path().display().to_string()), "{deep}");
    }
}

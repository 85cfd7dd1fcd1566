//! Opens stores and buckets that must exist. A typo in a name is an error that lists the existing names. An empty store
//! instead would be dangerous: its export could replace a good backup.

use std::path::Path;

use super::open_store::{OpenStore, StoreUrl};
use crate::cli::config::settings::CliSettings;
use crate::cli::config::suggest::nearest;
use crate::cli::exit::{CliResult, Failure};
use crate::client::Client;
use crate::model::Bucket;
use crate::store::all_buckets;
use crate::yaml::fs::folder_of;

/// The maximum number of names that an error lists.
const MAX_NAMES: usize = 20;

/// A client of the bucket.
///
/// # Errors
/// If the store or the bucket does not exist.
pub(crate) async fn client(settings: &CliSettings) -> CliResult<Client> {
    let opened = opened(&settings.store, settings.open()?).await?;
    let bucket = settings.bucket();
    bucket_in(&settings.store, &opened, &bucket).await?;
    Ok(Client::new(opened.store).with_bucket(bucket))
}

/// The bucket that is named, else all buckets.
///
/// # Errors
/// If the store or the named bucket does not exist. Otherwise a nightly `kvs check` with a wrong name would succeed.
pub(crate) async fn buckets(settings: &CliSettings) -> CliResult<(OpenStore, Vec<Bucket>)> {
    let opened = opened(&settings.store, settings.open()?).await?;
    let buckets = match &settings.bucket {
        Some(one) => {
            bucket_in(&settings.store, &opened, one).await?;
            vec![one.clone()]
        }
        None => all_buckets(&*opened.store).await?,
    };
    Ok((opened, buckets))
}

/// Checks that the folder or the tables of the store exist.
///
/// # Errors
/// If they do not.
pub(crate) async fn opened(url: &StoreUrl, opened: OpenStore) -> CliResult<OpenStore> {
    if let Some(folder) = url.folder().filter(|folder| !folder.is_dir()) {
        let text = format!("there is no folder {}; {}", folder.display(), existing_folders(&folder));
        return Err(Failure::Failed(text));
    }
    // Checked first, because any use of the store creates the tables.
    if let Some(store) = &opened.postgres
        && !store.is_made().await?
    {
        return Err(Failure::Failed(format!("{url} has no kvs tables; the first write creates them")));
    }
    Ok(opened)
}

async fn bucket_in(url: &StoreUrl, opened: &OpenStore, bucket: &Bucket) -> CliResult {
    let others = match instead_of(bucket, opened).await {
        // Keys can be read without the right to list them.
        Err(Failure::Failed(text)) if url.is_remote() && text.contains("a secret is needed") => None,
        others => others?,
    };
    match others {
        None => Ok(()),
        Some(others) => Err(Failure::Failed(format!("there is no bucket {bucket} in {url}; {others}"))),
    }
}

/// The names of the other buckets, if this bucket does not exist.
///
/// # Errors
/// If the store cannot list its buckets.
pub(crate) async fn instead_of(bucket: &Bucket, opened: &OpenStore) -> CliResult<Option<String>> {
    let all = all_buckets(&*opened.store).await?;
    let names: Vec<&str> = all.iter().filter(|bucket| !bucket.is_reserved()).map(Bucket::as_str).collect();
    Ok((!all.contains(bucket)).then(|| choice(bucket.as_str(), &names)))
}

/// The most similar name, and the list of names.
fn choice(written: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return "there are no buckets yet".to_owned();
    }
    let listed = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > MAX_NAMES { format!(" and {} more", names.len() - MAX_NAMES) } else { String::new() };
    let meant = nearest(written, names).map_or(String::new(), |name| format!("did you mean {name}? "));
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{meant}there {verb} {listed}{more}")
}

/// The folders with buckets where a folder is missing.
fn existing_folders(folder: &Path) -> String {
    let parent = folder_of(folder);
    let Ok(entries) = std::fs::read_dir(parent) else {
        let known = folder.ancestors().skip(1).find(|folder| folder.is_dir());
        return match known {
            Some(known) => format!("only {} of this path exists", known.display()),
            None => "no part of this path exists".to_owned(),
        };
    };
    let stores = entries.flatten().filter(|entry| has_buckets(&entry.path()));
    let mut names: Vec<String> = stores.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.is_empty() {
        return format!("no folder in {} contains buckets", parent.display());
    }
    let written = folder.file_name().unwrap_or_default().to_string_lossy();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("{} in {}", choice(&written, &names), parent.display())
}

fn has_buckets(folder: &Path) -> bool {
    let is_bucket = |name: &str| name.strip_suffix(".yaml").is_some_and(|name| Bucket::new(name).is_ok());
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| is_bucket(&name) && name != "config.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_begins_with_a_suggestion_and_is_limited() {
        assert_eq!(choice("shop", &[]), "there are no buckets yet");
        assert_eq!(choice("shpo", &["news", "shop"]), "did you mean shop? there are news, shop");
        assert_eq!(choice("x", &["default"]), "there is default");
        let many: Vec<String> = (0..30).map(|n| format!("bucket{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(choice("x", &many).ends_with("bucket19 and 10 more"));
    }

    #[test]
    fn the_error_for_a_missing_folder_lists_folders_with_buckets() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(existing_folders(&data).starts_with("no folder in"));
        std::fs::create_dir(&data).unwrap();
        assert!(existing_folders(&dir.path().join("dtaa")).starts_with("no folder in"), "it is empty");
        std::fs::File::create(data.join("default.yaml")).unwrap();
        let text = existing_folders(&dir.path().join("dtaa"));
        assert_eq!(text, format!("did you mean data? there is data in {}", dir.path().display()));
        let deep = existing_folders(&dir.path().join("a/b/c"));
        assert_eq!(deep, format!("only {} of this path exists", dir.path().display()));
    }
}

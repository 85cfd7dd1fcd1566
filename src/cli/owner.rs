//! The owner of new files.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

/// Gives a file or a folder that root creates to the owner of the folder that it is in, who runs kvs. For other users
/// this has no effect.
pub(crate) fn give_to_owner_of_folder(file: &File, path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = std::fs::metadata(parent) {
        let _ = fchown(file, Some(folder.uid()), Some(folder.gid()));
    }
}

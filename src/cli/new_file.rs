//! New files of a site.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use crate::yaml::fs::folder_of;

/// Creates a file with exactly this mode, whatever the umask is, and writes it to the disk.
///
/// # Errors
/// `AlreadyExists` if there is such a file, and errors of the file system.
pub(crate) fn create(path: &Path, mode: u32, from: &mut dyn Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    give_to_owner_of_folder(&file, path);
    file.set_permissions(Permissions::from_mode(mode))?;
    io::copy(from, &mut file)?;
    file.sync_all()
}

/// Gives a file or a folder that root creates to the owner of the folder that it is in, who runs kvs. For other users
/// this has no effect.
pub(crate) fn give_to_owner_of_folder(file: &File, path: &Path) {
    if let Ok(folder) = std::fs::metadata(folder_of(path)) {
        let _ = fchown(file, Some(folder.uid()), Some(folder.gid()));
    }
}

//! Blobs as files: `blobs/<bucket>/<sha-256>` in the folder of the data.

mod blob_file;
mod blob_folder;
mod blob_status;
mod new_blob;
mod used_blobs;

pub(crate) use self::blob_folder::BlobFolder;
pub(crate) use self::blob_status::BlobStatus;
pub(crate) use self::used_blobs::UsedBlobs;

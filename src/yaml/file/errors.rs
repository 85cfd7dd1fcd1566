//! The errors of calls on the files of a bucket, and their meaning.

use std::io;

use crate::model::{Error, ErrorKind};
use crate::yaml::fs::UnusableFile;

/// Whether the file is missing or the process has no rights to it. Read access may then be enough.
pub(crate) fn is_missing_or_forbidden(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem)
}

/// Whether this process or this machine has too many open files.
pub(crate) fn is_too_many_open_files(e: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(e);
    errno.is_some_and(|errno| errno == rustix::io::Errno::MFILE || errno == rustix::io::Errno::NFILE)
}

/// Whether the cause of an error is that this process or this machine has too many open files. This is no fault of the
/// file, and `/status` finds out by itself whether files can be opened.
pub(crate) fn is_of_open_files(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.is_some_and(is_too_many_open_files)
}

/// Whether there is no room on the disk, or none is allowed.
pub(crate) fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// The error of a failed call, with advice for the operator.
pub(crate) fn io_error_with_advice(doing: String, e: io::Error) -> Error {
    let advice = match e.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            format!("kvs runs as user {user}; give the folder and the files in it to that user")
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount its file system so that it can be written".to_owned(),
        io::ErrorKind::ResourceBusy => {
            "a single file is mounted there, which cannot be replaced; mount its folder".to_owned()
        }
        io::ErrorKind::FileTooLarge => {
            let advice = "kvs may not write a file of that length; raise its limit of the length of files (ulimit -f)";
            return Error::new(ErrorKind::StorageFull, format!("{doing}: {advice}")).with_source(e);
        }
        _ if UnusableFile::caused(&e) => return Error::new(ErrorKind::Corrupt, doing).with_source(e),
        _ => return Error::io(doing, e),
    };
    Error::new(ErrorKind::PermissionDenied, format!("{doing}: {advice}")).with_source(e)
}

//! Tests of the file system of the operating system.

use super::*;

#[test]
fn symbolic_link_in_place_of_a_file_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (victim, link) = (folder.path().join("victim"), folder.path().join("default.lock"));
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    assert!(RealFileSystem.open(&link, OpenMode::Create).is_err());
    assert!(!victim.exists());
    RealFileSystem.open(&victim, OpenMode::Create).unwrap().write(0, b"x").unwrap();
    assert!(RealFileSystem.open(&link, OpenMode::Create).is_err());
    assert!(RealFileSystem.open(&link, OpenMode::Append).is_err());
    assert_eq!(RealFileSystem.resolve(&link).unwrap(), Some(victim.canonicalize().unwrap()));
    assert_eq!(RealFileSystem.resolve(&victim).unwrap(), None);
}

#[test]
fn appends_are_written_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.yaml");
    RealFileSystem.open(&path, OpenMode::Create).unwrap().write(0, b"one").unwrap();
    RealFileSystem.open(&path, OpenMode::Append).unwrap().write(0, b" two").unwrap();
    assert_eq!(&*RealFileSystem.open(&path, OpenMode::Read).unwrap().read(0, 9).unwrap(), b"one two");
}

#[test]
fn new_file_gets_the_rights_of_its_folder() {
    for (folder_mode, mode) in [(0o700, 0o600), (0o755, 0o644), (0o2770, 0o660), (0o777, 0o664), (0o711, 0o600)] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(folder_mode)).unwrap();
        let path = folder.path().join("default.lock");
        RealFileSystem.open(&path, OpenMode::Create).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, mode, "{folder_mode:o}");
        RealFileSystem.open(&path.with_extension("new"), OpenMode::Private).unwrap();
        assert_eq!(std::fs::metadata(path.with_extension("new")).unwrap().mode() & 0o7777, 0o600);
    }
    assert_eq!((shared_with(0o664, false), shared_with(0o660, false)), (0o644, 0o600));
}

#[test]
fn irregular_files_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for path in [folder.path(), &fifo, Path::new("/dev/zero")] {
        for how in [OpenMode::Read, OpenMode::Append, OpenMode::Create] {
            let error = RealFileSystem.open(path, how).err().unwrap();
            assert!(UnusableFile::caused(&error), "{}: {error}", path.display());
        }
    }
}

#[test]
fn new_folder_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let created = folder.path().join("above/data");
    RealFileSystem.may_write(&created).unwrap();
    RealFileSystem.make_folder(&created).unwrap();
    assert_eq!(std::fs::metadata(&created).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn disk_space_is_reserved_once_and_released() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("_kvs.reserve");
    assert!(!RealFileSystem.release(&path).unwrap());
    for _ in 0..2 {
        RealFileSystem.reserve(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= *RESERVE_BYTES.start());
    }
    assert!(RealFileSystem.release(&path).unwrap());
    assert!(!RealFileSystem.release(&path).unwrap());
}

#[test]
fn subfolder_gets_the_rights_of_its_folder() {
    for mode in [0o700, 0o750, 0o2770] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let path = folder.path().join("default.logs");
        RealFileSystem.make_subfolder(&path).unwrap();
        RealFileSystem.make_subfolder(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, mode, "{mode:o}");
    }
    let folder = tempfile::tempdir().unwrap();
    RealFileSystem.make_subfolder(&folder.path().join("data/default.logs")).unwrap();
    assert_eq!(std::fs::metadata(folder.path().join("data/default.logs")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn subfolder_may_be_a_link_but_not_one_of_another_user() {
    let [folder, elsewhere] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let path = folder.path().join("blobs");
    std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
    RealFileSystem.make_subfolder(&path).unwrap();
    // Only root can make a link of another user.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&path, Some(65_534), None).unwrap();
        let error = RealFileSystem.make_subfolder(&path).unwrap_err();
        assert!(UnusableFile::caused(&error) && error.to_string().contains("of another user"), "{error}");
        std::os::unix::fs::chown(elsewhere.path(), Some(65_534), None).unwrap();
        RealFileSystem.make_subfolder(&path).unwrap();
    }
}

#[test]
fn long_file_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.yaml");
    let bytes: Vec<u8> = (0..5_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
    RealFileSystem.open(&path, OpenMode::Create).unwrap().write(0, &bytes).unwrap();
    let file = RealFileSystem.open(&path, OpenMode::Read).unwrap();
    for (offset, len) in [(0, 5 << 20), (3, 5 << 20), (0, 6 << 20), (1 << 20, 100), (7 << 20, 5 << 20)] {
        let expected = bytes.get(offset..bytes.len().min(offset + len)).unwrap_or_default();
        assert!(*file.read(offset as u64, len as u64).unwrap() == *expected, "{len} bytes from {offset} on");
    }
}

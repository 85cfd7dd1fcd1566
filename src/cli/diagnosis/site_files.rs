//! Checks of the files of a site: the program and `.htaccess`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
use std::path::Path;

use super::{Diagnosis, Finding, note_if, problem_if};

/// The bits of a mode by which the group or everybody may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Directives of `.htaccess`, and what happens without them.
const DIRECTIVES: [(&str, &str); 6] = [
    ("Require all denied", "Apache may send auth.txt, the data and the program to everybody"),
    ("SetEnvIf Authorization", "secrets in the header Authorization do not reach kvs"),
    ("KVS_CLIENT_LENGTH", "kvs cannot notice that Apache has cut a body"),
    ("KVS_CLIENT_CHUNKED", "kvs cannot notice that Apache has cut a body without a length"),
    ("no-gzip=1", "Apache may change every ETag, so that conditional requests fail"),
    ("RewriteEngine On", "only the program itself has an address"),
];

/// Checks a folder that is a site.
pub(super) fn check(folder: &Path, diagnosis: &mut Diagnosis) {
    let programs = ["kvs.fcgi", "kvs.cgi"].map(|name| folder.join(name));
    let present: Vec<&Path> =
        programs.iter().filter(|path| path.symlink_metadata().is_ok()).map(AsRef::as_ref).collect();
    let htaccess = folder.join(".htaccess");
    if present.is_empty() && !htaccess.exists() {
        return;
    }
    diagnosis.check(problem_if(present.is_empty(), || {
        format!("{} has .htaccess, but neither kvs.fcgi nor kvs.cgi; copy the program there", folder.display())
    }));
    for program in present {
        check_program(folder, program, diagnosis);
    }
    check_htaccess(&htaccess, diagnosis);
    for name in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()) {
        let name = name.to_string_lossy();
        let is_copy = ["auth.txt", "kvs.fcgi", "kvs.cgi", "config.yaml"]
            .iter()
            .any(|original| name.strip_prefix(original).is_some_and(|ending| !ending.is_empty()));
        diagnosis.check(note_if(is_copy, || {
            format!("{}: a copy in the web space; remove it unless you need it", folder.join(&*name).display())
        }));
    }
}

fn check_program(folder: &Path, program: &Path, diagnosis: &mut Diagnosis) {
    let name = program.display();
    let Ok(rights) = program.symlink_metadata() else { return };
    diagnosis.check(problem_if(rights.is_symlink(), || {
        format!("{name} is a symbolic link; hosts with suEXEC refuse it: copy the program there")
    }));
    let mode = rights.permissions().mode();
    diagnosis.check(problem_if(!rights.is_symlink() && mode & 0o111 != 0o111, || {
        format!(
            "{name} is not executable for everybody (mode {:o}), so every page is an error 500: chmod 755 {name}",
            mode & 0o777
        )
    }));
    let folder_rights = folder.metadata().ok();
    let may_write = |rights: &fs::Metadata| rights.permissions().mode() & WRITABLE_BY_OTHERS != 0;
    diagnosis.check(problem_if(!rights.is_symlink() && may_write(&rights), || {
        format!(
            "{name} can be changed by others (mode {:o}); hosts with suEXEC refuse it: chmod 755 {name}",
            mode & 0o777
        )
    }));
    diagnosis.check(folder_rights.as_ref().filter(|rights| may_write(rights)).map(|_| {
        let folder = folder.display();
        Finding::Problem(format!(
            "{folder} can be changed by others; hosts with suEXEC refuse its program: chmod 755 {folder}"
        ))
    }));
    let owner = folder_rights.as_ref().map(MetadataExt::uid);
    diagnosis.check(note_if(owner.is_some_and(|owner| owner != rights.uid()), || {
        format!("{name} and its folder have different owners; hosts with suEXEC refuse that: chown one of them")
    }));
}

fn check_htaccess(path: &Path, diagnosis: &mut Diagnosis) {
    let Ok(text) = fs::read_to_string(path) else {
        diagnosis.check(Some(Finding::Problem(format!(
            "{} is missing or cannot be read; without it every file can be downloaded: `kvs init` makes a new one",
            path.display()
        ))));
        return;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    for (directive, consequence) in DIRECTIVES {
        diagnosis.check(problem_if(!lines.iter().any(|line| line.contains(directive)), || {
            format!(
                "{} lacks `{directive}`: {consequence}; copy the line from the .htaccess that `kvs init` makes",
                path.display()
            )
        }));
    }
}

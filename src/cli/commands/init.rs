//! `kvs init`: writes a folder that is ready for the web space of a shared host.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cli::exit::{CliResult, Failure};
use crate::cli::new_file;
use crate::cli::new_file::give_to_owner_of_folder;
use crate::cli::new_secret::{create_auth_file, hashed, new_secret};
use crate::cli::output::Output;
use crate::cli::stderr::say;
use crate::yaml::{FileSystem as _, RealFileSystem};

const HTACCESS: &str = include_str!("../../../.htaccess");

/// How the program of a Linux host begins.
const ELF: &[u8] = b"\x7fELF";

/// The files, in the order in which they are written.
const NAMES: [&str; 4] = [".htaccess", "README.txt", "kvs.fcgi", "auth.txt"];

const README: &str = "\
kvs, a key/value store that a person can read. Upload this folder to your web space, with the modes of its files.
.htaccess is a hidden file: check that it was uploaded. It runs the program, and without it all files can be downloaded.
If the address of the folder is https://example.org/kvs/, and SECRET is what `kvs init` has printed:
    curl -d 'kitchen/temp=21.5&auth=SECRET' https://example.org/kvs/
    curl 'https://example.org/kvs/?k=kitchen/temp'
In a browser the address is a page with all values. They are in data/default.yaml, which you may edit and download.
auth.txt has the hash of your secret, not the secret. `kvs passcode` makes more secrets.
If every page is an error 500: this folder and kvs.fcgi need mode 755, and the error log of the host says more.
If the host runs programs as its web server, and not as you, that user must read auth.txt and write to data.
If the host has CGI only, rename kvs.fcgi to kvs.cgi. To update, upload a new program, and rename it over the old one.
";

const EXAMPLES: &str = "\
Examples:
  kvs init kvs                                  make the folder kvs, and print its secret
  kvs init kvs --program dist/kvs-aarch64       for a host with another processor";

/// Make a folder that is ready for upload to a shared host
///
/// Writes the program as kvs.fcgi, .htaccess, auth.txt with the hash of a new secret, the folder data, and a README.txt
/// that says how to go on. Prints the secret, which is shown only this once. No existing file is replaced.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder; created if it is missing
    dir: PathBuf,
    /// The program for the host [default: this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(crate) fn run(args: Args, is_quiet: bool) -> CliResult {
    let Args { dir, program } = args;
    let mut program = open_program(program)?;
    if let Some(present) = NAMES.iter().map(|name| dir.join(name)).find(|path| path.symlink_metadata().is_ok()) {
        let text = format!("{} exists; nothing was written; name a new folder, or remove the file", present.display());
        return Err(Failure::Failed(text));
    }
    let secret = new_secret()?;
    let mut written = Vec::new();
    let done = fill(&dir, &mut program, &secret, &mut written).and_then(|()| print(&secret));
    if done.is_err() {
        // A folder without one of its files, or with a secret that nobody knows, is of no use.
        for path in written.iter().rev() {
            let _ = std::fs::remove_file(path);
        }
    }
    done?;
    if !is_quiet {
        say("The line above is the secret. Keep it: it is not shown again.");
        let dir = dir.display();
        say(&format!("{dir} is ready. Upload it to your web space; {dir}/README.txt says how to go on."));
    }
    Ok(())
}

fn print(secret: &str) -> CliResult {
    let mut output = Output::new();
    let printed = output.line(secret).and_then(|()| output.finish());
    // A closed pipe is a failure here, too.
    printed.map_err(|_| Failure::Failed("the secret could not be printed, so the files were removed again".into()))
}

/// Opens the program for the host.
fn open_program(program: Option<PathBuf>) -> CliResult<File> {
    let path = match program {
        Some(path) => path,
        // The link also works if the file was replaced meanwhile.
        None => PathBuf::from("/proc/self/exe"),
    };
    let mut file = File::open(&path).map_err(|e| Failure::file("read", &path, &e))?;
    let mut begin = [0; ELF.len()];
    let is_program = file.read_exact(&mut begin).is_ok() && begin == *ELF;
    if !is_program {
        let text = format!("{} is not a program for Linux; --program names one", path.display());
        return Err(Failure::Usage(text));
    }
    file.rewind().map_err(|e| Failure::file("read", &path, &e))?;
    Ok(file)
}

/// Writes the files, and remembers which ones exist.
fn fill(dir: &Path, program: &mut File, secret: &str, written: &mut Vec<PathBuf>) -> CliResult {
    create_folder(dir).map_err(|e| Failure::file("create", dir, &e))?;
    let data = dir.join("data");
    RealFileSystem.make_folder(&data).map_err(|e| Failure::file("create", &data, &e))?;
    for name in NAMES {
        let path = dir.join(name);
        let result = match name {
            "auth.txt" => create_auth_file(&path, &hashed(secret)),
            "kvs.fcgi" => new_file::create(&path, 0o755, program),
            ".htaccess" => new_file::create(&path, 0o644, &mut HTACCESS.as_bytes()),
            _ => new_file::create(&path, 0o644, &mut README.as_bytes()),
        };
        let is_foreign = result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists);
        if !is_foreign {
            written.push(path.clone());
        }
        result.map_err(|e| Failure::file("write", &path, &e))?;
    }
    Ok(())
}

/// Creates the folder with mode 755 unless it exists: hosts refuse programs in folders that others may write to, and
/// Apache must be able to look into it.
fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    let folder = File::open(path)?;
    give_to_owner_of_folder(&folder, path);
    folder.set_permissions(Permissions::from_mode(0o755))
}

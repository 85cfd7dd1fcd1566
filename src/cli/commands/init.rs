//! `kvs init`: writes a folder that is ready for the web space of a shared host.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::cli::exit::{CliResult, Failure};
use crate::cli::new_secret::{create_auth_file, hashed, new_secret};
use crate::cli::output::Output;
use crate::cli::stderr::say;

const HTACCESS: &str = include_str!("../../../.htaccess");

/// How the program of a Linux host begins.
const ELF: &[u8] = b"\x7fELF";

/// The files, in the order in which they are written.
const NAMES: [&str; 4] = [".htaccess", "README.txt", "kvs.fcgi", "auth.txt"];

const README: &str = "\
kvs, a key/value store that a person can read. Upload this folder to your web space, with the modes of its files.
If its address is then https://example.org/kvs/, and SECRET is what `kvs init` has printed:
    curl -d 'kitchen/temp=21.5&auth=SECRET' https://example.org/kvs/
    curl 'https://example.org/kvs/?k=kitchen/temp'
In a browser the address is a page with all values. No file of this folder can be downloaded.
The values are in data/default.yaml. You may edit that file; download the folder data to back it up.
auth.txt has the hash of your secret, not the secret. `kvs passcode` makes more of them; keep the file private.
If every page is an error 500: kvs.fcgi needs mode 755. The error log of the host names a line that it does not allow.
If the host has CGI only, rename kvs.fcgi to kvs.cgi.
To update, upload the new program under another name, and rename it to kvs.fcgi. All values stay.
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
    let done = fill(&dir, &mut program, &secret, &mut written);
    if done.is_err() {
        // A folder without one of its files would not work, and the next attempt would find the others.
        for path in written.iter().rev() {
            let _ = std::fs::remove_file(path);
        }
    }
    done?;
    let mut output = Output::new();
    output.line(&secret)?;
    output.finish()?;
    if !is_quiet {
        say("The line above is the secret. Keep it: it is not shown again.");
        let dir = dir.display();
        say(&format!("{dir} is ready. Upload it to your web space; {dir}/README.txt says how to go on."));
    }
    Ok(())
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
    std::fs::create_dir_all(dir).map_err(|e| Failure::file("create", dir, &e))?;
    let data = dir.join("data");
    match DirBuilder::new().mode(0o700).create(&data) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Failure::file("create", &data, &e)),
        _ => {}
    }
    for name in NAMES {
        let path = dir.join(name);
        let result = match name {
            "auth.txt" => create_auth_file(&path, &hashed(secret)),
            "kvs.fcgi" => create(&path, 0o755, program),
            ".htaccess" => create(&path, 0o644, &mut HTACCESS.as_bytes()),
            _ => create(&path, 0o644, &mut README.as_bytes()),
        };
        let is_foreign = result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists);
        if !is_foreign {
            written.push(path.clone());
        }
        result.map_err(|e| Failure::file("write", &path, &e))?;
    }
    Ok(())
}

/// Creates a file with exactly this mode, whatever the umask is.
fn create(path: &Path, mode: u32, from: &mut dyn Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    io::copy(from, &mut file)?;
    file.flush().and_then(|()| file.sync_all())
}

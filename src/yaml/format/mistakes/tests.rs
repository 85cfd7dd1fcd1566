//! The kinds of mistakes, several mistakes at once, and that nothing else is reported.

pub(super) mod kinds;
pub(super) mod several;

use super::*;
use crate::yaml::format::reader::read;
use crate::yaml::format::stream::split;

/// The reported mistakes of all documents of a file.
fn reported(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for raw in split(bytes).documents {
        if let Err(error) = read(&raw) {
            all.extend(mistakes(&raw, error).into_iter().map(|error| (error.line, error.text)));
        }
    }
    all
}

fn lines(bytes: &[u8]) -> Vec<u64> {
    reported(bytes).into_iter().map(|(line, _)| line).collect()
}

//! The kinds of mistakes, each with the line that a person would name; several at once; and that nothing else is named.

mod kinds;
mod several;

use super::super::reader::read;
use super::super::stream::cut;
use super::*;

/// What is reported of a file: the mistakes of all its documents.
fn reported(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for piece in cut(bytes, true).pieces {
        if let Err(fault) = read(&piece) {
            all.extend(mistakes(&piece, fault).into_iter().map(|fault| (fault.line, fault.text)));
        }
    }
    all
}

fn lines(bytes: &[u8]) -> Vec<u64> {
    reported(bytes).into_iter().map(|(line, _)| line).collect()
}

//! Random bytes of the operating system.

use super::exit::{CliResult, Failure};

/// `N` bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> CliResult<[u8; N]> {
    let mut random = [0; N];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::Failed(format!("cannot get random numbers from the operating system: {e}")))?;
    Ok(random)
}

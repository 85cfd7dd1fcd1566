//! Contents of values, which are made where they are needed, so that no test holds a gigabyte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Fills a block of the endless content of a seed, from an offset that is a multiple of 8. The bytes look random, so
/// that blocks which are mixed up, cut or repeated are noticed.
pub(super) fn fill(seed: u64, offset: u64, block: &mut [u8]) {
    for (number, word) in (offset / 8..).zip(block.chunks_mut(8)) {
        word.copy_from_slice(&mixed(seed, number).to_le_bytes()[..word.len()]);
    }
}

/// The generator `SplitMix64` at a position.
fn mixed(seed: u64, number: u64) -> u64 {
    let z = seed.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The content of a seed, so long.
pub(super) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(seed, 0, &mut bytes);
    bytes
}

/// The value of `Content-Digest` for these bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    as_digest(&Sha256::digest(bytes))
}

/// The value of `Content-Digest` with this hash.
pub(super) fn as_digest(hash: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(hash))
}

/// The name of the blob with these bytes.
pub(super) fn blob_name(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The name of the blob with this digest.
pub(super) fn name_of(digest: &str) -> String {
    let text = digest.strip_prefix("sha-256=:").and_then(|rest| rest.strip_suffix(':'));
    hex(&STANDARD.decode(text.unwrap_or_else(|| panic!("no digest: {digest}"))).unwrap())
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

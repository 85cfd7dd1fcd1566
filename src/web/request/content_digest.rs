//! `Content-Digest` and `Repr-Digest` (RFC 9530): the hash of a body, with which both sides notice that it was changed
//! on its way.

use std::cell::LazyCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256, Sha512};

use crate::web::response::api_error::ApiError;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The hash of the whole value. A body is always a whole value here, so in requests it means the same.
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The header with which a client asks for the hash of a large value.
const WANT_CONTENT_DIGEST: HeaderName = HeaderName::from_static("want-content-digest");

/// The digest of a body, for a response.
pub(crate) fn sha_256(body: &[u8]) -> Option<HeaderValue> {
    value_of(&Sha256::digest(body).into())
}

/// The value of a header with this SHA-256.
pub(crate) fn value_of(sha_256: &[u8; 32]) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("sha-256=:{}:", STANDARD.encode(sha_256))).ok()
}

/// Whether the client asks for `sha-256`.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(WANT_CONTENT_DIGEST).iter().filter_map(|line| line.to_str().ok());
    let mut members = lines.flat_map(|line| line.split(','));
    members.any(|member| {
        let (name, weight) = member.split_once('=').unwrap_or((member, "1"));
        name.trim() == "sha-256" && weight.trim() != "0"
    })
}

/// Checks a body against the digests in the headers of its request. Hashes other than SHA-256 and SHA-512 are ignored.
///
/// # Errors
/// If a digest is malformed, or is not that of the body.
pub(crate) fn verify(headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    // Each hash is computed once, however often it is sent.
    let (sha_256, sha_512) =
        (LazyCell::new(|| Sha256::digest(body).to_vec()), LazyCell::new(|| Sha512::digest(body).to_vec()));
    verify_hashes(headers, |algorithm: &str| match algorithm {
        "sha-256" => Some(sha_256.as_slice()),
        "sha-512" => Some(sha_512.as_slice()),
        _ => None,
    })
}

/// The hashes of a body that arrives in pieces. Its SHA-256 is known anyway.
pub(crate) struct PiecewiseDigest {
    /// Only if the client has sent one.
    sha_512: Option<Sha512>,
}

impl PiecewiseDigest {
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let lines = [CONTENT_DIGEST, REPR_DIGEST].map(|name| headers.get_all(name));
        let mut lines = lines.into_iter().flatten().filter_map(|line| line.to_str().ok());
        Self { sha_512: lines.any(|line| line.contains("sha-512")).then(Sha512::new) }
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        if let Some(sha_512) = &mut self.sha_512 {
            sha_512.update(piece);
        }
    }

    /// Checks the body with this SHA-256, as [`verify`] does.
    pub(crate) fn verify(self, headers: &HeaderMap, sha_256: &[u8; 32]) -> Result<(), ApiError> {
        let sha_512 = self.sha_512.map(|hash| hash.finalize().to_vec());
        verify_hashes(headers, |algorithm: &str| match algorithm {
            "sha-256" => Some(sha_256.as_slice()),
            "sha-512" => sha_512.as_deref(),
            _ => None,
        })
    }
}

fn verify_hashes<'h>(headers: &HeaderMap, hash: impl Fn(&str) -> Option<&'h [u8]>) -> Result<(), ApiError> {
    for name in [CONTENT_DIGEST, REPR_DIGEST] {
        for line in headers.get_all(&name) {
            let line = line.to_str().map_err(|_| malformed(&name))?;
            for member in line.split(',') {
                verify_member(&name, member, &hash)?;
            }
        }
    }
    Ok(())
}

fn verify_member<'h>(
    name: &HeaderName,
    member: &str,
    hash: &impl Fn(&str) -> Option<&'h [u8]>,
) -> Result<(), ApiError> {
    let (algorithm, rest) = member.split_once('=').ok_or_else(|| malformed(name))?;
    let Some(expected) = hash(algorithm.trim()) else { return Ok(()) };
    // Parameters may follow.
    let (encoded, _) = rest.strip_prefix(':').and_then(|rest| rest.split_once(':')).ok_or_else(|| malformed(name))?;
    let digest = STANDARD.decode(encoded).map_err(|_| malformed(name))?;
    if digest == *expected {
        return Ok(());
    }
    Err(ApiError::invalid(format!("the body does not have the hash in {name}; nothing was stored; send it again")))
}

fn malformed(name: &HeaderName) -> ApiError {
    ApiError::invalid(format!("{name} is malformed; write sha-256=:BASE64: (RFC 9530), or leave it out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 9530, appendix B.1.
    const BODY: &[u8] = b"{\"hello\": \"world\"}\n";
    const DIGEST: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    fn verified(pairs: &[(&'static str, &str)]) -> bool {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        verify(&headers, BODY).is_ok()
    }

    #[test]
    fn digests_are_those_of_the_rfc() {
        assert_eq!(sha_256(BODY).unwrap(), DIGEST);
        assert!(verified(&[("content-digest", DIGEST), ("repr-digest", DIGEST)]));
        assert!(verified(&[]));
        assert!(verified(&[("content-digest", &format!("md5=:x:, {DIGEST};a=1"))]));
    }

    #[test]
    fn other_digests_are_refused() {
        let other = DIGEST.replace("RK", "RL");
        for bad in [other.as_str(), "sha-256", "sha-256=RK", "sha-256=:RK", "sha-256=:!:", "sha-512=:RK==:"] {
            assert!(!verified(&[("content-digest", bad)]), "{bad}");
            assert!(!verified(&[("content-digest", DIGEST), ("repr-digest", bad)]), "{bad}");
        }
    }

    #[test]
    fn digests_of_pieces_are_those_of_the_whole() {
        let sha_512 = format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(BODY)));
        let verified = |line: &str, sent: &[u8]| {
            let headers = [(CONTENT_DIGEST, line.parse().unwrap())].into_iter().collect();
            let mut digest = PiecewiseDigest::new(&headers);
            sent.chunks(3).for_each(|piece| digest.update(piece));
            digest.verify(&headers, &Sha256::digest(sent).into()).is_ok()
        };
        for line in [DIGEST, &sha_512, &format!("{DIGEST}, {sha_512}")] {
            assert!(verified(line, BODY) && !verified(line, &BODY[1..]), "{line}");
        }
    }

    #[test]
    fn a_digest_is_wanted_unless_its_weight_is_zero() {
        let wanted = |line: &str| is_wanted(&[(WANT_CONTENT_DIGEST, line.parse().unwrap())].into_iter().collect());
        assert!(wanted("sha-256=1") && wanted("md5=3, sha-256=10") && wanted("sha-256"));
        assert!(!wanted("sha-256=0") && !wanted("sha-512=1") && !is_wanted(&HeaderMap::new()));
    }
}

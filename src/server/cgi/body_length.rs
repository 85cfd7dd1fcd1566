//! The length of a body: whether the web server passes on the body that the client sent.
//!
//! Apache may empty or cut a body at limits of its own and call the program all the same. The client would then be told
//! that half of its body was stored. So three lengths must be equal: the one that the client announced to the web
//! server (`KVS_CLIENT_LENGTH`, set by the configuration), the one that the web server announces (`CONTENT_LENGTH`),
//! and the one that arrives. A chunked body does not have the first: `mod_fcgid` announces the part that it kept, cut
//! or not, and `mod_cgid` announces nothing. So a spawned program accepts no chunked body. Web servers that pass
//! requests to a running program read all chunks first, or fail on their own; if they announce a length, it is trusted.

use super::base_path::BasePath;
use super::variables::Variables;
use crate::server::error_response::TransportError;

/// How long the body must be. Checked before it is read.
pub(crate) fn announced(variables: &Variables, mount: &BasePath, limit: usize) -> Result<usize, TransportError> {
    let length = match variables.get("CONTENT_LENGTH") {
        b"" => None,
        digits => Some(number(digits).ok_or(TransportError::BadLength)?),
    };
    if let Some(sent) = variables.configured("KVS_CLIENT_LENGTH").filter(|sent| !sent.is_empty())
        && number(sent) != Some(length.unwrap_or(0))
    {
        return Err(TransportError::CutByServer);
    }
    let chunked = variables.configured("KVS_CLIENT_CHUNKED").is_some_and(|value| !value.is_empty())
        || !variables.get("HTTP_TRANSFER_ENCODING").is_empty();
    if chunked && (mount.is_spawned() || length.is_none()) {
        return Err(TransportError::LengthLost);
    }
    let length = length.unwrap_or(0);
    usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(TransportError::TooLarge)
}

/// Compares the length that has arrived with the announced length.
pub(crate) fn arrived(variables: &Variables, announced: usize, arrived: usize) -> Result<(), TransportError> {
    match arrived {
        _ if arrived == announced => Ok(()),
        _ if variables.get("CONTENT_LENGTH").is_empty() => Err(TransportError::LengthLost),
        _ => Err(TransportError::OtherLength),
    }
}

/// Parses a decimal number without sign or spaces. Empty text is not a number.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::cgi::request::tests::variables;

    fn judged(pairs: &[(&str, &str)], came: usize) -> Result<usize, TransportError> {
        judged_at(&BasePath::served(), pairs, came)
    }

    fn judged_at(mount: &BasePath, pairs: &[(&str, &str)], came: usize) -> Result<usize, TransportError> {
        let variables = variables(pairs);
        let length = announced(&variables, mount, 100)?;
        arrived(&variables, length, came).map(|()| length)
    }

    #[test]
    fn body_is_complete_when_all_lengths_are_equal() {
        assert_eq!(judged(&[], 0), Ok(0));
        assert_eq!(judged(&[("CONTENT_LENGTH", "")], 0), Ok(0));
        assert_eq!(judged(&[("CONTENT_LENGTH", "100")], 100), Ok(100));
        assert_eq!(judged(&[("CONTENT_LENGTH", "5"), ("KVS_CLIENT_LENGTH", "5")], 5), Ok(5));
        assert_eq!(judged(&[("CONTENT_LENGTH", "5"), ("KVS_CLIENT_LENGTH", "")], 5), Ok(5));
        assert_eq!(judged(&[("KVS_CLIENT_LENGTH", "0")], 0), Ok(0));
        // A server that reads all chunks first and counts them.
        assert_eq!(judged(&[("CONTENT_LENGTH", "5"), ("KVS_CLIENT_CHUNKED", "1")], 5), Ok(5));
    }

    #[test]
    fn body_is_rejected_when_the_server_emptied_or_cut_it() {
        for name in ["KVS_CLIENT_LENGTH", "REDIRECT_KVS_CLIENT_LENGTH"] {
            assert_eq!(judged(&[("CONTENT_LENGTH", "0"), (name, "9")], 0), Err(TransportError::CutByServer));
            assert_eq!(judged(&[(name, "9")], 0), Err(TransportError::CutByServer));
            let huge = "99999999999999999999999";
            assert_eq!(judged(&[("CONTENT_LENGTH", "0"), (name, huge)], 0), Err(TransportError::CutByServer));
        }
    }

    #[test]
    fn chunked_body_without_a_length_is_rejected() {
        for name in ["KVS_CLIENT_CHUNKED", "REDIRECT_KVS_CLIENT_CHUNKED", "HTTP_TRANSFER_ENCODING"] {
            assert_eq!(judged(&[(name, "1")], 50), Err(TransportError::LengthLost), "{name}");
            assert_eq!(judged(&[(name, "1")], 0), Err(TransportError::LengthLost), "{name}");
        }
        assert_eq!(judged(&[], 50), Err(TransportError::LengthLost));
        for mount in [BasePath::spawned(), BasePath::spawned().at("/x")] {
            for name in ["KVS_CLIENT_CHUNKED", "HTTP_TRANSFER_ENCODING"] {
                let cut = [("CONTENT_LENGTH", "50"), (name, "chunked")];
                assert_eq!(judged_at(&mount, &cut, 50), Err(TransportError::LengthLost), "{name}");
            }
        }
    }

    #[test]
    fn body_is_rejected_when_the_length_is_wrong() {
        assert_eq!(judged(&[("CONTENT_LENGTH", "5")], 4), Err(TransportError::OtherLength));
        assert_eq!(judged(&[("CONTENT_LENGTH", "5")], 6), Err(TransportError::OtherLength));
        assert_eq!(judged(&[("CONTENT_LENGTH", "101")], 101), Err(TransportError::TooLarge));
        for bad in ["-1", "+5", "5 ", "0x5", "5,5", "99999999999999999999999"] {
            assert_eq!(judged(&[("CONTENT_LENGTH", bad)], 5), Err(TransportError::BadLength), "{bad}");
        }
    }
}

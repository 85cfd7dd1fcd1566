//! Checks the length of a body: the web server must pass on the whole body that the client sent.
//!
//! Apache may empty or cut a body at limits of its own and still call the program. The client would then get a success
//! response although only a part of its body was stored. So three lengths must be equal: the one that the client
//! announced to the web server (`KVS_CLIENT_LENGTH`, set by the configuration), the one that the web server announces
//! (`CONTENT_LENGTH`), and the one that arrives. A chunked body does not have the first: `mod_fcgid` announces the part
//! that it kept, cut or not, and `mod_cgid` announces nothing. So a spawned program accepts no chunked body. Web
//! servers that pass requests to a running program read all chunks first, or fail on their own; if they announce a
//! length, it is trusted.

use super::base_path::BasePath;
use super::variables::Variables;
use crate::server::error_response::TransportError;

/// The length that the body must have. Checks the announced lengths before the body is read.
pub(crate) fn announced(variables: &Variables, base_path: &BasePath, limit: u64) -> Result<u64, TransportError> {
    let length = match variables.get("CONTENT_LENGTH") {
        b"" => None,
        digits => Some(parse_number(digits).ok_or(TransportError::BadContentLength)?),
    };
    if let Some(sent) = variables.configured("KVS_CLIENT_LENGTH").filter(|sent| !sent.is_empty())
        && parse_number(sent) != Some(length.unwrap_or(0))
    {
        return Err(TransportError::BodyCutByServer);
    }
    let chunked = variables.configured("KVS_CLIENT_CHUNKED").is_some_and(|value| !value.is_empty())
        || !variables.get("HTTP_TRANSFER_ENCODING").is_empty();
    if chunked && (base_path.is_spawned() || length.is_none()) {
        return Err(TransportError::LengthUnknown);
    }
    let length = length.unwrap_or(0);
    if length > limit { Err(TransportError::BodyTooLarge) } else { Ok(length) }
}

/// Compares the length that has arrived with the announced length.
pub(crate) fn arrived(variables: &Variables, announced: u64, arrived: u64) -> Result<(), TransportError> {
    match arrived {
        _ if arrived == announced => Ok(()),
        _ if variables.get("CONTENT_LENGTH").is_empty() => Err(TransportError::LengthUnknown),
        _ => Err(TransportError::LengthMismatch),
    }
}

/// Parses a decimal number without sign or spaces. Empty text is not a number.
pub(crate) fn parse_number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::cgi::request::tests::variables;

    fn checked(pairs: &[(&str, &str)], arrived_bytes: u64) -> Result<u64, TransportError> {
        checked_at(&BasePath::served(), pairs, arrived_bytes)
    }

    fn checked_at(base_path: &BasePath, pairs: &[(&str, &str)], arrived_bytes: u64) -> Result<u64, TransportError> {
        let variables = variables(pairs);
        let length = announced(&variables, base_path, 100)?;
        arrived(&variables, length, arrived_bytes).map(|()| length)
    }

    #[test]
    fn body_is_complete_when_all_lengths_are_equal() {
        assert_eq!(checked(&[], 0), Ok(0));
        assert_eq!(checked(&[("CONTENT_LENGTH", "")], 0), Ok(0));
        assert_eq!(checked(&[("CONTENT_LENGTH", "100")], 100), Ok(100));
        assert_eq!(checked(&[("CONTENT_LENGTH", "5"), ("KVS_CLIENT_LENGTH", "5")], 5), Ok(5));
        assert_eq!(checked(&[("CONTENT_LENGTH", "5"), ("KVS_CLIENT_LENGTH", "")], 5), Ok(5));
        assert_eq!(checked(&[("KVS_CLIENT_LENGTH", "0")], 0), Ok(0));
        // A server that reads all chunks first and counts them.
        assert_eq!(checked(&[("CONTENT_LENGTH", "5"), ("KVS_CLIENT_CHUNKED", "1")], 5), Ok(5));
    }

    #[test]
    fn body_is_rejected_when_the_server_emptied_or_cut_it() {
        for name in ["KVS_CLIENT_LENGTH", "REDIRECT_KVS_CLIENT_LENGTH"] {
            assert_eq!(checked(&[("CONTENT_LENGTH", "0"), (name, "9")], 0), Err(TransportError::BodyCutByServer));
            assert_eq!(checked(&[(name, "9")], 0), Err(TransportError::BodyCutByServer));
            let huge = "99999999999999999999999";
            assert_eq!(checked(&[("CONTENT_LENGTH", "0"), (name, huge)], 0), Err(TransportError::BodyCutByServer));
        }
    }

    #[test]
    fn chunked_body_without_a_length_is_rejected() {
        for name in ["KVS_CLIENT_CHUNKED", "REDIRECT_KVS_CLIENT_CHUNKED", "HTTP_TRANSFER_ENCODING"] {
            assert_eq!(checked(&[(name, "1")], 50), Err(TransportError::LengthUnknown), "{name}");
            assert_eq!(checked(&[(name, "1")], 0), Err(TransportError::LengthUnknown), "{name}");
        }
        assert_eq!(checked(&[], 50), Err(TransportError::LengthUnknown));
        for base_path in [BasePath::spawned(), BasePath::spawned().at("/x")] {
            for name in ["KVS_CLIENT_CHUNKED", "HTTP_TRANSFER_ENCODING"] {
                let cut = [("CONTENT_LENGTH", "50"), (name, "chunked")];
                assert_eq!(checked_at(&base_path, &cut, 50), Err(TransportError::LengthUnknown), "{name}");
            }
        }
    }

    #[test]
    fn body_is_rejected_when_the_length_is_wrong() {
        assert_eq!(checked(&[("CONTENT_LENGTH", "5")], 4), Err(TransportError::LengthMismatch));
        assert_eq!(checked(&[("CONTENT_LENGTH", "5")], 6), Err(TransportError::LengthMismatch));
        assert_eq!(checked(&[("CONTENT_LENGTH", "101")], 101), Err(TransportError::BodyTooLarge));
        for bad in ["-1", "+5", "5 ", "0x5", "5,5", "99999999999999999999999"] {
            assert_eq!(checked(&[("CONTENT_LENGTH", bad)], 5), Err(TransportError::BadContentLength), "{bad}");
        }
    }
}

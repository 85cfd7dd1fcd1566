//! Whether the body that a web server hands on is the one that the client sent.
//!
//! Apache may empty or cut a body at limits of its own and call the program all the same; the client would then be told
//! that its half was stored. So three numbers must agree: what the client announced to the web server
//! (`KVS_CLIENT_LENGTH`, set by the configuration), what the server announces (`CONTENT_LENGTH`), and what arrives. A
//! chunked body has no first number. `mod_fcgid` announces what it kept of one, cut or not, and `mod_cgid` nothing, so a
//! spawned program takes none. Servers that hand requests to a running program read all chunks first, or fail by
//! themselves; their number is believed if they give one.

use super::mount::Mount;
use super::refusal::Refusal;
use super::variables::Variables;

/// How long the body must be, judged before it is read.
pub(super) fn announced(variables: &Variables, mount: &Mount, limit: usize) -> Result<usize, Refusal> {
    let length = match variables.get("CONTENT_LENGTH") {
        b"" => None,
        digits => Some(number(digits).ok_or(Refusal::BadLength)?),
    };
    if let Some(sent) = variables.configured("KVS_CLIENT_LENGTH").filter(|sent| !sent.is_empty())
        && number(sent) != Some(length.unwrap_or(0))
    {
        return Err(Refusal::CutByServer);
    }
    let chunked = variables.configured("KVS_CLIENT_CHUNKED").is_some_and(|value| !value.is_empty())
        || !variables.get("HTTP_TRANSFER_ENCODING").is_empty();
    if chunked && (mount.is_spawned() || length.is_none()) {
        return Err(Refusal::LengthLost);
    }
    let length = length.unwrap_or(0);
    usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(Refusal::TooLarge)
}

/// Judges what has arrived against what was announced.
pub(super) fn arrived(variables: &Variables, announced: usize, arrived: usize) -> Result<(), Refusal> {
    match arrived {
        _ if arrived == announced => Ok(()),
        _ if variables.get("CONTENT_LENGTH").is_empty() => Err(Refusal::LengthLost),
        _ => Err(Refusal::OtherLength),
    }
}

/// A decimal number without sign, space or anything else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::gateway::tests::variables;
    use super::*;

    fn judged(pairs: &[(&str, &str)], came: usize) -> Result<usize, Refusal> {
        judged_at(&Mount::served(), pairs, came)
    }

    fn judged_at(mount: &Mount, pairs: &[(&str, &str)], came: usize) -> Result<usize, Refusal> {
        let variables = variables(pairs);
        let length = announced(&variables, mount, 100)?;
        arrived(&variables, length, came).map(|()| length)
    }

    #[test]
    fn body_is_whole_when_all_numbers_agree() {
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
    fn body_is_refused_when_the_server_emptied_or_cut_it() {
        for name in ["KVS_CLIENT_LENGTH", "REDIRECT_KVS_CLIENT_LENGTH"] {
            assert_eq!(judged(&[("CONTENT_LENGTH", "0"), (name, "9")], 0), Err(Refusal::CutByServer));
            assert_eq!(judged(&[(name, "9")], 0), Err(Refusal::CutByServer));
            let huge = "99999999999999999999999";
            assert_eq!(judged(&[("CONTENT_LENGTH", "0"), (name, huge)], 0), Err(Refusal::CutByServer));
        }
    }

    #[test]
    fn body_is_refused_when_chunks_came_without_a_length() {
        for name in ["KVS_CLIENT_CHUNKED", "REDIRECT_KVS_CLIENT_CHUNKED", "HTTP_TRANSFER_ENCODING"] {
            assert_eq!(judged(&[(name, "1")], 50), Err(Refusal::LengthLost), "{name}");
            assert_eq!(judged(&[(name, "1")], 0), Err(Refusal::LengthLost), "{name}");
        }
        assert_eq!(judged(&[], 50), Err(Refusal::LengthLost));
        for mount in [Mount::spawned(), Mount::spawned().at("/x")] {
            for name in ["KVS_CLIENT_CHUNKED", "HTTP_TRANSFER_ENCODING"] {
                let cut = [("CONTENT_LENGTH", "50"), (name, "chunked")];
                assert_eq!(judged_at(&mount, &cut, 50), Err(Refusal::LengthLost), "{name}");
            }
        }
    }

    #[test]
    fn body_is_refused_when_the_length_is_wrong() {
        assert_eq!(judged(&[("CONTENT_LENGTH", "5")], 4), Err(Refusal::OtherLength));
        assert_eq!(judged(&[("CONTENT_LENGTH", "5")], 6), Err(Refusal::OtherLength));
        assert_eq!(judged(&[("CONTENT_LENGTH", "101")], 101), Err(Refusal::TooLarge));
        for bad in ["-1", "+5", "5 ", "0x5", "5,5", "99999999999999999999999"] {
            assert_eq!(judged(&[("CONTENT_LENGTH", bad)], 5), Err(Refusal::BadLength), "{bad}");
        }
    }
}

//! The media types that are safe to send. Clients choose the type of a value, and a browser must not execute a value
//! that another client stored.

use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::model::ContentType;

/// The headers for a value of this type: the type itself if a browser can only show it, else a download in a sandbox.
pub(crate) fn headers(content_type: &ContentType) -> Vec<(HeaderName, HeaderValue)> {
    if content_type.is_default() {
        return vec![(CONTENT_TYPE, HeaderValue::from_static(ContentType::TEXT))];
    }
    if is_harmless(content_type)
        && let Ok(value) = HeaderValue::from_str(content_type.as_str())
    {
        return vec![(CONTENT_TYPE, value)];
    }
    vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
    ]
}

fn is_harmless(content_type: &ContentType) -> bool {
    // Browsers read `text/plain;a=,text/html` as two types and use the last one.
    if content_type.as_str().contains(',') {
        return false;
    }
    let essence = content_type.essence();
    let Some((main_type, subtype)) = essence.split_once('/') else { return false };
    let is_token = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    if !is_token(main_type) || !is_token(subtype) {
        return false;
    }
    match main_type {
        "text" => matches!(subtype, "plain" | "csv" | "yaml" | "x-yaml"),
        "application" => {
            matches!(subtype, "json" | "x-ndjson" | "csv" | "yaml" | "x-yaml" | "octet-stream")
                || subtype.ends_with("+json")
                || subtype.ends_with("+yaml")
        }
        // Raster images only, because an SVG can contain scripts.
        "image" => matches!(
            subtype,
            "png" | "apng" | "jpeg" | "gif" | "webp" | "avif" | "bmp" | "tiff" | "x-icon" | "vnd.microsoft.icon"
        ),
        // A media file can only be played. A type with a suffix has another format, such as XML with `+xml`.
        "audio" | "video" => !subtype.contains('+'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_types_are_sent_unchanged() {
        for good in [
            "text/plain; charset=utf-8",
            "Text/Plain",
            "application/json",
            "text/csv",
            "application/yaml",
            "image/png",
            "audio/mpeg",
            "video/mp4",
            "application/octet-stream",
            "application/geo+json",
        ] {
            let found = headers(&ContentType::new(good).unwrap());
            assert_eq!(found.len(), 1, "{good}");
            assert_eq!(found[0].1, good);
        }
        for bad in [
            "text/html",
            "image/svg+xml",
            "audio/x+xml",
            "video/x+xml",
            "Video/Vnd.X+XML; charset=utf-8",
            "audio/x+html",
            "image/png+xml",
            "model/x3d+xml",
            "message/rfc822",
            "text/plain+xml",
            "text/xsl",
            "application/xml",
            "application/xslt+xml",
            "application/json+xml",
            "application/mathml+xml",
            "application/x-javascript",
            "multipart/x-mixed-replace; boundary=x",
            "text/html; charset=utf-8",
            " text/html ",
            "TEXT/HTML;x",
            "application/xhtml+xml",
            "text/xml",
            "application/javascript",
            "text/css",
            "application/pdf",
            "multipart/mixed",
            "text/plain;a=,text/html",
            "text/plain,text/html",
            "text/ plain",
            "/",
            "application/x-shockwave-flash",
        ] {
            let found = headers(&ContentType::new(bad).unwrap());
            assert_eq!(found.len(), 3, "{bad}");
            assert_eq!(found[0].1, "application/octet-stream");
        }
    }
}

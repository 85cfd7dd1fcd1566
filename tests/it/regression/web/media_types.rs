//! Content that a browser could run is served as an attachment, whatever its type.

use crate::store::Make;
use crate::support::endpoint::{Endpoint, cases};

cases! {
    xml_with_an_image_or_audio_type_is_an_attachment,
    types_that_browsers_only_display_are_kept,
}

async fn xml_with_an_image_or_audio_type_is_an_attachment(make: Make) {
    let kvs = Endpoint::new(make);
    for content_type in [
        "audio/x+xml",
        "video/x+xml",
        "AUDIO/X+XML",
        "video/vnd.x+xml; charset=utf-8",
        "image/svg+xml",
        "IMAGE/SVG+XML;charset=utf-8",
        "image/x+xml",
        "text/x+xml",
        "model/x3d+xml",
        "application/atom+xml",
        "application/json+xml",
        "text/xml",
        "application/xml",
        "text/xsl",
        "application/xslt+xml",
        "text/html; charset=utf-8",
        "multipart/x-mixed-replace; boundary=x",
        "multipart/related",
        "message/rfc822",
        "text/javascript",
        "application/wasm",
    ] {
        kvs.ask("PUT", "/kv/default/a", &[("content-type", content_type)], "<x/>").await;
        for uri in ["/kv/default/a", "/?k=a"] {
            let answer = kvs.get(uri).await;
            assert_eq!(answer.header("content-type"), "application/octet-stream", "{content_type}");
            assert_eq!(answer.header("content-disposition"), "attachment", "{content_type}");
            assert_eq!(answer.header("content-security-policy"), "sandbox", "{content_type}");
        }
        let old = kvs.put("/kv/default/a?return=old", "").await;
        assert_eq!((old.header("content-disposition"), old.text()), ("attachment", "<x/>"), "{content_type}");
    }
}

async fn types_that_browsers_only_display_are_kept(make: Make) {
    let kvs = Endpoint::new(make);
    for content_type in
        ["audio/mpeg", "video/mp4; codecs=\"avc1.42E01E\"", "audio/vnd.wave", "image/png", "application/geo+json"]
    {
        kvs.ask("PUT", "/kv/default/a", &[("content-type", content_type)], "x").await;
        let answer = kvs.get("/kv/default/a").await;
        assert_eq!((answer.header("content-type"), answer.header("content-disposition")), (content_type, ""));
    }
}

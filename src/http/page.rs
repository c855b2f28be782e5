//! The built-in page, at `/`: a chat for people, in development and with `--page`. Its files are embedded in the binary.

use std::hash::{DefaultHasher, Hasher};

use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use serde_json::json;

use crate::config::DEV_USERS;

use super::{Body, Http, assets, text};

/// Nothing but the page's own files runs, is shown or is talked to; nobody frames it, and no form of it goes anywhere. `'self'` covers
/// the WebSocket to the same host too (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; worker-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Tells the page what it cannot know: for whom it may ask `/dev/token`.
const MODE_PATH: &str = "/client/page/mode.json";

/// One of the page's files; `None` where there is no such file, and for all when the page is not served.
pub(super) fn answer(http: &Http, request: &Request<Incoming>) -> Option<Response<Body>> {
    if !http.has_page {
        return None;
    }
    let path = request.uri().path();
    if path == MODE_PATH {
        let mut response = secured(text(StatusCode::OK, mode(http.minter.is_some())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Some(response);
    }
    let asset = assets::find(path)?;
    let tag = entity_tag(asset.bytes);
    let is_known = request.headers().get_all(IF_NONE_MATCH).iter().any(|known| names(known.as_bytes(), tag.as_bytes()));
    let mut response = match is_known {
        true => text(StatusCode::NOT_MODIFIED, ""),
        false => text(StatusCode::OK, asset.bytes),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type()));
    // Another version of the server may have other files: they are kept, and asked for each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    Some(secured(response))
}

fn secured(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The demo users, or none where tokens come from elsewhere.
fn mode(has_tokens: bool) -> String {
    let users = DEV_USERS.iter().filter(|_| has_tokens).map(|(id, name)| json!({"id": id, "name": name}));
    json!({"users": users.collect::<Vec<_>>()}).to_string()
}

/// Differs where the bytes do; nobody gains from two files with the same one.
fn entity_tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether an `If-None-Match` header has this tag (RFC 9110, section 13.1.2); a weak one counts.
fn names(header: &[u8], tag: &[u8]) -> bool {
    let mut tags = header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_learns_of_demo_users_only_where_they_get_tokens() {
        assert_eq!(mode(false), r#"{"users":[]}"#);
        let users: serde_json::Value = serde_json::from_str(&mode(true)).unwrap();
        assert_eq!(users["users"].as_array().unwrap().len(), DEV_USERS.len());
        assert_eq!(users["users"][1], json!({"id": "bob", "name": "Bob"}));
    }

    #[test]
    fn a_tag_is_found_in_a_list_and_only_whole() {
        for known in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "*", " W/\"q\" ,\"ab\" "] {
            assert!(names(known.as_bytes(), b"\"ab\""), "{known}");
        }
        for other in ["", "ab", "\"abc\"", "\"a\"", "\"x\",\"y\""] {
            assert!(!names(other.as_bytes(), b"\"ab\""), "{other}");
        }
    }
}

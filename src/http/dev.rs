//! Tokens for whoever asks, in development: `GET /dev/token?sub=alice&name=Alice`. The server listens on loopback only then.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, VARY};
use hyper::{Request, Response, StatusCode};

use crate::config::is_loopback;
use crate::protocol::{UserId, encode};

use super::query::parameter;
use super::{Body, Http, text};

/// How long a development token is good.
pub(crate) const DEV_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);

pub(super) fn token(http: &Http, request: &Request<Incoming>) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let origin = header(ORIGIN);
    // A page of any other name, even one that resolves to this machine, gets no token.
    if !header(HOST).is_some_and(is_loopback) || !http.origins.allows(origin, header(HOST)) {
        return text(StatusCode::FORBIDDEN, "tokens are for pages of this machine\n");
    }
    let query = request.uri().query().unwrap_or_default();
    let Some(sub) = parameter(query, "sub").and_then(|sub| UserId::parse(&sub).ok()) else {
        return text(StatusCode::BAD_REQUEST, "say for whom: /dev/token?sub=alice, with 1 to 128 of A-Z a-z 0-9 . _ : @ | -\n");
    };
    let Some(minter) = &http.minter else { return text(StatusCode::NOT_FOUND, "not found\n") };
    let (name, issuer, audience) = (parameter(query, "name"), http.issuer.as_deref(), http.audience.as_deref());
    let token = minter.mint(&sub, name.as_deref(), DEV_TOKEN_TTL, http.shared.wall_clock(), issuer, audience);
    let mut body = Vec::new();
    encode::Object::begin(&mut body).string("token", &token).end();
    let mut response = text(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

//! The opening handshake (RFC 6455, section 4.2). Who may not connect is told so before anything is upgraded.

use std::cell::RefCell;
use std::net::IpAddr;

use fastwebsockets::upgrade::upgrade;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::auth::Identity;
use crate::worker::Admission;

use super::{Body, Http, text};

/// The subprotocol that is echoed when it is offered.
const SUBPROTOCOL: &str = "parlor.v1";

/// What an accepted handshake said.
pub(super) struct Accepted {
    /// Who it is, if the request carried a good token.
    pub(super) identity: Option<Identity>,
    /// Its place among the connections.
    pub(super) admission: Admission,
    /// The client's address as the trusted proxies tell it.
    pub(super) address: Option<IpAddr>,
}

/// Filled when a handshake was accepted.
#[derive(Default)]
pub(super) struct Slot(RefCell<Option<Accepted>>);

impl Slot {
    pub(super) fn take(&self) -> Option<Accepted> {
        self.0.borrow_mut().take()
    }
}

pub(super) fn answer(http: &Http, request: Request<Incoming>, slot: &Slot) -> Response<Body> {
    let address = forwarded_for(request.headers(), http.trusted_proxies);
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
    match accept(http, request) {
        Ok((response, identity, admission)) => {
            *slot.0.borrow_mut() = Some(Accepted { identity, admission, address });
            response
        }
        Err(response) => {
            tracing::debug!(status = response.status().as_u16(), origin, "a handshake was refused");
            http.shared.metrics.refused_upgrades.add_shared();
            *response
        }
    }
}

type Refusal = Box<Response<Body>>;

fn accept(http: &Http, mut request: Request<Incoming>) -> Result<(Response<Body>, Option<Identity>, Admission), Refusal> {
    if request.method() != Method::GET {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket handshake is a GET\n", Some((ALLOW, "GET"))));
    }
    check_origin(http, request.headers())?;
    check_handshake(&request)?;
    if http.is_draining() {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n", Some((RETRY_AFTER, "5"))));
    }
    let identity = authenticate(http, request.headers())?;
    let Some(admission) = http.shared.admit() else {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "too many connections\n", Some((RETRY_AFTER, "5"))));
    };
    let offers_subprotocol = offers_subprotocol(request.headers());
    // Its future would hand out hyper's wrapped stream; the raw one comes from hyper itself when this response is written.
    let Ok((accepted, _hypers_own_way)) = upgrade(&mut request) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "not a WebSocket handshake\n", None));
    };
    let mut response = accepted.map(|_empty| Full::new(Bytes::new()));
    if offers_subprotocol {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok((response, identity, admission))
}

fn check_origin(http: &Http, headers: &HeaderMap) -> Result<(), Refusal> {
    let text_of = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    // Two Origin or Host headers are no browser's: what one of them says proves nothing.
    let is_single = [ORIGIN, HOST].iter().all(|name| headers.get_all(name).iter().count() <= 1);
    if is_single && http.origins.allows(text_of(ORIGIN), text_of(HOST)) {
        return Ok(());
    }
    Err(refuse(StatusCode::FORBIDDEN, "this origin may not connect; see --allow-origin\n", None))
}

fn check_handshake(request: &Request<Incoming>) -> Result<(), Refusal> {
    let headers = request.headers();
    if !offers(headers, UPGRADE, "websocket") || !offers(headers, CONNECTION, "upgrade") {
        let message = "connect a WebSocket: Connection: Upgrade, Upgrade: websocket\n";
        return Err(refuse(StatusCode::UPGRADE_REQUIRED, message, Some((UPGRADE, "websocket"))));
    }
    let versions: Vec<_> = headers.get_all(SEC_WEBSOCKET_VERSION).iter().collect();
    if versions != ["13"] {
        let message = "the only WebSocket version here is 13\n";
        return Err(refuse(StatusCode::UPGRADE_REQUIRED, message, Some((SEC_WEBSOCKET_VERSION, "13"))));
    }
    let keys: Vec<_> = headers.get_all(SEC_WEBSOCKET_KEY).iter().collect();
    let is_key = matches!(keys.as_slice(), [key] if is_nonce(key.as_bytes()));
    let is_host_single = headers.get_all(HOST).iter().count() == 1;
    if !is_key || request.version() != Version::HTTP_11 || !is_host_single {
        let message = "a handshake needs HTTP/1.1, Host and a Sec-WebSocket-Key of 16 bytes in base64\n";
        return Err(refuse(StatusCode::BAD_REQUEST, message, None));
    }
    Ok(())
}

/// Sixteen bytes in base64: 22 characters and two of padding (RFC 6455, section 4.1).
fn is_nonce(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_base64)
}

/// Whether a comma-separated header has this token, in either case (RFC 9110, section 5.6.1).
fn offers(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let mut tokens = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens.any(|offered| offered.trim().eq_ignore_ascii_case(token))
}

/// Whether the subprotocol is offered; its name is case-sensitive (RFC 6455, section 11.3.4), as browsers check it.
fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut names = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|name| name.trim() == SUBPROTOCOL)
}

/// The identity of a request with `Authorization`; `None` without it: the first message authenticates then.
fn authenticate(http: &Http, headers: &HeaderMap) -> Result<Option<Identity>, Refusal> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let identity = token.and_then(|token| http.shared.verifier.verify(token, http.shared.wall_clock()).ok());
    match identity {
        Some(identity) => Ok(Some(identity)),
        None => {
            let message = "the token is not valid; fetch a new one\n";
            Err(refuse(StatusCode::UNAUTHORIZED, message, Some((WWW_AUTHENTICATE, "Bearer"))))
        }
    }
}

/// The address that the outermost trusted proxy saw: each appends the one it was called from, and what stands before theirs is
/// whatever the client wrote.
fn forwarded_for(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
    let values = headers.get_all("x-forwarded-for");
    let addresses: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    let address = addresses.get(addresses.len().checked_sub(trusted_proxies)?)?.trim();
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn refuse(status: StatusCode, message: &'static str, header: Option<(HeaderName, &'static str)>) -> Refusal {
    let mut response = text(status, message);
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Box::new(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let mut headers = HeaderMap::new();
        let seen = |headers: &HeaderMap, proxies| forwarded_for(headers, proxies).map(|address| address.to_string());
        assert_eq!(seen(&headers, 1), None);
        headers.append("x-forwarded-for", HeaderValue::from_static("6.6.6.6, 203.0.113.7"));
        headers.append("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
        assert_eq!(seen(&headers, 0), None);
        assert_eq!(seen(&headers, 1), Some("10.0.0.1".into()));
        assert_eq!(seen(&headers, 2), Some("203.0.113.7".into()));
        assert_eq!(seen(&headers, 4), None, "fewer than there should be: believed is nothing");
    }
}

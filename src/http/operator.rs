//! What an operator may do: `POST /operator/remove?user=ID` ends a user's connections with 4503, after which a client does not
//! come back by itself. Who must stay out for good needs their token revoked by whoever issues it, or to be let expire.

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};

use crate::protocol::UserId;

use super::query::parameter;
use super::{Body, Http, text};

pub(super) fn remove(http: &Http, request: &Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let is_operator = given.zip(http.operator_token.as_ref()).is_some_and(|((_, token), secret)| secret.is(token.trim()));
    if !is_operator {
        let mut response = text(StatusCode::UNAUTHORIZED, "this needs the operator's token\n");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let user = parameter(request.uri().query().unwrap_or_default(), "user");
    let Some(user) = user.and_then(|user| UserId::parse(&user).ok()) else {
        return text(StatusCode::BAD_REQUEST, "say whom: /operator/remove?user=alice\n");
    };
    tracing::info!(%user, "an operator removes a user");
    http.workers.remove(&user);
    text(StatusCode::ACCEPTED, "their connections are being closed\n")
}

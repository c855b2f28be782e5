//! HTTP: the WebSocket handshake, health, metrics, the built-in page, tokens for development. hyper on one runtime; after a
//! handshake the raw socket goes to a worker and hyper's memory goes with it.

mod assets;
mod dev;
mod listener;
mod operator;
mod page;
mod query;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::auth::{Minter, Secret};
use crate::config::OriginPolicy;
use crate::worker::{Shared, Upgraded, Workers};

pub(crate) use dev::DEV_TOKEN_TTL;
pub(crate) use listener::{accept_forever, listen};

/// Longest request head; a token of 8 KiB and a browser's headers fit.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long an answer of the store to `/readyz` holds.
const READY_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time the store may take to answer `/readyz`.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// What HTTP serves from.
pub(crate) struct Http {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Arc<Workers>,
    pub(crate) origins: OriginPolicy,
    /// Reverse proxies in front whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: usize,
    /// What the operator's requests must carry; without it there are none.
    pub(crate) operator_token: Option<Secret>,
    /// Signs tokens for anybody who asks, in development only.
    pub(crate) minter: Option<Minter>,
    /// Serves the built-in page.
    pub(crate) has_page: bool,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    /// When the store was asked last whether it answers, and whether it did.
    pub(crate) last_check: tokio::sync::Mutex<Option<(Instant, bool)>>,
    /// Turns true once, when the server stops.
    pub(crate) is_draining: AtomicBool,
}

type Body = Full<Bytes>;

impl Http {
    /// Serves one socket until it is a WebSocket, which goes to a worker, or is done.
    async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let accepted = Rc::new(upgrade::Slot::default());
        let (http, slot) = (Rc::clone(&self), Rc::clone(&accepted));
        let service = service_fn(move |request| {
            let (http, slot) = (Rc::clone(&http), Rc::clone(&slot));
            async move { Ok::<_, Infallible>(http.answer(request, &slot).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.shared.limits.handshake_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        // One deadline for reading the request and for the client's reading of the answer.
        let deadline = self.shared.limits.handshake_timeout;
        let parts = match tokio::time::timeout(deadline, connection.without_shutdown()).await {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => return tracing::debug!(%error, "a request was not one"),
            Err(_) => return tracing::debug!("a request took too long"),
        };
        let Some(upgrade::Accepted { identity, admission, address }) = accepted.take() else { return };
        match parts.io.into_inner().into_std() {
            Ok(stream) => {
                let received = parts.read_buf.to_vec();
                let address = address.unwrap_or_else(|| peer.ip().to_canonical());
                self.workers.adopt(Upgraded { stream, admission, address, received, identity });
            }
            Err(error) => tracing::warn!(%error, "a socket could not be taken over"),
        }
    }

    async fn answer(&self, request: Request<Incoming>, slot: &upgrade::Slot) -> Response<Body> {
        let is_get = request.method() == Method::GET || request.method() == Method::HEAD;
        match request.uri().path() {
            "/ws" => upgrade::answer(self, request, slot),
            "/healthz" if is_get => text(StatusCode::OK, "ok\n"),
            "/readyz" if is_get => self.ready().await,
            "/metrics" if is_get => self.metrics(),
            "/dev/token" if is_get && self.minter.is_some() => dev::token(self, &request),
            "/operator/remove" if self.operator_token.is_some() => operator::remove(self, &request),
            "/favicon.ico" if is_get => text(StatusCode::NO_CONTENT, ""),
            "/" if request.headers().contains_key(UPGRADE) => text(StatusCode::NOT_FOUND, "connect the WebSocket to /ws\n"),
            "/healthz" | "/readyz" | "/metrics" => only_get(),
            path => match page::answer(self, &request) {
                Some(response) if is_get => response,
                Some(_) => only_get(),
                None if path != "/" => text(StatusCode::NOT_FOUND, "not found\n"),
                None if is_get => text(StatusCode::OK, "This is a Parlor chat server. Connect a WebSocket to /ws.\n"),
                None => only_get(),
            },
        }
    }

    fn metrics(&self) -> Response<Body> {
        let mut response = text(StatusCode::OK, self.shared.metrics.render());
        let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    /// Whether new clients should come here: not while draining, nor while the store does not answer. The store is asked at most
    /// once a second: it writes and syncs to answer.
    async fn ready(&self) -> Response<Body> {
        if self.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let mut last = self.last_check.lock().await;
        let is_fresh = last.is_some_and(|(at, _)| at.elapsed() < READY_INTERVAL);
        if !is_fresh {
            let is_answering = self.is_store_answering().await;
            *last = Some((Instant::now(), is_answering));
        }
        match *last {
            Some((_, true)) => text(StatusCode::OK, "ready\n"),
            Some((_, false)) | None => text(StatusCode::SERVICE_UNAVAILABLE, "the store is not answering\n"),
        }
    }

    async fn is_store_answering(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        self.shared.store.check(Box::new(move |result| {
            // Nobody waits any longer: the answer came too late.
            let _too_late = sender.send(result);
        }));
        matches!(tokio::time::timeout(READY_TIMEOUT, receiver).await, Ok(Ok(Ok(()))))
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

fn only_get() -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // One request for each socket: whoever wants more of them opens a WebSocket.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

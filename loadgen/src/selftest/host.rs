//! Sockets around a [`House`]: hyper's handshake, fastwebsockets' frames, and one task that owns the house.

use std::collections::HashMap;
use std::convert::Infallible;

use fastwebsockets::{Frame, OpCode, Payload, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::house::{ConnectionId, House};

/// What connections tell the house. A channel is bounded by what a self-test of a few seconds sends.
enum Input {
    Opened(ConnectionId, UnboundedSender<String>),
    Heard(ConnectionId, String),
    Closed(ConnectionId),
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener) {
    let (inputs, waiting) = unbounded_channel();
    tokio::spawn(keep(waiting));
    let mut connection = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        connection += 1;
        let inputs = inputs.clone();
        let service = service_fn(move |request| welcome(request, connection, inputs.clone()));
        tokio::spawn(async move {
            // A connection that breaks is what the client finds out by itself.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

async fn keep(mut waiting: UnboundedReceiver<Input>) {
    let mut house = House::default();
    let mut connections: HashMap<ConnectionId, UnboundedSender<String>> = HashMap::new();
    while let Some(input) = waiting.recv().await {
        let texts = match input {
            Input::Opened(connection, texts) => {
                connections.insert(connection, texts);
                continue;
            }
            Input::Heard(connection, text) => house.hear(connection, &text),
            Input::Closed(connection) => {
                connections.remove(&connection);
                house.gone(connection)
            }
        };
        for (connection, text) in texts {
            if let Some(texts) = connections.get(&connection) {
                // One that has gone is told of by its own task.
                let _ = texts.send(text);
            }
        }
    }
}

async fn welcome(
    mut request: Request<Incoming>,
    connection: ConnectionId,
    inputs: UnboundedSender<Input>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let Ok((response, socket)) = upgrade::upgrade(&mut request) else {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    tokio::spawn(async move {
        let (texts, waiting) = unbounded_channel();
        // The house ends only with the self-test.
        let _ = inputs.send(Input::Opened(connection, texts));
        let _ = converse(socket, connection, &inputs, waiting).await;
        let _ = inputs.send(Input::Closed(connection));
    });
    Ok(response)
}

async fn converse(
    socket: upgrade::UpgradeFut,
    connection: ConnectionId,
    inputs: &UnboundedSender<Input>,
    mut texts: UnboundedReceiver<String>,
) -> Result<(), WebSocketError> {
    let (mut reader, mut writer) = socket.await?.split(tokio::io::split);
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    // Reading cannot be left off in the middle, so it has a task of its own.
    let inputs = inputs.clone();
    let mut reading = tokio::spawn(async move {
        let mut nothing_to_send = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
        while let Ok(frame) = reader.read_frame(&mut nothing_to_send).await {
            match frame.opcode {
                OpCode::Text => {
                    let text = String::from_utf8_lossy(&frame.payload).into_owned();
                    let _ = inputs.send(Input::Heard(connection, text));
                }
                OpCode::Close => return,
                OpCode::Binary | OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
            }
        }
    });
    loop {
        tokio::select! {
            _ = &mut reading => return Ok(()),
            text = texts.recv() => match text {
                Some(text) => writer.write_frame(Frame::text(Payload::Owned(text.into_bytes()))).await?,
                None => return Ok(()),
            },
        }
    }
}

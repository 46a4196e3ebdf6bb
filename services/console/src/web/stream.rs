//! `GET /events`: everything at first, then every change, as server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Console, Shown};
use crate::fleet::now;

/// How often a viewer that is shown nothing new hears that it still would be.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Pieces that wait for a viewer's connection.
const PIECES_LIMIT: usize = 4;

pub(super) async fn events(State(console): State<Console>) -> Response {
    let (pieces, receiver) = mpsc::channel(PIECES_LIMIT);
    tokio::spawn(show(console, pieces));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

type Pieces = mpsc::Sender<Result<Bytes, Infallible>>;

/// Shows a viewer everything, and from there on what changes, until it goes away.
async fn show(console: Console, pieces: Pieces) {
    let mut shutdown = console.0.shutdown.clone();
    tokio::select! {
        () = shutdown.requested() => (),
        _ = follow(&console, &pieces) => (),
    }
}

/// Nothing when the viewer has gone away.
async fn follow(console: &Console, pieces: &Pieces) -> Option<Infallible> {
    let mut frames = everything(console, pieces).await?;
    loop {
        match tokio::time::timeout(ALIVE_INTERVAL, frames.recv()).await {
            Ok(Ok((number, frame))) => send(pieces, event("frame", number, &frame)).await?,
            // It was too slow: what it has missed is in what there is.
            Ok(Err(RecvError::Lagged(_))) => frames = everything(console, pieces).await?,
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => send(pieces, ": alive\n\n".to_owned()).await?,
        }
    }
}

/// Everything that there is, and every frame after it.
async fn everything(console: &Console, pieces: &Pieces) -> Option<broadcast::Receiver<Shown>> {
    let (snapshot, number, frames): (Arc<str>, _, _) = {
        let scene = console.scene();
        (scene.snapshot(now()), scene.number(), console.0.frames.subscribe())
    };
    send(pieces, event("snapshot", number, &snapshot)).await?;
    Some(frames)
}

async fn send(pieces: &Pieces, text: String) -> Option<()> {
    pieces.send(Ok(text.into())).await.ok()
}

/// An event; JSON has no line breaks.
fn event(kind: &str, number: u64, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + 48);
    write!(text, "event: {kind}\nid: {number}\ndata: {data}\n\n").expect("a string takes all");
    text
}

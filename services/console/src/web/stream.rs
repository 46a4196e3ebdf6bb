//! `GET /events`: everything at first, then every change, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Console, VIEWERS_LIMIT, refused};
use crate::fleet::now;
use crate::scene::Next;

/// How often a viewer that is shown nothing new hears that it still would be.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Pieces that wait for a viewer's connection. What it is shown later waits in the history.
const PIECES_LIMIT: usize = 1;

pub(super) async fn events(State(console): State<Console>) -> Response {
    let Ok(place) = console.0.viewers.clone().try_acquire_owned() else {
        let reason = format!("{VIEWERS_LIMIT} viewers already: close a page");
        return refused(StatusCode::SERVICE_UNAVAILABLE, &reason);
    };
    let (pieces, receiver) = mpsc::channel(PIECES_LIMIT);
    tokio::spawn(async move {
        show(console, pieces).await;
        drop(place);
    });
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
    let mut frames = console.0.frames.subscribe();
    let mut number = everything(console, pieces).await?;
    loop {
        let next = console.scene().after(number);
        match next {
            Next::Frame(frame) => {
                number += 1;
                send(pieces, frame.event()).await?;
            }
            // What it has missed is in what there is.
            Next::Anew => number = everything(console, pieces).await?,
            Next::Nothing => match tokio::time::timeout(ALIVE_INTERVAL, frames.changed()).await {
                Ok(Ok(())) => (),
                Ok(Err(_)) => return None,
                Err(_) => send(pieces, Bytes::from_static(b": alive\n\n")).await?,
            },
        }
    }
}

/// Shows everything that there is; the number of the frame that was the last.
async fn everything(console: &Console, pieces: &Pieces) -> Option<u64> {
    let (snapshot, number) = {
        let scene = console.scene();
        (scene.snapshot(now()), scene.number())
    };
    send(pieces, snapshot.event()).await?;
    Some(number)
}

async fn send(pieces: &Pieces, piece: Bytes) -> Option<()> {
    pieces.send(Ok(piece)).await.ok()
}

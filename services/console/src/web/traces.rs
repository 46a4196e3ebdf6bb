//! What browsers ask about traces: a list, one of them, and files that other programs read.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Console, answered, refused};
use crate::traces::{Download, Filter, TraceId};

/// Pieces of a file that wait for a viewer's connection.
const PIECES_LIMIT: usize = 4;

type Parts = Query<Vec<(String, String)>>;

pub(super) async fn list(State(console): State<Console>, Query(parts): Parts) -> Response {
    let filter = match filter(&parts) {
        Ok(filter) => filter,
        Err(reason) => return refused(StatusCode::BAD_REQUEST, &reason),
    };
    let traces = console.traces().list(&filter);
    let stats = console.stats();
    answered(&json!({ "traces": traces, "stats": stats }))
}

pub(super) async fn one(State(console): State<Console>, Path(id): Path<String>) -> Response {
    let id = match id.parse::<TraceId>() {
        Ok(id) => id,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    // Null while it is not there: its spans may be on their way, and who waits for them asks again.
    answered(&json!(console.traces().trace(id)))
}

pub(super) async fn one_as_file(
    State(console): State<Console>,
    Path(id): Path<String>,
) -> Response {
    match id.parse::<TraceId>() {
        Ok(id) => file(console, vec![id], &format!("trace-{id}.json")),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

pub(super) async fn some_as_file(State(console): State<Console>, Query(parts): Parts) -> Response {
    let filter = match filter(&parts) {
        Ok(filter) => filter,
        Err(reason) => return refused(StatusCode::BAD_REQUEST, &reason),
    };
    let ids = console.traces().list(&filter).into_iter().map(|summary| summary.trace_id);
    let ids = ids.collect();
    file(console, ids, "traces.json")
}

fn filter(parts: &[(String, String)]) -> Result<Filter, String> {
    let mut filter = Filter::default();
    for (name, value) in parts {
        filter.set(name, value)?;
    }
    Ok(filter)
}

/// A file for another program, one trace after another: it may be larger than what there is room
/// for at once.
fn file(console: Console, ids: Vec<TraceId>, name: &str) -> Response {
    let (pieces, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(PIECES_LIMIT);
    tokio::spawn(async move {
        let mut download = Download::new(ids);
        loop {
            let piece = download.next(&console.traces());
            let Some(piece) = piece else { return };
            if pieces.send(Ok(piece.into())).await.is_err() {
                return;
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

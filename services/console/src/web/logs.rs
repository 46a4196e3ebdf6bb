//! What browsers ask about the log of a process.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::{Console, answered, refused};
use crate::logs::Level;

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// The key of the process.
    node: String,
    /// The least grave; all if it is unset.
    level: Option<String>,
    /// The number of the last line that is known.
    after: Option<u64>,
}

/// The last lines that a process has written.
pub(super) async fn logs(State(console): State<Console>, Query(wanted): Query<Wanted>) -> Response {
    let Wanted { node, level, after } = wanted;
    let level = level.filter(|level| !level.is_empty()).unwrap_or_else(|| "trace".to_owned());
    let Ok(least) = serde_json::from_value::<Level>(level.as_str().into()) else {
        let wrong = format!("level={level}: not one of error, warn, info, debug and trace");
        return refused(StatusCode::BAD_REQUEST, &wrong);
    };
    match console.scene().log(&node, least, after.unwrap_or(0)) {
        Some(lines) => answered(&lines),
        None => refused(StatusCode::NOT_FOUND, &format!("there is no {node}")),
    }
}

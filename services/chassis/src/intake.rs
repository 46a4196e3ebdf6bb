//! The body of a unary call on its way in: it must keep coming, and what all of them together hold
//! is bounded. gRPC's own limits apply to a message that has arrived whole, which is too late.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming};
use tokio::time::Sleep;
use tonic::Status;

/// How long nothing may come of a body that is not complete.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of all bodies that have not become requests yet.
const LIMIT: usize = 256 << 20;

/// Bytes that the bodies of one process hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Arc<AtomicUsize>);

/// One body.
pub(crate) struct Intake {
    body: Incoming,
    /// Of all, and of this one.
    held: Held,
    own: usize,
    /// Runs while nothing comes.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Intake {
    pub(crate) fn new(body: Incoming, held: Held) -> Self {
        Self { body, held, own: 0, patience: None }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.own, Ordering::Relaxed);
    }
}

impl Body for Intake {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience = None;
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.own += length;
                if self.held.0.fetch_add(length, Ordering::Relaxed) + length > LIMIT {
                    let reason = "too much is arriving at once; ask again in a moment";
                    return Poll::Ready(Some(Err(Status::resource_exhausted(reason))));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(Status::cancelled(error.to_string()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let sleep = || Box::pin(tokio::time::sleep(PATIENCE));
                ready!(self.patience.get_or_insert_with(sleep).as_mut().poll(context));
                let reason = format!("the rest of the request did not come within {PATIENCE:?}");
                Poll::Ready(Some(Err(Status::deadline_exceeded(reason))))
            }
        }
    }
}

//! A link to one peer: a stream that carries messages one way and is made again, with backoff,
//! whenever it breaks. What waits when it breaks, or is said faster than it carries, is lost; what
//! is said while it is down waits for the next attempt.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::Status;
use tracing::{debug, info, warn};

use crate::channel::{Channel, Connector};
use crate::traffic::Counter;

/// Messages that wait for the stream.
const QUEUE_LIMIT: usize = 4096;
/// Bytes of messages that wait for the stream.
const QUEUE_BYTES_LIMIT: usize = 64 << 20;
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
const LEAST_BACKOFF: Duration = Duration::from_millis(50);
const MOST_BACKOFF: Duration = Duration::from_secs(1);

/// What becomes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It stands.
    Made,
    /// It broke or could not be made: what was said may not have arrived.
    Broken,
}

/// A link to one peer. Clones are the same link.
pub struct Link<M> {
    queue: mpsc::Sender<M>,
    waiting: Arc<AtomicUsize>,
    nudge: Arc<Notify>,
}

impl<M> Clone for Link<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), waiting: self.waiting.clone(), nudge: self.nudge.clone() }
    }
}

impl<M> Debug for Link<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl<M: Message + 'static> Link<M> {
    /// Starts to keep a link to the peer at `address`, which counts what it carries with `sent`.
    /// `open` makes the stream on a channel and returns when it has ended; `tell` hears what
    /// becomes of it.
    pub fn keep<F, T>(
        connector: Connector,
        address: String,
        sent: Counter,
        open: impl Fn(Channel, Outgoing<M>) -> F + Send + 'static,
        tell: impl Fn(LinkEvent) -> T + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send,
        T: Future<Output = ()> + Send,
    {
        let (queue, receiver) = mpsc::channel(QUEUE_LIMIT);
        let link = Self { queue, waiting: Arc::default(), nudge: Arc::default() };
        let queue = Arc::new(Mutex::new(receiver));
        let outgoing = Outgoing { queue, waiting: link.waiting.clone(), sent };
        let nudge = link.nudge.clone();
        tokio::spawn(async move {
            let mut backoff = LEAST_BACKOFF;
            while !outgoing.is_closed() {
                match connector.connect(&address, CONNECT_DEADLINE).await {
                    Ok(channel) => {
                        info!(%address, "link made");
                        tell(LinkEvent::Made).await;
                        let made = Instant::now();
                        let ended = open(channel, outgoing.clone()).await;
                        // A peer that refuses what it has accepted is not tried faster for that.
                        if made.elapsed() >= MOST_BACKOFF {
                            backoff = LEAST_BACKOFF;
                        }
                        match ended {
                            // A goodbye: its last answers may still be on their way to us.
                            Ok(()) => info!(%address, "link closed by the peer"),
                            Err(status) => {
                                warn!(%address, reason = status.message(), "link broken");
                                outgoing.discard();
                                tell(LinkEvent::Broken).await;
                            }
                        }
                    }
                    Err(reason) => {
                        debug!(%address, %reason, "no link");
                        outgoing.discard();
                        tell(LinkEvent::Broken).await;
                    }
                }
                // A peer that shows itself again is tried at once.
                let _ = tokio::time::timeout(backoff, nudge.notified()).await;
                backoff = (backoff * 2).min(MOST_BACKOFF);
            }
        });
        link
    }

    /// Says something. False when it is lost because too much waits already.
    pub fn say(&self, message: M) -> bool {
        let length = message.encoded_len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed);
        // One message of any size passes when nothing else waits.
        let fits = waiting == 0 || waiting + length <= QUEUE_BYTES_LIMIT;
        if fits && self.queue.try_send(message).is_ok() {
            return true;
        }
        self.waiting.fetch_sub(length, Ordering::Relaxed);
        false
    }

    /// Whether nothing waits for the stream.
    pub fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// The peer has shown itself: if the link is down, it is tried again at once.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }
}

/// The messages of a link as a stream; it outlives the connections that carry it.
pub struct Outgoing<M> {
    queue: Arc<Mutex<mpsc::Receiver<M>>>,
    waiting: Arc<AtomicUsize>,
    /// What was taken by a connection.
    sent: Counter,
}

impl<M> Clone for Outgoing<M> {
    fn clone(&self) -> Self {
        let Self { queue, waiting, sent } = self;
        Self { queue: queue.clone(), waiting: waiting.clone(), sent: sent.clone() }
    }
}

impl<M> Debug for Outgoing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl<M: Message> Outgoing<M> {
    fn is_closed(&self) -> bool {
        self.queue.lock().expect("no holder panics").is_closed()
    }

    /// Loses whatever waits: it was meant for a connection that is gone.
    fn discard(&self) {
        let mut queue = self.queue.lock().expect("no holder panics");
        while let Ok(message) = queue.try_recv() {
            self.waiting.fetch_sub(message.encoded_len(), Ordering::Relaxed);
        }
    }
}

impl<M: Message> Stream for Outgoing<M> {
    type Item = M;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<M>> {
        let mut queue = self.queue.lock().expect("no holder panics");
        let message = std::task::ready!(queue.poll_recv(context));
        if let Some(message) = &message {
            self.waiting.fetch_sub(message.encoded_len(), Ordering::Relaxed);
            self.sent.count();
        }
        Poll::Ready(message)
    }
}

//! Local callers that wait for what comes of their requests.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use protocols::{Input, Protocol, Ticket};
use tokio::sync::oneshot;

use crate::Inbox;

/// The callers of a protocol that wait for an outcome, by the tickets of their requests.
///
/// How long they wait is left to them: one whose deadline has passed drops what it awaits.
pub struct Callers<P: Protocol, O> {
    inbox: Inbox<P>,
    forget: fn(Ticket) -> P::Request,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<Ticket, oneshot::Sender<O>>>,
}

impl<P: Protocol, O> Debug for Callers<P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").field("waiting", &self.waiting().len()).finish_non_exhaustive()
    }
}

impl<P: Protocol, O> Callers<P, O> {
    /// Nobody yet. When a caller goes away before it is answered, the protocol is told to `forget`
    /// its ticket.
    pub fn new(inbox: Inbox<P>, forget: fn(Ticket) -> P::Request) -> Self {
        Self { inbox, forget, next: AtomicU64::new(1), waiting: Mutex::default() }
    }

    /// A ticket that nobody else has, for a request whose outcome is told some other way.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Brings a request before the protocol and waits for what comes of it. Nothing when the
    /// protocol had ended before it took the request: then nothing was done.
    pub async fn ask(&self, request: impl FnOnce(Ticket) -> P::Request) -> Option<O> {
        let ticket = self.ticket();
        let (answer, outcome) = oneshot::channel();
        self.waiting().insert(ticket, answer);
        let _caller = Caller { callers: self, ticket };
        if !self.inbox.put(Input::Request(request(ticket))).await {
            return None;
        }
        Some(outcome.await.expect("who takes a caller out while it waits tells it the outcome"))
    }

    /// Tells a caller what came of its request, if it still waits.
    pub fn settle(&self, ticket: Ticket, outcome: O) {
        let caller = self.waiting().remove(&ticket);
        if let Some(caller) = caller {
            // An error means that the caller has just gone away.
            let _ = caller.send(outcome);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Ticket, oneshot::Sender<O>>> {
        self.waiting.lock().expect("no holder panics")
    }
}

/// Tells the protocol when a caller goes away before it is answered.
struct Caller<'a, P: Protocol, O> {
    callers: &'a Callers<P, O>,
    ticket: Ticket,
}

impl<P: Protocol, O> Drop for Caller<'_, P, O> {
    fn drop(&mut self) {
        if self.callers.waiting().remove(&self.ticket).is_some() {
            let inbox = self.callers.inbox.clone();
            let forget = Input::Request((self.callers.forget)(self.ticket));
            tokio::spawn(async move { inbox.put(forget).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use protocols::{NodeId, Outbox};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::{Faults, World, drive};

    /// Repeats what it is asked, and leaves the answer to the test.
    #[derive(Debug)]
    struct Puppet;

    #[derive(Debug, PartialEq, Eq)]
    enum Asked {
        Question(Ticket),
        Forget(Ticket),
    }

    impl Protocol for Puppet {
        type Message = ();
        type Timer = ();
        type Request = Asked;
        type Notice = Asked;
        type Record = ();
        type View = ();

        fn step(&mut self, _: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
            if let Input::Request(asked) = input {
                out.notify(asked);
            }
        }

        fn view(&self) {}
    }

    impl World<Puppet> for mpsc::Sender<Asked> {
        fn notify(&mut self, asked: Asked) {
            self.try_send(asked).expect("room");
        }

        async fn persist(&mut self, _: Vec<()>) -> anyhow::Result<()> {
            Ok(())
        }

        fn send(&mut self, _: NodeId, (): ()) {}
    }

    /// Callers, what their protocol hears, and the protocol.
    type Stage = (
        Arc<Callers<Puppet, Ticket>>,
        mpsc::Receiver<Asked>,
        JoinHandle<anyhow::Result<Infallible>>,
    );

    fn stage() -> Stage {
        let (inbox, outlet) = Inbox::new();
        let (sender, heard) = mpsc::channel(16);
        let driver = drive(NodeId(1), Puppet, sender, outlet, Faults::default());
        (Arc::new(Callers::new(inbox, Asked::Forget)), heard, tokio::spawn(driver))
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
    }

    /// Asks, and expects the ticket of its own request for an answer.
    fn ask(callers: &Arc<Callers<Puppet, Ticket>>) -> JoinHandle<()> {
        let callers = callers.clone();
        tokio::spawn(async move {
            let mut own = None;
            let outcome = callers.ask(|ticket| Asked::Question(*own.insert(ticket)));
            assert_eq!(soon(outcome).await, own);
        })
    }

    #[tokio::test]
    async fn each_caller_is_told_the_outcome_of_its_own_request() {
        let (callers, mut heard, _driver) = stage();
        let asking = [ask(&callers), ask(&callers)];
        assert_eq!(soon(heard.recv()).await, Some(Asked::Question(Ticket(1))));
        assert_eq!(soon(heard.recv()).await, Some(Asked::Question(Ticket(2))));
        for ticket in [2, 1].map(Ticket) {
            callers.settle(ticket, ticket);
        }
        for asking in asking {
            asking.await.unwrap();
        }
        // The protocol ends when nobody can ask any more: until then it heard nothing else.
        drop(callers);
        assert_eq!(soon(heard.recv()).await, None);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_is_forgotten() {
        let (callers, mut heard, _driver) = stage();
        let asking = ask(&callers);
        assert_eq!(soon(heard.recv()).await, Some(Asked::Question(Ticket(1))));
        asking.abort();
        assert_eq!(soon(heard.recv()).await, Some(Asked::Forget(Ticket(1))));
        assert!(callers.waiting().is_empty());
        // An answer that was on its way finds nobody.
        callers.settle(Ticket(1), Ticket(1));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_protocol_that_has_ended() {
        let (callers, _heard, driver) = stage();
        driver.abort();
        driver.await.unwrap_err();
        assert_eq!(soon(callers.ask(Asked::Question)).await, None);
        assert!(callers.waiting().is_empty());
    }
}

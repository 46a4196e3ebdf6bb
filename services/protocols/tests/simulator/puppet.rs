//! A toy protocol that does what its caller says and remembers what happens to it.

use std::time::Duration;

use protocols::{Input, NodeId, Outbox, Protocol};

/// A node without a will.
#[derive(Debug, Default)]
pub(crate) struct Puppet {
    seen: Vec<String>,
    records: Vec<u32>,
}

impl Puppet {
    pub(crate) fn new(_: NodeId, records: Vec<u32>, _: u64) -> Self {
        Self { seen: Vec::new(), records }
    }

    /// Each input since the last start but the requests, after its time in milliseconds.
    pub(crate) fn seen(&self) -> &[String] {
        &self.seen
    }

    /// What it was made from.
    pub(crate) fn records(&self) -> &[u32] {
        &self.records
    }
}

impl Protocol for Puppet {
    type Message = u32;
    type Timer = char;
    type Request = fn(&mut Outbox<Self>);
    type Notice = u32;
    type Record = u32;
    type View = ();

    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        match input {
            Input::Request(pull) => pull(out),
            Input::Start | Input::Message(..) | Input::Unreachable(_) | Input::Timeout(_) => {
                self.seen.push(format!("{} {input:?}", now.as_millis()));
            }
        }
    }

    fn view(&self) {}
}

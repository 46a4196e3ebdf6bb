//! The simulator does what it says: each fault happens, each can be undone, and a run repeats.

mod disks;
mod faults;
mod puppet;
// Other protocols' tests play scripts too.
#[path = "../script/mod.rs"]
mod script;
mod storms;
mod tally;

use std::error::Error;
use std::time::Duration;

use goldenscript::ArgumentConsumer;
use protocols::{NodeId, Ticket};

use self::tally::{Order, Record, Request, Tally};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Callers add to tallies: `request n1 add 7`.
#[derive(Default)]
struct Additions;

impl script::Scenario for Additions {
    type Protocol = Tally;

    fn make(node: NodeId, records: Vec<Record>, _: u64) -> Tally {
        Tally::new(node, Order::PersistFirst, records)
    }

    fn request(&mut self, words: &mut ArgumentConsumer<'_>) -> Result<Request, Box<dyn Error>> {
        match words.next_pos() {
            Some("add") => {
                Ok(Request::Add(Ticket(words.next_pos().ok_or("which ticket?")?.parse()?)))
            }
            word => Err(format!("a tally cannot {word:?}").into()),
        }
    }
}

#[test]
fn scripts_play_as_written() {
    script::play_all::<Additions>("tests/scripts/simulator");
}

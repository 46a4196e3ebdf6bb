//! The latest events, for watchers that begin, or come back, a little late.

use std::ops::Bound;
use std::sync::Arc;

use super::pages::Pages;
use super::{Compacted, Event, HISTORY_BYTES_LIMIT};
use crate::Index;

/// What an event costs beside its key and value, in bytes. The same everywhere, whatever the
/// machine: it decides what is kept.
const EVENT_BYTES: usize = 128;

/// The place of an event: its version, and its number among those of that version.
pub(super) type Place = (Index, u32);

/// The latest events, as many as fit into [`HISTORY_BYTES_LIMIT`]. Those of one version go at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    events: Pages<Place, Arc<Event>>,
    bytes: usize,
    /// The latest version that it does not have, if any ever went; 0 before.
    earliest: Index,
}

/// What an event costs, in bytes.
pub(super) fn event_bytes(event: &Event) -> usize {
    EVENT_BYTES + event.key.len() + event.item.as_ref().map_or(0, |item| item.value.len())
}

impl History {
    /// Without events, and without those up to and including this version.
    pub(super) fn since(earliest: Index) -> Self {
        Self { earliest, ..Self::default() }
    }

    /// The earliest version from which one can watch: it has every event after it.
    pub(super) fn earliest(&self) -> Index {
        self.earliest
    }

    /// The version of its last event; the earliest if it has none.
    pub(super) fn last(&self) -> Index {
        self.events.last().map_or(self.earliest, |((version, _), _)| *version)
    }

    /// Adds the next event.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        let number = match self.events.last() {
            Some(((version, number), _)) if *version == event.version => number + 1,
            Some(_) | None => 0,
        };
        self.bytes += event_bytes(&event);
        self.events.insert((event.version, number), event);
    }

    /// Drops what is beyond the limit.
    pub(super) fn trim(&mut self) {
        while HISTORY_BYTES_LIMIT < self.bytes
            && let Some((&(version, _), _)) = self.events.first()
        {
            self.earliest = version;
            self.drop_earliest();
        }
    }

    fn drop_earliest(&mut self) {
        while let Some((&place, event)) = self.events.first()
            && place.0 == self.earliest
        {
            self.bytes -= event_bytes(event);
            self.events.remove(&place);
        }
    }

    /// Every event after this version.
    pub(super) fn after(&self, version: Index) -> Result<Vec<Arc<Event>>, Compacted> {
        if version < self.earliest {
            return Err(Compacted { earliest: self.earliest });
        }
        let after = (version, u32::MAX);
        Ok(self.range(Bound::Excluded(&after)).map(|(_, event)| event.clone()).collect())
    }

    /// The events after one of them.
    pub(super) fn range(
        &self,
        after: Bound<&Place>,
    ) -> impl Iterator<Item = (&Place, &Arc<Event>)> {
        self.events.range(after)
    }
}

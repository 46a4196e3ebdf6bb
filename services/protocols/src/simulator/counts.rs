//! What has happened so far.

/// How often each thing happened: a test looks here to see that its storm was one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inputs that a protocol took.
    pub steps: u64,
    /// Messages that protocols sent, each counted once.
    pub sent: u64,
    /// Messages that protocols took, repetitions included.
    pub delivered: u64,
    /// Messages lost on the way.
    pub lost: u64,
    /// Messages that were made to arrive a second time.
    pub repeated: u64,
    /// Messages taken after one that the same sender had sent later.
    pub overtaken: u64,
    /// Messages that a cut link stopped.
    pub stopped: u64,
    /// Messages and requests that found their node down.
    pub missed: u64,
    /// Times that a node was told of a peer that it cannot reach.
    pub hints: u64,
    /// Starts of a node, the first one included.
    pub starts: u64,
    /// Crashes.
    pub crashes: u64,
    /// Crashes that left at least one effect of their step undone.
    pub torn: u64,
    /// Links cut in one direction; a partition cuts many.
    pub cuts: u64,
    /// Pauses.
    pub pauses: u64,
    /// Alarms that were due while their node was paused, and so go off late.
    pub late: u64,
    /// Syncs of slow disks that ended.
    pub syncs: u64,
    /// Records that a crash took because no sync had made them durable.
    pub lost_records: u64,
    /// Records that outlived a crash whole though no sync had made them durable.
    pub spared_records: u64,
    /// Records of which a part outlived a crash.
    pub torn_records: u64,
}

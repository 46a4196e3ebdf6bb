//! Figures of Ensemble beside those of peers, as ratios of one run: a machine's mood changes from
//! hour to hour, and a ratio much less.
//!
//! Everything is a real process on loopback that ends with the benchmark. `scripts/bench` builds
//! and runs the programs in `src/bin`.

pub mod chord;
pub mod console;
mod figures;
mod load;
pub mod overlay;
mod process;
mod program;
pub mod raft;
mod relay;
mod rounds;
mod spread;
mod usage;

/// The part of etcd's interface that is spoken.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod etcd {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

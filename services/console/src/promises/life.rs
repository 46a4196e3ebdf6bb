//! Which process it is that says something, and whether that is news.
//!
//! A process that begins anew may have lost what it had not written, and with an empty disk it is
//! another one. So what is compared over time is what one process said, or what is tied together by
//! a third one that ran all the while: without such a witness, all of a cluster may have been made
//! anew, and terms and entries may begin again.

use std::collections::BTreeMap;

use super::Observed;
use super::reading::print_of;

/// Processes that are known.
pub(super) const NODES_LIMIT: usize = 4_096;
/// Bytes of a key.
const KEY_LIMIT: usize = 600;
/// Milliseconds: a process that has lived for so long has not been replaced by another while its
/// beginning stays the same; and views are not older than this when they come.
pub(super) const CERTAIN_MS: u64 = 2_000;

/// The systems that promise something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Overlay,
    Raft,
    Chord,
}

impl System {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "overlay" => Some(Self::Overlay),
            "raft" => Some(Self::Raft),
            "chord" => Some(Self::Chord),
            _ => None,
        }
    }
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// It was not known, or the process is another one.
    pub(super) began: bool,
    /// It has become reachable or unreachable, or a fault was switched on or off.
    pub(super) turned: bool,
    /// It shows another view than before. What is left over of the process before it is not one.
    pub(super) told: bool,
}

#[derive(Debug)]
struct Life {
    system: System,
    started: Option<u64>,
    reachable: bool,
    broken: bool,
    /// Stands for the last view.
    print: Option<u64>,
    /// When this process said something new for the last time.
    told: Option<u64>,
}

/// The processes by key.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<String, Life>);

impl Lives {
    /// Something is seen of a process. Nothing if there are too many.
    pub(super) fn see(&mut self, at: u64, system: System, node: &Observed) -> Option<News> {
        let is_known = self.0.contains_key(node.key);
        if !is_known && (self.0.len() >= NODES_LIMIT || KEY_LIMIT < node.key.len()) {
            return None;
        }
        let Observed { reachable, started, broken, .. } = *node;
        let life = self.0.entry(node.key.to_owned()).or_insert(Life {
            system,
            started,
            reachable,
            broken,
            print: None,
            told: None,
        });
        if life.system != system {
            return None;
        }
        let began = !is_known || life.started != started;
        let turned = (life.reachable, life.broken) != (reachable, broken);
        (life.started, life.reachable, life.broken) = (started, reachable, broken);
        if began {
            life.told = None;
        }
        let print = node.view.and_then(print_of);
        let told = reachable && print.is_some() && print != life.print;
        if told {
            (life.print, life.told) = (print, Some(at));
        }
        Some(News { began, turned, told })
    }

    /// Whose system it was.
    pub(super) fn forget(&mut self, key: &str) -> Option<System> {
        self.0.remove(key).map(|life| life.system)
    }

    /// When the process began.
    pub(super) fn started(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.started
    }

    /// Whether a process of Raft ran when something was seen, and still ran when another one had
    /// begun: then both belong to one cluster.
    pub(super) fn ties(&self, seen: u64, began: u64) -> bool {
        self.0.values().any(|life| {
            let ran = life.started.is_some_and(|started| is_certain(started, seen));
            let runs = life.told.is_some_and(|told| is_certain(began, told));
            life.system == System::Raft && ran && runs
        })
    }
}

/// Whether a process that began then is, at this time, certainly itself.
pub(super) fn is_certain(started: u64, at: u64) -> bool {
    started.saturating_add(CERTAIN_MS) <= at
}

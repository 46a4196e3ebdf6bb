//! Breaking a process from its menu.

use std::time::Duration;

use chassis::channel::Connector;
use proto::ensemble::faults::v1 as pb;
use proto::ensemble::faults::v1::fault_service_client::FaultServiceClient;
use serde::Deserialize;
use tonic::{Code, Request};

use super::CONNECT;
use crate::picture::{Cut, Direction, Faults, Node};

/// How long a process may take to be broken.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be broken, and how.
#[derive(Debug, Deserialize)]
pub(crate) struct Break {
    /// The key of the process.
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) fault: Fault,
}

/// A fault.
#[derive(Debug, Deserialize)]
#[serde(tag = "fault", rename_all = "lowercase")]
pub(crate) enum Fault {
    /// It does nothing for so many milliseconds.
    Suspend { for_ms: u32 },
    /// It ends.
    Crash,
    /// Nothing passes between it and these peers.
    Cut {
        #[serde(default)]
        peers: Vec<String>,
        #[serde(default)]
        direction: Direction,
    },
    /// Messages to it wait.
    Delay { least_ms: u32, most_ms: u32 },
    /// Messages to it are lost.
    Drop { probability: f64 },
    /// All faults end.
    Heal,
}

/// Breaks a process, or heals it.
pub(crate) async fn break_it(
    connector: &Connector,
    node: &Node,
    fault: &Fault,
) -> Result<(), String> {
    if !node.faults_on {
        return Err(format!("{} cannot be broken; start it with CHASSIS_FAULTS=on", node.key));
    }
    let channel = connector.connect(&node.address, CONNECT).await;
    let mut client = FaultServiceClient::new(channel.map_err(|error| format!("{error:#}"))?);
    fn within<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(PATIENCE);
        request
    }
    let done = match fault {
        Fault::Suspend { for_ms } => {
            let request = pb::SuspendRequest { period_ms: *for_ms };
            client.suspend(within(request)).await.map(drop)
        }
        Fault::Crash => match client.crash(within(pb::CrashRequest {})).await {
            // Who is gone does not answer.
            Err(status) if status.code() != Code::Unimplemented => Ok(()),
            answer => answer.map(drop),
        },
        Fault::Cut { peers, direction } => {
            let direction = match direction {
                Direction::Both => pb::cut_request::Direction::Unspecified,
                Direction::In => pb::cut_request::Direction::In,
                Direction::Out => pb::cut_request::Direction::Out,
            };
            let (peers, direction) = (peers.clone(), direction.into());
            client.cut(within(pb::CutRequest { peers, direction })).await.map(drop)
        }
        Fault::Delay { least_ms, most_ms } => {
            let (least_ms, most_ms) = (*least_ms, *most_ms);
            client.delay(within(pb::DelayRequest { least_ms, most_ms })).await.map(drop)
        }
        Fault::Drop { probability } => {
            let request = pb::DropRequest { probability: *probability };
            client.drop(within(request)).await.map(drop)
        }
        Fault::Heal => client.heal(within(pb::HealRequest {})).await.map(drop),
    };
    done.map_err(|status| format!("{}: {}", node.key, status.message()))
}

impl Fault {
    /// What holds after it, at this time.
    pub(crate) fn mark(&self, faults: &mut Faults, at: u64) {
        match self {
            Self::Suspend { for_ms } => faults.suspended_until = Some(at + u64::from(*for_ms)),
            Self::Crash | Self::Heal => *faults = Faults::default(),
            Self::Cut { peers, direction } => {
                let cut = Cut { peers: peers.clone(), direction: *direction };
                // Who is cut off cannot be cut off more.
                if !faults.cut.contains(&cut) {
                    faults.cut.push(cut);
                }
            }
            Self::Delay { least_ms, most_ms } => faults.delay = Some((*least_ms, *most_ms)),
            Self::Drop { probability } => faults.drop = Some(*probability),
        }
    }

    /// In a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Suspend { .. } => "suspend",
            Self::Crash => "crash",
            Self::Cut { .. } => "cut",
            Self::Delay { .. } => "delay",
            Self::Drop { .. } => "drop",
            Self::Heal => "heal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cut_is_marked_once() {
        let mut faults = Faults::default();
        let cut = |peer: &str| {
            let (peers, direction) = (vec![peer.to_owned()], Direction::Both);
            Fault::Cut { peers, direction }
        };
        for peer in ["2", "2", "3", "2"] {
            cut(peer).mark(&mut faults, 1_000);
        }
        let peers = faults.cut.iter().flat_map(|cut| &cut.peers).collect::<Vec<_>>();
        assert_eq!(peers, ["2", "3"]);
        Fault::Heal.mark(&mut faults, 1_000);
        assert_eq!(faults, Faults::default());
    }
}

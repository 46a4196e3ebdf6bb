//! Faults that are switched on while a process runs, carried out where the messages of peers
//! enter and leave the protocol; and `ensemble.faults.v1.FaultService`, which switches them.

use std::collections::BTreeSet;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proto::ensemble::faults::v1::cut_request::Direction;
use proto::ensemble::faults::v1::fault_service_server::FaultService;
use proto::ensemble::faults::v1::{
    CrashRequest, CrashResponse, CutRequest, CutResponse, DelayRequest, DelayResponse, DropRequest,
    DropResponse, HealRequest, HealResponse, SuspendRequest, SuspendResponse,
};
use protocols::NodeId;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::status::invalid;

/// The faults of one process. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    /// Told whenever the state changes.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    suspended_until: Option<Instant>,
    cut_in: Cut,
    cut_out: Cut,
    delay: Option<(Duration, Duration)>,
    drop: f64,
    random: Option<StdRng>,
}

#[derive(Debug, Default)]
enum Cut {
    #[default]
    Nobody,
    These(BTreeSet<NodeId>),
    Everybody,
}

impl Cut {
    fn contains(&self, peer: NodeId) -> bool {
        match self {
            Self::Nobody => false,
            Self::These(peers) => peers.contains(&peer),
            Self::Everybody => true,
        }
    }

    fn add(&mut self, peers: &[NodeId]) {
        match self {
            _ if peers.is_empty() => *self = Self::Everybody,
            Self::Nobody => *self = Self::These(peers.iter().copied().collect()),
            Self::These(these) => these.extend(peers),
            Self::Everybody => (),
        }
    }
}

/// What becomes of a message that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Deliver,
    Delay(Duration),
    Lose,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Makes the process deaf and mute for a while, as if it were disconnected.
    pub fn suspend(&self, period: Duration) {
        warn!(?period, "fault: suspended");
        self.state().suspended_until = Some(Instant::now() + period);
        self.changed.notify_waiters();
    }

    pub(crate) fn of_arrival(&self, from: NodeId) -> Fate {
        let state = &mut *self.state();
        if state.cut_in.contains(from) {
            return Fate::Lose;
        }
        let Some(random) = &mut state.random else { return Fate::Deliver };
        if state.drop > 0.0 && random.random_bool(state.drop) {
            return Fate::Lose;
        }
        match state.delay {
            Some((least, most)) => Fate::Delay(random.random_range(least..=most)),
            None => Fate::Deliver,
        }
    }

    pub(crate) fn lets_pass(&self, to: NodeId) -> bool {
        !self.state().cut_out.contains(to)
    }

    /// Returns when things may happen: at once, unless this process is suspended.
    pub(crate) async fn allow(&self) {
        loop {
            let changed = self.changed.notified();
            let until = self.state().suspended_until.filter(|&until| until > Instant::now());
            let Some(until) = until else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => (),
                () = changed => (),
            }
        }
    }
}

/// Translates a peer's name.
pub(crate) type Names = Arc<dyn Fn(&str) -> Option<NodeId> + Send + Sync>;

pub(crate) struct Switchboard {
    pub(crate) faults: Faults,
    pub(crate) names: Names,
}

impl Switchboard {
    /// The state, with a generator for what happens at random.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.faults.state();
        // Faults from outside need no repeatable seed: the simulator is for that.
        state.random.get_or_insert_with(|| StdRng::seed_from_u64(crate::seed()));
        state
    }
}

#[tonic::async_trait]
impl FaultService for Switchboard {
    async fn suspend(
        &self,
        request: Request<SuspendRequest>,
    ) -> Result<Response<SuspendResponse>, Status> {
        let period_ms = request.get_ref().period_ms;
        if !(1..=600_000).contains(&period_ms) {
            return Err(invalid("period_ms", "1 to 600,000"));
        }
        self.faults.suspend(Duration::from_millis(u64::from(period_ms)));
        Ok(Response::new(SuspendResponse {}))
    }

    async fn cut(&self, request: Request<CutRequest>) -> Result<Response<CutResponse>, Status> {
        let request = request.into_inner();
        let direction = request.direction();
        let known = |name: &String| {
            (self.names)(name).ok_or_else(|| invalid("peers", format!("there is no peer {name}")))
        };
        let peers = request.peers.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        warn!(peers = ?request.peers, ?direction, "fault: cut off");
        let mut state = self.state();
        if direction != Direction::Out {
            state.cut_in.add(&peers);
        }
        if direction != Direction::In {
            state.cut_out.add(&peers);
        }
        Ok(Response::new(CutResponse {}))
    }

    async fn delay(
        &self,
        request: Request<DelayRequest>,
    ) -> Result<Response<DelayResponse>, Status> {
        let DelayRequest { least_ms, most_ms } = *request.get_ref();
        if least_ms > most_ms || most_ms > 60_000 {
            return Err(invalid("most_ms", "from least_ms to 60,000"));
        }
        warn!(least_ms, most_ms, "fault: delay");
        let time = |ms| Duration::from_millis(u64::from(ms));
        self.state().delay = Some((time(least_ms), time(most_ms)));
        Ok(Response::new(DelayResponse {}))
    }

    async fn drop(&self, request: Request<DropRequest>) -> Result<Response<DropResponse>, Status> {
        let probability = request.get_ref().probability;
        if !(0.0..=1.0).contains(&probability) {
            return Err(invalid("probability", "0 to 1"));
        }
        warn!(probability, "fault: drop");
        self.state().drop = probability;
        Ok(Response::new(DropResponse {}))
    }

    async fn heal(&self, _: Request<HealRequest>) -> Result<Response<HealResponse>, Status> {
        warn!("fault: healed");
        *self.faults.state() = State::default();
        self.faults.changed.notify_waiters();
        Ok(Response::new(HealResponse {}))
    }

    async fn crash(&self, _: Request<CrashRequest>) -> Result<Response<CrashResponse>, Status> {
        warn!("fault: crash");
        process::exit(137);
    }
}

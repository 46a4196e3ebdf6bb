//! Keeps one service alive: waits for what it depends on, starts it, watches its health, starts
//! it again by its policy, and stops it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use chassis::health::{Status, check};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::child::{Launch, Running};
use crate::compose::{Condition, Restart};
use crate::output::Sink;
use crate::state::Phase;
use crate::topology::Unit;

/// The pause before the first restart; it doubles with each that follows.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const BACKOFF_LIMIT: Duration = Duration::from_secs(10);
/// A service that was healthy for so long starts again with the first pause.
const RECOVERED: Duration = Duration::from_secs(10);
/// How often a service that has just started is asked whether it is healthy.
const EAGER: Duration = Duration::from_millis(20);
/// How long it is asked so often.
const EAGERNESS: Duration = Duration::from_secs(3);
/// How often a service that takes longer is asked.
const PATIENT: Duration = Duration::from_millis(250);
/// How long an answer about health may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether the whole shall stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// It shall run.
    No,
    /// It shall stop, and has its grace period for it.
    Gently,
    /// It shall be gone.
    AtOnce,
}

/// What has become of a service.
pub(crate) struct Report {
    /// Its position in the plan.
    pub(crate) position: usize,
    pub(crate) change: Change,
}

/// How a service has changed.
pub(crate) enum Change {
    Started {
        pid: u32,
    },
    Healthy,
    Unhealthy {
        reason: String,
    },
    /// It has ended by itself.
    Ended {
        how: String,
        well: bool,
        /// When it starts again, if it does.
        again_in: Option<Duration>,
    },
    /// It has ended because it was asked to.
    Stopped {
        /// It did not stop within its grace period.
        killed: bool,
    },
}

/// Keeps one service.
pub(crate) struct Keeper {
    pub(crate) position: usize,
    pub(crate) unit: Unit,
    pub(crate) sink: Arc<Sink>,
    pub(crate) launch: Launch,
    /// The certificates with which to ask about health.
    pub(crate) client_certs: Option<PathBuf>,
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) reports: mpsc::Sender<Report>,
    /// The phase of every service of the plan.
    pub(crate) phases: Vec<watch::Receiver<Phase>>,
}

/// How one life of a service ended.
enum End {
    /// We asked it to.
    Asked { killed: bool },
    /// By itself, after having been healthy for so long.
    Itself { how: String, well: bool, healthy_for: Duration },
}

impl Keeper {
    /// Keeps the service until it shall stop, or its policy lets it rest.
    pub(crate) async fn keep(mut self) {
        if !self.dependencies_are_met().await {
            return self.report(Change::Stopped { killed: false }).await;
        }
        let mut pause = BACKOFF_FIRST;
        let mut restarts = 0;
        loop {
            let (how, well, healthy_for) = match self.live().await {
                End::Asked { killed } => return self.report(Change::Stopped { killed }).await,
                End::Itself { how, well, healthy_for } => (how, well, healthy_for),
            };
            if healthy_for >= RECOVERED {
                pause = BACKOFF_FIRST;
            }
            let again = starts_again(self.unit.restart, well, restarts);
            let again_in = again.then_some(pause);
            self.report(Change::Ended { how, well, again_in }).await;
            if !again {
                return;
            }
            tokio::select! {
                () = sleep(pause) => (),
                () = asked(&mut self.stop, Stop::Gently) => {
                    return self.report(Change::Stopped { killed: false }).await;
                }
            }
            pause = (pause * 2).min(BACKOFF_LIMIT);
            restarts += 1;
        }
    }

    async fn report(&self, change: Change) {
        // The supervisor hears us out: it ends after all keepers.
        let _ = self.reports.send(Report { position: self.position, change }).await;
    }

    /// Waits for what the service depends on; false when all shall stop before.
    async fn dependencies_are_met(&mut self) -> bool {
        for (position, condition) in &self.unit.after {
            let Some(phase) = self.phases.get_mut(*position) else {
                continue;
            };
            tokio::select! {
                _ = phase.wait_for(|phase| is_met(*condition, *phase)) => (),
                () = asked(&mut self.stop, Stop::Gently) => return false,
            }
        }
        *self.stop.borrow() == Stop::No
    }

    /// One life, from start to end.
    async fn live(&mut self) -> End {
        let mut running = match Running::start(&self.unit, &self.sink, &self.launch) {
            Ok(running) => running,
            Err(error) => {
                let how = format!("cannot start: {error}");
                return End::Itself { how, well: false, healthy_for: Duration::ZERO };
            }
        };
        self.report(Change::Started { pid: running.pid }).await;
        let mut pulse = Pulse::new(&self.unit, self.client_certs.clone());
        let status = loop {
            tokio::select! {
                status = running.ended() => break status,
                change = pulse.change() => self.report(change).await,
                () = asked(&mut self.stop, Stop::Gently) => return self.end(running).await,
            }
        };
        running.last_words().await;
        let well = status.as_ref().is_ok_and(ExitStatus::success);
        let mut how = describe(status);
        if let Some(complaint) = self.sink.take_complaint().filter(|_| !well) {
            how = format!("{how}: {complaint}");
        }
        End::Itself { how, well, healthy_for: pulse.healthy_for() }
    }

    /// Ends a life: gently first.
    async fn end(&mut self, mut running: Running) -> End {
        running.terminate();
        let grace = self.unit.stop_grace_period;
        let killed = tokio::select! {
            ended = timeout(grace, running.ended()) => ended.is_err(),
            () = asked(&mut self.stop, Stop::AtOnce) => true,
        };
        if killed {
            running.kill();
            // The system does not refuse that signal.
            let _ = running.ended().await;
        }
        running.last_words().await;
        End::Asked { killed }
    }
}

/// Waits until all shall stop at least so.
async fn asked(stop: &mut watch::Receiver<Stop>, how: Stop) {
    // Without a supervisor there is nobody to run for.
    let _ = stop.wait_for(|stop| *stop >= how).await;
}

fn is_met(condition: Condition, phase: Phase) -> bool {
    match condition {
        Condition::Started => phase.runs() || phase == Phase::Finished,
        Condition::Healthy => phase == Phase::Healthy,
        Condition::Completed => phase == Phase::Finished,
    }
}

fn starts_again(restart: Restart, well: bool, restarts: u32) -> bool {
    match restart {
        Restart::No => false,
        Restart::Always => true,
        Restart::OnFailure(limit) => !well && limit.is_none_or(|limit| restarts < limit),
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("cannot be waited for: {error}"),
    }
}

/// The health of one life of a service.
struct Pulse<'a> {
    unit: &'a Unit,
    client_certs: Option<PathBuf>,
    born: Instant,
    /// Since when it is healthy.
    healthy: Option<Instant>,
    /// It has been healthy in this life.
    was_healthy: bool,
    /// Checks that have failed in a row.
    failed: u32,
}

impl<'a> Pulse<'a> {
    fn new(unit: &'a Unit, client_certs: Option<PathBuf>) -> Self {
        let born = Instant::now();
        Self { unit, client_certs, born, healthy: None, was_healthy: false, failed: 0 }
    }

    /// Waits until the service becomes healthy or ceases to be. May be abandoned and called again.
    async fn change(&mut self) -> Change {
        loop {
            sleep(self.pause()).await;
            let (unit, certs) = (self.unit, self.client_certs.as_deref());
            let answer = check(unit.address, certs, &unit.health_service, ANSWER).await;
            let reason = match answer {
                Ok(Status::Serving) => {
                    self.failed = 0;
                    if self.healthy.is_none() {
                        self.healthy = Some(Instant::now());
                        self.was_healthy = true;
                        return Change::Healthy;
                    }
                    continue;
                }
                Ok(Status::NotServing) => "it says that it does not serve".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            self.failed = self.failed.saturating_add(1);
            if self.healthy.is_some() && self.failed >= self.unit.health_retries {
                self.healthy = None;
                return Change::Unhealthy { reason };
            }
        }
    }

    /// How long until the next check.
    fn pause(&self) -> Duration {
        if self.was_healthy {
            self.unit.health_interval
        } else if self.born.elapsed() < EAGERNESS {
            EAGER
        } else {
            PATIENT
        }
    }

    fn healthy_for(&self) -> Duration {
        self.healthy.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide_who_starts_again() {
        assert!(!starts_again(Restart::No, false, 0));
        assert!(starts_again(Restart::Always, true, 1000));
        assert!(!starts_again(Restart::OnFailure(None), true, 0));
        assert!(starts_again(Restart::OnFailure(None), false, 1000));
        assert!(starts_again(Restart::OnFailure(Some(2)), false, 1));
        assert!(!starts_again(Restart::OnFailure(Some(2)), false, 2));
    }

    #[test]
    fn conditions_are_met_by_phases() {
        assert!(is_met(Condition::Started, Phase::Starting));
        assert!(is_met(Condition::Started, Phase::Unhealthy));
        assert!(!is_met(Condition::Started, Phase::Waiting));
        assert!(!is_met(Condition::Healthy, Phase::Starting));
        assert!(is_met(Condition::Healthy, Phase::Healthy));
        assert!(!is_met(Condition::Completed, Phase::Failed));
        assert!(is_met(Condition::Completed, Phase::Finished));
    }

    #[test]
    fn an_end_is_described() {
        assert_eq!(describe(Ok(ExitStatus::from_raw(0x100))), "exited with 1");
        assert_eq!(describe(Ok(ExitStatus::from_raw(9))), "was killed by signal 9");
    }
}

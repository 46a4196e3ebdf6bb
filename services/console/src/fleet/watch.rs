//! Watches the process at one address: its health, and what it shows of itself.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::channel::{Channel, Connector};
use proto::ensemble::faults::v1::SuspendRequest;
use proto::ensemble::faults::v1::fault_service_client::FaultServiceClient;
use proto::ensemble::observe::v1::observe_service_client::ObserveServiceClient;
use proto::ensemble::observe::v1::watch_response::Seen as Shown;
use proto::ensemble::observe::v1::{LogLevel, WatchRequest, WatchResponse};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::limits::shortened;
use crate::picture::Health;
use crate::scene::{EVENT_LIMIT, Identity, Seen};

/// How long a connection, or the answer to a question, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two attempts at an address where a process may begin at any moment.
const SOON: Duration = Duration::from_millis(250);
/// Time between two attempts at one whose process has been gone for long.
const LATER: Duration = Duration::from_secs(2);
/// How long a process is expected back at any moment.
const EXPECTED: Duration = Duration::from_secs(30);
/// The shortest time between two views, in milliseconds.
const VIEW_INTERVAL_MS: u32 = 50;
/// The largest view: ten times that of a node which knows hundreds of others.
const VIEW_LIMIT: usize = 64 << 10;
/// What is larger is not even read: whoever sends it is not observed further.
const MESSAGE_LIMIT: usize = 1 << 20;
/// Nothing that a health check says is as long.
const HEALTH_LIMIT: usize = 4 << 10;

/// What was seen at an address.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) address: Arc<str>,
    pub(crate) seen: Seen,
}

/// Nobody hears the reports any more.
struct Deaf;

/// Watches one address.
pub(super) struct Watcher {
    connector: Connector,
    /// How it is called there.
    service: Arc<str>,
    address: Arc<str>,
    reports: mpsc::Sender<Report>,
    /// Told when it is known who is there: before that, nothing else is of use.
    introduced: Notify,
    pulse: Mutex<Pulse>,
}

/// What is known of a process's health.
#[derive(Debug, Default)]
struct Pulse {
    /// What its health service says of the whole.
    whole: Option<Health>,
    /// What it says of its own services, unless they are always ready.
    ready: Option<bool>,
}

impl Pulse {
    fn health(&self) -> Option<Health> {
        let whole = self.whole?;
        let of_no_use = whole == Health::Serving && self.ready == Some(false);
        Some(if of_no_use { Health::NotServing } else { whole })
    }
}

impl Watcher {
    pub(super) fn new(
        connector: &Connector,
        service: &Arc<str>,
        address: Arc<str>,
        reports: &mpsc::Sender<Report>,
    ) -> Self {
        let (connector, service) = (connector.clone(), service.clone());
        let reports = reports.clone();
        let pulse = Mutex::default();
        Self { connector, service, address, reports, introduced: Notify::new(), pulse }
    }

    /// Watches until nobody hears it.
    pub(super) async fn run(self) {
        let mut lost = None;
        loop {
            if let Ok(channel) = self.connector.connect(&self.address, PATIENCE).await {
                if let Err(Deaf) = self.attend(channel).await {
                    return;
                }
                lost = Some(Instant::now());
            }
            if self.report(Seen::Health(Health::Unreachable)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause(lost.map(|lost| lost.elapsed()))).await;
        }
    }

    /// Something was heard of its health.
    async fn feel(&self, heard: impl FnOnce(&mut Pulse)) -> Result<(), Deaf> {
        let health = {
            let mut pulse = self.pulse.lock().expect("no holder panics");
            heard(&mut pulse);
            pulse.health()
        };
        match health {
            Some(health) => self.report(Seen::Health(health)).await,
            None => Ok(()),
        }
    }

    async fn report(&self, seen: Seen) -> Result<(), Deaf> {
        let report = Report { address: self.address.clone(), seen };
        self.reports.send(report).await.map_err(|_| Deaf)
    }

    /// Tells of the process for as long as the connection stands.
    async fn attend(&self, channel: Channel) -> Result<(), Deaf> {
        self.feel(|pulse| *pulse = Pulse::default()).await?;
        let observing = async {
            match self.observe(channel.clone()).await {
                // It shows nothing of itself: its health is all there is to see.
                Err(status) if status.code() == Code::Unimplemented => {
                    self.introduce().await?;
                    std::future::pending().await
                }
                // It would send the same again: its health is all that is left to see.
                Err(status) if status.code() == Code::OutOfRange => {
                    let limit = MESSAGE_LIMIT >> 10;
                    let text = format!("it shows more than {limit} KiB at once, and is not heard");
                    self.report(Seen::Event(text)).await?;
                    std::future::pending().await
                }
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        };
        tokio::select! {
            ended = observing => ended,
            ended = self.check(channel.clone()) => ended,
        }
    }

    /// What it shows of itself, until that ends.
    async fn observe(&self, channel: Channel) -> Result<Result<(), Deaf>, Status> {
        let mut client =
            ObserveServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        let (interval_ms, logs) = (Some(VIEW_INTERVAL_MS), LogLevel::Debug.into());
        let request = WatchRequest { interval_ms, traffic: true, logs };
        let mut shown = client.watch(request).await?.into_inner();
        let mut known = false;
        while let Some(shown) = shown.next().await {
            let shown = shown?;
            if !known {
                known = true;
                if let Err(Deaf) = self.meet(&shown, channel.clone()).await {
                    return Ok(Err(Deaf));
                }
            }
            let seen = match shown.seen {
                Some(Shown::View(view)) if view.len() > VIEW_LIMIT => {
                    let (size, limit) = (view.len() >> 10, VIEW_LIMIT >> 10);
                    Seen::Event(format!("its view takes {size} KiB: {limit} are shown at most"))
                }
                Some(Shown::View(view)) => Seen::View(view),
                Some(Shown::Event(event)) => Seen::Event(shortened(event, EVENT_LIMIT)),
                Some(Shown::Traffic(traffic)) => {
                    Seen::Traffic(shown.since_start_us, traffic.sent.into_iter().collect())
                }
                Some(Shown::Log(line)) => Seen::Log(line),
                Some(Shown::MissedLogs(lines)) => Seen::MissedLogs(lines),
                Some(Shown::Ready(ready)) => {
                    if let Err(Deaf) = self.feel(|pulse| pulse.ready = Some(ready)).await {
                        return Ok(Err(Deaf));
                    }
                    continue;
                }
                Some(Shown::Missed(events)) => Seen::Event(format!("{events} events were missed")),
                None => continue,
            };
            if let Err(Deaf) = self.report(seen).await {
                return Ok(Err(Deaf));
            }
        }
        Ok(Ok(()))
    }

    /// It has said who it is.
    async fn meet(&self, shown: &WatchResponse, channel: Channel) -> Result<(), Deaf> {
        let alive = Duration::from_micros(shown.since_start_us);
        let (role, name) = (shown.role.clone(), shown.node.clone());
        let started = Some(now().saturating_sub(alive.as_millis() as u64));
        self.report(Seen::Known(Identity { role, name, started })).await?;
        self.introduced.notify_one();
        self.report(Seen::Faults(has_faults(channel).await)).await
    }

    /// It does not say who it is: it goes by what it is called there, such as `chord-registry`.
    async fn introduce(&self) -> Result<(), Deaf> {
        let name = self.service.split_once('-').map_or(&*self.service, |(_, name)| name);
        let (role, name) = (self.service.to_string(), name.to_owned());
        self.report(Seen::Known(Identity { role, name, started: None })).await?;
        self.introduced.notify_one();
        Ok(())
    }

    /// How it is, until that ends.
    async fn check(&self, channel: Channel) -> Result<(), Deaf> {
        let mut client = HealthClient::new(channel).max_decoding_message_size(HEALTH_LIMIT);
        let request = HealthCheckRequest { service: String::new() };
        let Ok(answer) = client.watch(request).await else { return Ok(()) };
        let mut answers = answer.into_inner();
        self.introduced.notified().await;
        while let Some(Ok(answer)) = answers.next().await {
            let health = match answer.status() {
                ServingStatus::Serving => Health::Serving,
                ServingStatus::Unknown
                | ServingStatus::NotServing
                | ServingStatus::ServiceUnknown => Health::NotServing,
            };
            self.feel(|pulse| pulse.whole = Some(health)).await?;
        }
        Ok(())
    }
}

/// How long to wait before the next attempt at an address whose process is lost for so long; for
/// one where nobody was ever found, whose process was configured and is yet to begin.
fn pause(lost: Option<Duration>) -> Duration {
    if lost.is_some_and(|lost| lost >= EXPECTED) { LATER } else { SOON }
}

/// Whether a process has faults that can be switched on. It is asked for one that does not exist,
/// and refuses that if it knows what is meant.
async fn has_faults(channel: Channel) -> bool {
    let mut request = Request::new(SuspendRequest { period_ms: 0 });
    request.set_timeout(PATIENCE);
    let answer = FaultServiceClient::new(channel).suspend(request).await;
    answer.is_err_and(|status| status.code() == Code::InvalidArgument)
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    since_1970().as_millis() as u64
}

/// The time since 1970.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_begin_at_any_moment_is_looked_for_often() {
        let seconds = |lost: u64| pause(Some(Duration::from_secs(lost)));
        assert_eq!([pause(None), seconds(0), seconds(29)], [SOON; 3]);
        assert_eq!([seconds(30), seconds(3_600)], [LATER; 2]);
    }
}

//! Watches the process at one address: its health, and what it shows of itself.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::channel::Connector;
use proto::ensemble::faults::v1::SuspendRequest;
use proto::ensemble::faults::v1::fault_service_client::FaultServiceClient;
use proto::ensemble::observe::v1::observe_service_client::ObserveServiceClient;
use proto::ensemble::observe::v1::watch_response::Seen as Shown;
use proto::ensemble::observe::v1::{WatchRequest, WatchResponse};
use tokio::sync::{Notify, mpsc};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::picture::Health;
use crate::scene::{Identity, Seen};

/// How long a connection, or the answer to a question, may take.
const PATIENCE: Duration = Duration::from_secs(2);
const LEAST_BACKOFF: Duration = Duration::from_millis(200);
const MOST_BACKOFF: Duration = Duration::from_secs(2);
/// The shortest time between two views, in milliseconds.
const VIEW_INTERVAL_MS: u32 = 50;
/// The largest view.
const VIEW_LIMIT: usize = 1 << 20;
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
        Self { connector, service, address, reports, introduced: Notify::new() }
    }

    /// Watches until nobody hears it.
    pub(super) async fn run(self) {
        let mut backoff = LEAST_BACKOFF;
        loop {
            if let Ok(channel) = self.connector.connect(&self.address, PATIENCE).await {
                backoff = LEAST_BACKOFF;
                if let Err(Deaf) = self.attend(channel).await {
                    return;
                }
            }
            if self.report(Seen::Health(Health::Unreachable)).await.is_err() {
                return;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MOST_BACKOFF);
        }
    }

    async fn report(&self, seen: Seen) -> Result<(), Deaf> {
        let report = Report { address: self.address.clone(), seen };
        self.reports.send(report).await.map_err(|_| Deaf)
    }

    /// Tells of the process for as long as the connection stands.
    async fn attend(&self, channel: Channel) -> Result<(), Deaf> {
        let observing = async {
            match self.observe(channel.clone()).await {
                // It shows nothing of itself: its health is all there is to see.
                Err(status) if status.code() == Code::Unimplemented => {
                    self.introduce().await?;
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
            ObserveServiceClient::new(channel.clone()).max_decoding_message_size(VIEW_LIMIT);
        let request = WatchRequest { interval_ms: Some(VIEW_INTERVAL_MS) };
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
                Some(Shown::View(view)) => Seen::View(view),
                Some(Shown::Event(event)) => Seen::Event(event),
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
            self.report(Seen::Health(health)).await?;
        }
        Ok(())
    }
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
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

//! The three roles, and how a process of the overlay begins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chassis::{Chassis, Environment, Inbox, LinkEvent, Role, Services, Settings as _, drive};
use protocols::overlay::{self, Overlay, Request, Topology};
use protocols::{Input, NodeId};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::config::Config;
use crate::service::{Calls, Metrics, Service};
use crate::{TWO_HOSTS, client, lint};

chassis::settings! {
    /// The settings of a process of the overlay.
    pub(crate) struct Settings from "OVERLAY_" {
        /// File of processes; the document's two hosts when unset.
        config: Option<String> = "",
        /// Which process of the file this is, such as `A`.
        id: String = "",
        /// Where processes are, over what the file says: `A=192.168.1.1:50051,B=…`.
        addresses: Option<String> = "",
        /// The most requests in hand at once.
        active_limit: usize = "100",
        /// The most requests that wait; only a leader has a queue.
        queue_limit: usize = "200",
        /// Time for an answer when the caller sets none, in milliseconds.
        budget_ms: u64 = "10000",
        /// Time between two signs of life to each neighbour, in milliseconds.
        heartbeat_ms: u64 = "500",
        /// Silence after which a neighbour is presumed dead, in milliseconds.
        patience_ms: u64 = "2000",
    }
}

// Statics, not constants: a constant's code is compiled again in every binary that uses it.

/// The process with the queue: A of the document.
pub static LEADER: Role = role(
    "overlay-leader",
    "The leader of the overlay: takes requests into its queue and fans them out to the teams.",
    |chassis| Box::pin(process(chassis, overlay::Role::Leader)),
);

/// The head of a team: B and E of the document.
pub static TEAM_LEADER: Role = role(
    "overlay-team-leader",
    "A team leader of the overlay: splits requests among its neighbouring workers.",
    |chassis| Box::pin(process(chassis, overlay::Role::TeamLeader)),
);

/// A member of a team: C, D and F of the document.
pub static WORKER: Role =
    role("overlay-worker", "A worker of the overlay: does the work.", |chassis| {
        Box::pin(process(chassis, overlay::Role::Worker))
    });

/// Every role of the overlay.
pub static ROLES: &[&Role] = &[&LEADER, &TEAM_LEADER, &WORKER];

const fn role(
    name: &'static str,
    about: &'static str,
    start: fn(Chassis) -> chassis::Start,
) -> Role {
    Role {
        name,
        about,
        variables: (Settings::PREFIX, Settings::VARIABLES),
        arguments: &["OVERLAY_CONFIG", "OVERLAY_ID"],
        address,
        beside: |_| Ok(None),
        start,
    }
}

fn config(settings: &Settings) -> anyhow::Result<Config> {
    let mut config = match &settings.config {
        Some(path) => Config::read(Path::new(path)).context("OVERLAY_CONFIG")?,
        None => Config::parse(TWO_HOSTS)?,
    };
    if let Some(addresses) = &settings.addresses {
        config.relocate(addresses).context("OVERLAY_ADDRESSES")?;
    }
    Ok(config)
}

fn address(environment: &Environment) -> anyhow::Result<SocketAddr> {
    let settings: Settings = environment.read()?;
    let config = config(&settings)?;
    let address = config.process(&settings.id).context("OVERLAY_ID")?.address();
    told(&settings, NodeId(0))?;
    chassis::resolve(&address, &format!("process {}", settings.id))
}

/// What the protocol is told, checked.
fn told(settings: &Settings, me: NodeId) -> anyhow::Result<overlay::Config> {
    ensure!(settings.active_limit > 0, "OVERLAY_ACTIVE_LIMIT=0: at least 1");
    for (name, value, most) in [
        ("OVERLAY_HEARTBEAT_MS", settings.heartbeat_ms, 60_000),
        ("OVERLAY_PATIENCE_MS", settings.patience_ms, 600_000),
        ("OVERLAY_BUDGET_MS", settings.budget_ms, 60_000),
    ] {
        ensure!((1..=most).contains(&value), "{name}={value}: 1 to {most}");
    }
    let (heartbeat, patience) = (settings.heartbeat_ms, settings.patience_ms);
    ensure!(
        patience >= 2 * heartbeat,
        "OVERLAY_PATIENCE_MS={patience}: at least twice OVERLAY_HEARTBEAT_MS={heartbeat}, \
         or every neighbour seems dead"
    );
    Ok(overlay::Config {
        me,
        active_limit: settings.active_limit,
        queue_limit: settings.queue_limit,
        heartbeat: Duration::from_millis(heartbeat),
        patience: Duration::from_millis(patience),
    })
}

async fn process(chassis: Chassis, role: overlay::Role) -> anyhow::Result<()> {
    let settings: Settings = chassis.environment.read()?;
    let config = config(&settings)?;
    let topology = Arc::new(config.topology()?);
    for problem in lint(&config) {
        tracing::warn!(problem, "the file of processes");
    }
    let me = topology.named(&settings.id).context("OVERLAY_ID names no process")?;
    let place = topology.place(me);
    if place.role != role {
        let binary = place.role.name().replace('_', "-");
        bail!("{} is a {} in the file: run overlay-{binary}", place.name, place.role.name());
    }
    let (inbox, outlet) = Inbox::new();
    let links = links(&chassis, &config, &topology, me, &inbox)?;
    let metrics = Arc::new(Metrics::new(&chassis.telemetry.meter()));
    let service = Service {
        me,
        topology: topology.clone(),
        inbox: inbox.clone(),
        links: Arc::new(links),
        telemetry: chassis.telemetry.clone(),
        events: chassis.events.clone(),
        shutdown: chassis.shutdown.clone(),
        metrics: metrics.clone(),
        budget: Duration::from_millis(settings.budget_ms),
        calls: Arc::new(Calls::new(inbox.clone())),
    };
    let mut random = StdRng::seed_from_u64(chassis::seed());
    let protocol = Overlay::new(told(&settings, me)?, (*topology).clone(), &mut random);
    let services = Services::default().with(service.document()).with(service.own());
    tokio::spawn(service.clone().take_leave());
    let driver = drive(me, protocol, service, outlet, chassis.faults.clone());
    let named = topology.clone();
    let peers = move |name: &str| named.named(name);
    let seen = move |view| metrics.see(view);
    chassis.serve_protocol(&settings.id, services, inbox, peers, seen, driver).await
}

fn links(
    chassis: &Chassis,
    config: &Config,
    topology: &Topology,
    me: NodeId,
    inbox: &Inbox<Overlay>,
) -> anyhow::Result<BTreeMap<NodeId, chassis::Link<proto::ensemble::overlay::v1::LinkRequest>>> {
    let place = topology.place(me);
    let mut links = BTreeMap::new();
    for &neighbour in &place.neighbours {
        let name = &topology.place(neighbour).name;
        let (address, sent) = (config.process(name)?.address(), chassis.traffic.to(name));
        let inbox = inbox.clone();
        let tell = move |event| {
            let inbox = inbox.clone();
            async move {
                let input = match event {
                    LinkEvent::Made => Input::Request(Request::Linked(neighbour)),
                    LinkEvent::Broken => Input::Unreachable(neighbour),
                };
                inbox.put(input).await;
            }
        };
        let connector = chassis.connector.clone();
        let link = client::link(connector, place.name.clone(), address, sent, tell);
        links.insert(neighbour, link);
    }
    Ok(links)
}

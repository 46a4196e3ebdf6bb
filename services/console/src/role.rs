//! The role `console`: its settings, and how its process begins and ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chassis::channel::is_address;
use chassis::{Chassis, Role, Services, Settings as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::fleet::{self, Place, Report};
use crate::web::{self, Console};

/// Time between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);
/// The least characters of a token.
const TOKEN_LENGTH: usize = 16;

chassis::settings! {
    /// The settings of a console.
    pub(crate) struct ConsoleSettings from "CONSOLE_" {
        /// Where browsers find it, `host:port`.
        address: String = "127.0.0.1:8080",
        /// The processes that it watches, `service=host:port,service=host:port,…`. A host that is
        /// several addresses stands for all of them; who is not there is looked for again and
        /// again.
        nodes: String = "",
        /// Where processes send their spans, `host:port`, by OTLP/gRPC; nowhere when it is empty.
        traces: Option<String> = "127.0.0.1:4317",
        /// What a browser must be told to be let in; nobody needs it on loopback when it is unset.
        token: Option<String> = "",
        /// Mebibytes of what was seen in the last ten minutes that are kept.
        history_mib: usize = "8",
    }
}

/// The console.
pub static CONSOLE: Role = Role {
    name: "console",
    about: "Shows a running cluster on a web page, and lets one act on it and break it.",
    variables: (ConsoleSettings::PREFIX, ConsoleSettings::VARIABLES),
    arguments: &["CONSOLE_ADDRESS", "CONSOLE_NODES"],
    address: |environment| {
        let plan = Plan::of(environment.read()?)?;
        Ok(plan.address)
    },
    start: |chassis| Box::pin(start(chassis)),
};

/// Every role of this package.
pub static ROLES: &[&Role] = &[&CONSOLE];

/// What the settings say, checked.
#[derive(Debug)]
struct Plan {
    address: SocketAddr,
    traces: Option<SocketAddr>,
    places: Vec<Place>,
    token: Option<String>,
    history_bytes: usize,
}

impl Plan {
    fn of(settings: ConsoleSettings) -> anyhow::Result<Self> {
        let address =
            chassis::resolve(&settings.address, "the console").context("CONSOLE_ADDRESS")?;
        let traces = settings.traces.as_deref().filter(|traces| !traces.is_empty());
        let traces = traces.map(|traces| chassis::resolve(traces, "the trace service"));
        let traces = traces.transpose().context("CONSOLE_TRACES")?;
        let names = settings.nodes.split(',').map(str::trim).filter(|name| !name.is_empty());
        let places = names.map(place).collect::<anyhow::Result<_>>()?;
        let token = settings.token;
        match &token {
            Some(token) => ensure!(
                TOKEN_LENGTH <= token.len(),
                "CONSOLE_TOKEN: {} characters are guessed too easily; {TOKEN_LENGTH} at least",
                token.len()
            ),
            None => ensure!(
                address.ip().is_loopback(),
                "CONSOLE_ADDRESS={address} is reached from elsewhere: set CONSOLE_TOKEN, or listen \
                 on 127.0.0.1"
            ),
        }
        let mebibytes = settings.history_mib;
        ensure!((1..=1024).contains(&mebibytes), "CONSOLE_HISTORY_MIB={mebibytes}: 1 to 1,024");
        Ok(Self { address, traces, places, token, history_bytes: mebibytes << 20 })
    }
}

/// Reads `service=host:port`.
fn place(text: &str) -> anyhow::Result<Place> {
    let (service, address) = text.split_once('=').unwrap_or_default();
    ensure!(
        !service.is_empty() && is_address(address),
        "CONSOLE_NODES: {text}: not a service and where it is, such as raft-1=127.0.0.1:50071"
    );
    Ok(Place { service: service.into(), address: address.into() })
}

async fn start(chassis: Chassis) -> anyhow::Result<()> {
    let plan = Plan::of(chassis.environment.read()?)?;
    let reports = fleet::watch(&chassis.connector, &plan.places);
    let shutdown = chassis.shutdown.clone();
    let console = Console::new(&chassis.connector, plan.token, plan.history_bytes, shutdown);
    let mut services = Services::default().with_pages(web::pages(&console));
    if let Some(address) = plan.traces {
        services = services.with_beside(address, console.receiver().into_service());
    }
    tracing::info!("the page is at http://{}/", plan.address);
    chassis.serve(services, show(console, reports)).await
}

/// Puts what is seen into the scene, and shows what has changed.
async fn show(console: Console, mut reports: mpsc::Receiver<Report>) -> anyhow::Result<Infallible> {
    let mut frames = tokio::time::interval(FRAME_INTERVAL);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(report) = reports.recv() => console.see(report),
            _ = frames.tick() => console.show(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(address: &str, nodes: &str, token: Option<&str>) -> anyhow::Result<Plan> {
        Plan::of(ConsoleSettings {
            address: address.into(),
            nodes: nodes.into(),
            traces: None,
            token: token.map(str::to_owned),
            history_mib: 8,
        })
    }

    #[test]
    fn off_loopback_it_demands_a_token() {
        assert!(plan("127.0.0.1:8080", "", None).is_ok());
        let error = plan("0.0.0.0:8080", "", None).expect_err("anybody could break the cluster");
        assert!(error.to_string().contains("set CONSOLE_TOKEN"), "{error}");
        let error = plan("0.0.0.0:8080", "", Some("short")).expect_err("it is guessed");
        assert!(error.to_string().contains("16 at least"), "{error}");
        assert!(plan("0.0.0.0:8080", "", Some("0123456789abcdef")).is_ok());
    }

    #[test]
    fn nodes_are_a_list_of_addresses() {
        let places = plan("127.0.0.1:1", " a=x:1, b=y:2,,", None).expect("well formed").places;
        let place = |(service, address): (&str, &str)| Place {
            service: service.into(),
            address: address.into(),
        };
        assert_eq!(places, [("a", "x:1"), ("b", "y:2")].map(place));
        for wrong in ["a=x:1,b=y", "x:1", "=x:1", "a="] {
            let error = plan("127.0.0.1:1", wrong, None).expect_err(wrong).to_string();
            assert!(error.starts_with("CONSOLE_NODES: "), "{error}");
        }
    }
}

//! The role `console`: its settings, and how its process begins and ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chassis::channel::{is_address, is_by_tls};
use chassis::{Chassis, Role, Services, Settings as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::fleet::{self, Place, Report};
use crate::traces::{DEADLINE, Forwarder, QUEUE_BYTES};
use crate::web::{self, Console, Session};

/// How long spans may take to be passed on at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Time between two frames. A process looks for changes of its view every 50 ms: together they are
/// seen in less than 100.
const FRAME_INTERVAL: Duration = Duration::from_millis(33);
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
        /// Another collector that all spans are passed on to by OTLP/gRPC: `http://host:port`, or
        /// `https://host:port` for mutual TLS.
        forward: Option<String> = "",
        /// What a browser must be told to be let in. When it is unset, nobody needs it on loopback,
        /// and elsewhere one is drawn at every start and logged.
        token: Option<String> = "",
        /// Mebibytes of what was seen in the last ten minutes that are kept; what is long past is
        /// made coarser before it is dropped.
        history_mib: usize = "4",
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
    beside: |environment| Ok(Plan::of(environment.read()?)?.traces),
    start: |chassis| Box::pin(start(chassis)),
};

/// Every role of this package.
pub static ROLES: &[&Role] = &[&CONSOLE];

/// What the settings say, checked.
#[derive(Debug)]
struct Plan {
    address: SocketAddr,
    traces: Option<SocketAddr>,
    forward: Option<String>,
    places: Vec<Place>,
    token: Token,
    history_bytes: usize,
}

/// What lets a browser in.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// Nothing is asked for.
    None,
    /// Set by the user, who knows it.
    Given(String),
    /// Drawn at this start, and told in the log.
    Drawn(String),
}

impl Plan {
    fn of(settings: ConsoleSettings) -> anyhow::Result<Self> {
        let address =
            chassis::resolve(&settings.address, "the console").context("CONSOLE_ADDRESS")?;
        let traces = settings.traces.as_deref().filter(|traces| !traces.is_empty());
        let traces = traces.map(|traces| chassis::resolve(traces, "the trace service"));
        let traces = traces.transpose().context("CONSOLE_TRACES")?;
        if let Some(forward) = &settings.forward {
            is_by_tls(forward).context("CONSOLE_FORWARD")?;
            let own = traces.is_some_and(|own| leads_to(forward, own));
            ensure!(!own, "CONSOLE_FORWARD={forward}: that is this console, CONSOLE_TRACES");
        }
        let forward = settings.forward;
        let names = settings.nodes.split(',').map(str::trim).filter(|name| !name.is_empty());
        let places = names.map(place).collect::<anyhow::Result<_>>()?;
        let token = match settings.token {
            Some(token) => Token::Given(token),
            None if address.ip().is_loopback() => Token::None,
            None => Token::Drawn(chassis::secret()),
        };
        if let Token::Given(token) = &token {
            ensure!(
                TOKEN_LENGTH <= token.len(),
                "CONSOLE_TOKEN: {} characters are guessed too easily; {TOKEN_LENGTH} at least",
                token.len()
            );
        }
        let mebibytes = settings.history_mib;
        ensure!((1..=1024).contains(&mebibytes), "CONSOLE_HISTORY_MIB={mebibytes}: 1 to 1,024");
        Ok(Self { address, traces, forward, places, token, history_bytes: mebibytes << 20 })
    }
}

/// Whether what is passed on to `url` comes back to this address of its own, as far as that is told
/// without a look at who has which name.
fn leads_to(url: &str, own: SocketAddr) -> bool {
    let address = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let address = address.replace("localhost:", "127.0.0.1:");
    address.parse::<SocketAddr>().is_ok_and(|there| {
        let is_here = there.ip().is_loopback() && own.ip().is_unspecified();
        there.port() == own.port() && (there.ip() == own.ip() || is_here)
    })
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
    let secure = chassis.connector.is_secure();
    let at = page(plan.address, secure);
    let token = match plan.token {
        Token::None => {
            tracing::info!("the page is at {at}");
            None
        }
        Token::Given(token) => {
            tracing::info!("the page is at {at}, and asks for CONSOLE_TOKEN");
            Some(token)
        }
        Token::Drawn(token) => {
            tracing::info!("the page is at {at}#token={token}");
            Some(token)
        }
    };
    let session = Session::new(token, secure);
    let forwarder = plan.forward.as_deref().map(|url| forward(&chassis, url)).transpose()?;
    let console = Console::new(&chassis, session, plan.history_bytes, forwarder.clone());
    let mut services = Services::default().with_pages(web::pages(&console));
    if let Some(address) = plan.traces {
        services = services.with_beside(address, console.receiver().into_service());
    }
    let served = chassis.serve(services, show(console, reports)).await;
    if let Some(forwarder) = forwarder {
        forwarder.finish(FAREWELL).await;
    }
    served
}

/// Where a browser on this machine finds the page.
fn page(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    match address.ip().is_unspecified() {
        true => format!("{scheme}://127.0.0.1:{}/", address.port()),
        false => format!("{scheme}://{address}/"),
    }
}

/// Begins to pass spans on.
fn forward(chassis: &Chassis, url: &str) -> anyhow::Result<Forwarder> {
    let channel = chassis.connector.lazily(url, DEADLINE).context("CONSOLE_FORWARD")?;
    let forwarder = Forwarder::new(QUEUE_BYTES);
    tokio::spawn(forwarder.clone().run(channel));
    Ok(forwarder)
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
            forward: None,
            token: token.map(str::to_owned),
            history_mib: 8,
        })
    }

    #[test]
    fn off_loopback_it_demands_a_token() {
        let token = |address, token| plan(address, "", token).map(|plan| plan.token);
        assert_eq!(token("127.0.0.1:8080", None).expect("well formed"), Token::None);
        let drawn = ["0.0.0.0:8080", "10.0.0.1:8080"].map(|address| token(address, None));
        let [Ok(Token::Drawn(one)), Ok(Token::Drawn(other))] = drawn else {
            panic!("anybody could break the cluster: {drawn:?}");
        };
        assert!(one.len() == 32 && one != other, "{one} {other}");
        let error = token("0.0.0.0:8080", Some("short")).expect_err("it is guessed");
        assert!(error.to_string().contains("16 at least"), "{error}");
        let given = token("0.0.0.0:8080", Some("0123456789abcdef")).expect("well formed");
        assert_eq!(given, Token::Given("0123456789abcdef".to_owned()));
    }

    #[test]
    fn the_page_is_where_a_browser_finds_it() {
        let at = |address: &str, secure| page(address.parse().expect("an address"), secure);
        assert_eq!(at("0.0.0.0:8080", false), "http://127.0.0.1:8080/");
        assert_eq!(at("127.0.0.1:81", true), "https://127.0.0.1:81/");
        assert_eq!(at("[fd00::1]:8080", false), "http://[fd00::1]:8080/");
    }

    #[test]
    fn spans_are_passed_on_to_another_collector() {
        let forward_from = |own: &str, url: &str| {
            let settings = ConsoleSettings {
                address: "127.0.0.1:8080".into(),
                nodes: String::new(),
                traces: Some(own.into()),
                forward: Some(url.into()),
                token: None,
                history_mib: 8,
            };
            Plan::of(settings).map(drop).map_err(|error| format!("{error:#}"))
        };
        let forward = |url: &str| forward_from("127.0.0.1:4317", url);
        assert_eq!(forward("http://127.0.0.1:4318"), Ok(()));
        assert_eq!(forward("http://127.0.0.2:4317"), Ok(()));
        assert_eq!(forward_from("0.0.0.0:4317", "http://10.0.0.2:4317"), Ok(()));
        for url in ["http://127.0.0.1:4317", "http://localhost:4317", "http://0.0.0.0:4317"] {
            let error = forward_from("0.0.0.0:4317", url).expect_err(url);
            assert!(error.contains("that is this console"), "{error}");
        }
        assert_eq!(forward("https://collector:4317"), Ok(()));
        for (url, wrong) in [
            ("http://127.0.0.1:4317", "that is this console"),
            ("http://127.0.0.1:4317/", "that is this console"),
            ("http://localhost:4317", "that is this console"),
            ("127.0.0.1:4318", "give http://HOST:PORT"),
        ] {
            let error = forward(url).expect_err(url);
            assert!(error.starts_with("CONSOLE_FORWARD") && error.contains(wrong), "{error}");
        }
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

//! A role, and how its process begins and ends.

use std::fmt::Write as _;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::{error, info};

use crate::channel::Connector;
use crate::logs::Logs;
use crate::settings::{self, Common, Environment, Settings, Variable};
use crate::telemetry::Telemetry;
use crate::{Events, Faults, Shutdown, Tls, Traffic, health, telemetry};

/// The highest limit on connections.
const CONNECTION_LIMIT: usize = 1 << 20;

/// What [`Role::start`] returns: it runs until shutdown, or until the role cannot go on.
pub type Start = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// A role: one binary, one image, one DNS name, one `service.name`.
#[derive(Debug)]
pub struct Role {
    /// Its name, such as `overlay-leader`.
    pub name: &'static str,
    /// One sentence about it.
    pub about: &'static str,
    /// Prefix and variables of its own settings.
    pub variables: (&'static str, &'static [Variable]),
    /// Variables that may also be given as arguments, in this order.
    pub arguments: &'static [&'static str],
    /// Where it listens with these variables.
    pub address: fn(&Environment) -> anyhow::Result<SocketAddr>,
    /// Where it listens besides, with these variables.
    pub beside: fn(&Environment) -> anyhow::Result<Option<SocketAddr>>,
    /// Runs it.
    pub start: fn(Chassis) -> Start,
}

impl Role {
    /// Reads every setting as the process would, and tells where it would listen.
    ///
    /// # Errors
    ///
    /// Names the variable that is unknown, missing or malformed, and says what to do.
    pub fn check(&self, environment: &Environment) -> anyhow::Result<SocketAddr> {
        let common: Common = environment.read()?;
        telemetry::check(&common, environment)?;
        ensure!(common.threads > 0, "CHASSIS_THREADS=0: at least 1");
        let connections = common.connections;
        ensure!(
            (1..=CONNECTION_LIMIT).contains(&connections),
            "CHASSIS_CONNECTIONS={connections}: 1 to {CONNECTION_LIMIT}"
        );
        listen_address(self, &common, environment)
    }
}

/// What a role is given to run with.
#[derive(Debug)]
pub struct Chassis {
    /// The role's name.
    pub role: &'static str,
    /// Where to listen.
    pub address: SocketAddr,
    /// The settings that all roles share.
    pub common: Common,
    /// The variables that the role's own settings are read from.
    pub environment: Environment,
    /// When to stop.
    pub shutdown: Shutdown,
    /// Makes connections to peers.
    pub connector: Connector,
    /// What onlookers are told.
    pub events: Events,
    /// What its links carry, for onlookers.
    pub traffic: Traffic,
    /// Its log, for onlookers.
    pub(crate) logs: Logs,
    /// Faults that are switched on.
    pub faults: Faults,
    /// Metrics and traces.
    pub telemetry: Arc<Telemetry>,
}

/// The `main` of a role's binary.
pub fn run(role: &'static Role) -> ExitCode {
    run_role(role, env::args().skip(1).collect())
}

/// Runs a role with these arguments, in a runtime of its own, until it ends.
pub fn run_role(role: &'static Role, arguments: Vec<String>) -> ExitCode {
    let usage = |problem: &str| {
        eprintln!("{}: {problem}; `{} --help` says more", role.name, role.name);
        ExitCode::from(2)
    };
    let mut environment = Environment::of_process();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["-h" | "--help", ..] => {
            print!("{}", help(role));
            return ExitCode::SUCCESS;
        }
        ["-V" | "--version", ..] => {
            println!("{} {}", role.name, env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        ["health"] => return ended(role, probe(role, &environment, "")),
        ["health", service] => return ended(role, probe(role, &environment, service)),
        [option, ..] if option.starts_with('-') => {
            return usage(&format!("{option}: no such option"));
        }
        ref given if given.len() > role.arguments.len() => {
            return usage(&format!("{}: one argument too many", given[role.arguments.len()]));
        }
        ref given => {
            for (name, value) in role.arguments.iter().zip(given) {
                environment.set(name, (*value).to_owned());
            }
        }
    }
    process(role, environment).unwrap_or_else(|error| ended(role, Err(error)))
}

fn ended(role: &Role, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", role.name);
            ExitCode::FAILURE
        }
    }
}

/// Answers `ROLE health`: asks this role's own port.
fn probe(role: &Role, environment: &Environment, service: &str) -> anyhow::Result<()> {
    let common: Common = environment.read()?;
    let address = listen_address(role, &common, environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tls_dir = common.tls_dir.as_deref().map(Path::new);
    let check = health::check(address, tls_dir, service, Duration::from_secs(2));
    match runtime.block_on(check)? {
        health::Status::Serving => Ok(()),
        health::Status::NotServing => bail!("{address} answers that it is not serving"),
    }
}

fn listen_address(
    role: &Role,
    common: &Common,
    environment: &Environment,
) -> anyhow::Result<SocketAddr> {
    match &common.listen {
        Some(listen) => settings::resolve(listen, "this process").context("CHASSIS_LISTEN"),
        None => (role.address)(environment),
    }
}

/// Lives until told to stop. What goes wrong before there is a log is returned, and logged after.
fn process(role: &'static Role, environment: Environment) -> anyhow::Result<ExitCode> {
    let common: Common = environment.read()?;
    raise_file_limit();
    let address = role.check(&environment)?;
    let mut runtime = match common.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if common.threads > 1 {
        runtime.worker_threads(common.threads);
    }
    let runtime = runtime.enable_all().build().context("starting the runtime")?;
    let code = runtime.block_on(async {
        let logs = telemetry::log(role.name, &common)?;
        let result = live(role, address, common, environment, logs).await;
        match &result {
            Ok(()) => info!("stopped"),
            Err(reason) => error!(reason = format!("{reason:#}"), "cannot go on"),
        }
        Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    // Blocking work that is still going on must not keep the process.
    runtime.shutdown_background();
    code
}

async fn live(
    role: &'static Role,
    address: SocketAddr,
    common: Common,
    environment: Environment,
    logs: Logs,
) -> anyhow::Result<()> {
    let tls = match &common.tls_dir {
        Some(folder) => Some(Tls::read(Path::new(folder))?),
        None => None,
    };
    refuse_clear_text(address, tls.is_some())?;
    let shutdown = Shutdown::listen(common.tied == settings::Switch::On)?;
    let connector = Connector::new(tls);
    let telemetry = Arc::new(Telemetry::start(role.name, &environment, &connector)?);
    let chassis = Chassis {
        role: role.name,
        address,
        connector,
        events: Events::default(),
        traffic: Traffic::default(),
        logs,
        faults: Faults::default(),
        telemetry: telemetry.clone(),
        shutdown,
        common,
        environment,
    };
    let result = (role.start)(chassis).await;
    telemetry.flush().await;
    result
}

/// Without certificates anyone who reaches the port is served, so it must be one that only this
/// machine or a private network reaches.
pub(crate) fn refuse_clear_text(address: SocketAddr, tls: bool) -> anyhow::Result<()> {
    if tls || is_private(address.ip()) {
        return Ok(());
    }
    let everywhere = address.ip().is_unspecified();
    let public = match everywhere {
        true => public_address(address.is_ipv4())?,
        false => Some(address.ip()),
    };
    let Some(public) = public else { return Ok(()) };
    let leads = if everywhere { format!(" leads to {public}, which is") } else { ":".to_owned() };
    bail!(
        "{address}{leads} neither loopback nor a private address, and there are no certificates; \
         set CHASSIS_TLS_DIR (`ensemble certs` makes its files) or listen elsewhere"
    );
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// An address of this machine that others reach from anywhere.
fn public_address(only_v4: bool) -> anyhow::Result<Option<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs().context("cannot tell this machine's addresses")?;
    let mut addresses = interfaces.iter().map(|interface| interface.ip());
    Ok(addresses.find(|ip| !is_private(*ip) && (ip.is_ipv4() || !only_v4)))
}

/// A thousand connections need a thousand descriptors, and many shells allow 1,024 by default.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused the old limit holds, and accepting copes with that.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn help(role: &Role) -> String {
    let mut text = String::new();
    let arguments: Vec<_> = role.arguments.iter().map(|name| format!(" [{name}]")).collect();
    let _ = writeln!(text, "{}\n", role.about);
    let _ = writeln!(text, "Usage: {}{}", role.name, arguments.concat());
    let _ = writeln!(text, "       {} health [SERVICE]   asks the running process\n", role.name);
    for (prefix, variables) in [role.variables, (Common::PREFIX, Common::VARIABLES)] {
        for variable in variables {
            let _ = write!(text, "{prefix}{}", variable.field.to_uppercase());
            if !variable.default.is_empty() {
                let _ = write!(text, "={}", variable.default);
            }
            let _ = writeln!(text, "\n    {}", variable.meaning.trim().replace("\n ", "\n    "));
        }
    }
    let _ = writeln!(
        text,
        "OTEL_EXPORTER_OTLP_ENDPOINT, and the other standard OTEL_ variables\n    \
         Where traces and metrics are exported to by gRPC: http://HOST:PORT, or https://HOST:PORT\n    \
         for mutual TLS. OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is for traces alone,\n    \
         OTEL_EXPORTER_OTLP_METRICS_ENDPOINT for metrics. What has none is not exported."
    );
    text
}

/// Says who holds a port when it cannot be had.
pub(crate) fn listen_error(address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let remedies = [
        (io::ErrorKind::AddrInUse, "another process has this port: stop it, or choose another"),
        (io::ErrorKind::AddrNotAvailable, "this address is on no interface of this machine"),
        (io::ErrorKind::PermissionDenied, "ports below 1024 need a privilege: choose another"),
    ];
    let remedy = remedies.iter().find(|(kind, _)| *kind == error.kind());
    let remedy = remedy.map_or("choose another with CHASSIS_LISTEN", |(_, remedy)| remedy);
    anyhow::anyhow!("cannot listen on {address}: {error}; {remedy}")
}

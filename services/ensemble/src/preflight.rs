//! What is looked at before anything starts, so that what is wrong is told with its remedy.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use crate::topology::{MountedPath, Plan, Unit};

/// How often to look whether a port has become free.
const LOOK: Duration = Duration::from_millis(20);
/// How often to look whether a connection has ended: the system's tables are long.
const LOOK_AT_CONNECTION: Duration = Duration::from_secs(1);
/// How long a port may be taken that nobody listens on: our ports lie among those that Linux gives
/// to connections, and remembers for a minute after their end (`TIME_WAIT`, RFC 9293 3.6.1).
const PASSING: Duration = Duration::from_secs(65);

/// Looks at everything that the plan needs of this machine. `patience` is how long others may still
/// listen on the ports, because they are stopping; connections that hold one get a minute to end.
///
/// # Errors
///
/// An address is used twice or taken, a mounted file is missing, or a certificate.
pub(crate) async fn check(plan: &Plan, certs: Option<&Path>, patience: Duration) -> Result<()> {
    let mut owners: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for unit in &plan.units {
        let service = &unit.service;
        for address in addresses(unit) {
            if let Some(other) = owners.insert(address, service) {
                let remedy = remedy(unit, address);
                bail!("services {other} and {service} have the same address {address}{remedy}");
            }
        }
        for path in &unit.mounts {
            mount(path).with_context(|| format!("service {service}"))?;
        }
        if let Some(certs) = certs {
            chassis::Tls::read(&certs.join(service))
                .with_context(|| format!("service {service}"))?;
        }
    }
    let started = Instant::now();
    for unit in &plan.units {
        for address in addresses(unit) {
            free(unit, address, started, patience)
                .await
                .with_context(|| format!("service {}", unit.service))?;
        }
    }
    Ok(())
}

/// Waits until a port can be had, for as long as may be waited for who has it.
async fn free(
    unit: &Unit,
    address: SocketAddr,
    started: Instant,
    patience: Duration,
) -> Result<()> {
    let port = address.port();
    let mut told = false;
    loop {
        let holder = match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Holder::of(port),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot listen on {address}"));
            }
        };
        let passing = holder == Holder::Connection;
        let waited = started.elapsed();
        if waited >= if passing { PASSING } else { patience } {
            bail!("port {port} is taken{holder}{}", remedy(unit, address));
        }
        if passing && !told {
            let longest = PASSING.as_secs();
            eprintln!("ensemble: waiting up to {longest} s for port {port}: it is taken{holder}");
            told = true;
        }
        sleep(if passing { LOOK_AT_CONNECTION } else { LOOK }).await;
    }
}

/// Makes the folder of a volume; a file of the user's must be there.
fn mount(path: &MountedPath) -> Result<()> {
    match path {
        MountedPath::Volume(path) => fs::create_dir_all(path)
            .with_context(|| format!("cannot make the volume {}", path.display())),
        MountedPath::Bind(path) if path.exists() => Ok(()),
        MountedPath::Bind(path) => bail!("its volume {} does not exist", path.display()),
    }
}

/// Where a service listens.
fn addresses(unit: &Unit) -> impl Iterator<Item = SocketAddr> {
    std::iter::once(unit.address).chain(unit.beside)
}

/// The variable that moves a port of a service.
fn remedy(unit: &Unit, address: SocketAddr) -> String {
    let port = address.port().to_string();
    let variable = unit.uses.iter().find(|used| used.value == port);
    variable.map_or_else(String::new, |used| format!("; set {} to another", used.variable))
}

/// The host's own address must be on this machine.
///
/// # Errors
///
/// It is not: the error says which variable to set.
pub(crate) fn host(number: u32, address: &str) -> Result<()> {
    let variable = format!("HOST_{number}");
    let parsed: IpAddr =
        address.parse().with_context(|| format!("host {number}: `{address}` is no address"))?;
    match UdpSocket::bind((parsed, 0)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => bail!(
            "host {number} has the address {address}, which no interface of this machine has: \
             set {variable} to an address of this machine, the same on every machine \
             (`{variable}=… ensemble up --host {number}`), or add it \
             (`sudo ip address add {address}/24 dev INTERFACE`)"
        ),
        Err(error) => Err(error).with_context(|| format!("host {number}: address {address}")),
    }
}

/// Who has a TCP port that cannot be had.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// It listens: `process 4121 (raft-node)`, where the system tells.
    Listener(Option<String>),
    /// Nobody listens: a connection from this machine was given the port.
    Connection,
}

impl Holder {
    fn of(port: u16) -> Self {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
        if tables.iter().all(Result::is_err) {
            return Self::Listener(None);
        }
        let lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
        match lines.filter_map(|line| listening(line, port)).next() {
            Some(inode) => Self::Listener(process(inode)),
            None => Self::Connection,
        }
    }
}

impl Display for Holder {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(Some(who)) => write!(to, " by {who}"),
            Self::Listener(None) => Ok(()),
            Self::Connection => write!(to, " by a connection of this machine, open or just ended"),
        }
    }
}

/// The process that has a socket open: `process 4121 (raft-node)`.
fn process(inode: &str) -> Option<String> {
    let socket = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
            return false;
        };
        descriptors
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == &*socket))
    };
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let process = processes
        .filter(|path| path.file_name().is_some_and(|name| is_number(&name.to_string_lossy())))
        .find(|path| holds(path))?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some(format!("process {} ({})", process.file_name()?.display(), name.trim()))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The inode of the socket of a line of `/proc/net/tcp`, when it listens on this port.
fn listening(line: &str, port: u16) -> Option<&str> {
    let mut columns = line.split_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?;
    let (_, hexadecimal) = local.rsplit_once(':')?;
    let listens = state == "0A" && u16::from_str_radix(hexadecimal, 16) == Ok(port);
    listens.then_some(inode)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_line_of_the_systems_table_is_understood() {
        let line = "   0: 0100007F:C383 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                    1000        0 41234 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening(line, 50051), Some("41234"));
        assert_eq!(listening(line, 50052), None);
        assert_eq!(listening(&line.replace(" 0A ", " 01 "), 50051), None);
        assert_eq!(listening("", 50051), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_holds_a_port_is_found() {
        let listener_here = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener_here.local_addr().expect("bound").port();
        let Holder::Listener(Some(who)) = Holder::of(port) else { panic!("not found") };
        assert!(who.starts_with(&format!("process {} (", std::process::id())), "{who}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_that_has_a_port_is_told_from_a_listener() {
        let to = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connection = TcpStream::connect(to.local_addr().expect("bound")).expect("connected");
        let port = connection.local_addr().expect("bound").port();
        assert_eq!(Holder::of(port), Holder::Connection);
    }

    #[test]
    fn an_address_of_no_interface_is_refused_with_its_variable() {
        host(1, "127.0.0.1").expect("loopback is here");
        let error = host(2, "192.0.2.1").expect_err("nobody's").to_string();
        assert!(error.contains("set HOST_2 to an address of this machine"), "{error}");
        let error = host(2, "here").expect_err("no address");
        assert!(error.to_string().contains("`here` is no address"), "{error}");
    }
}

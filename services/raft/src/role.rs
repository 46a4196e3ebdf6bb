//! The role `raft-node`, and how its process begins and ends.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chassis::{Chassis, Environment, Inbox, Role, Services, Settings as _, Switch, drive};
use consensus::{Config, Configuration, Raft};
use protocols::NodeId;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::config::{Members, parse_id};
use crate::service::{Node, Service};
use crate::storage::{Owner, Storage};

/// The document's file of members.
const CONFIG: &str = "config.conf";

chassis::settings! {
    /// The settings of a node.
    pub(crate) struct Settings from "RAFT_" {
        /// Which node this is: a number, or a name that ends with one, such as `raft-3`.
        id: String = "",
        /// File of the founding members, a line `id address port` for each; `config.conf` when
        /// neither this nor RAFT_MEMBERS is set.
        config: Option<String> = "",
        /// The founding members, instead of a file: `1=host:port,2=host:port,…`.
        members: Option<String> = "",
        /// Where the others find this node, `host:port`, if it is no founding member: it then asks
        /// the cluster to be made one.
        address: Option<String> = "",
        /// Folder for its log and its snapshots; `raft-data-ID` when unset. No two nodes share one.
        directory: Option<String> = "",
        /// The cluster's name: nodes of another cluster are refused.
        cluster: String = "ensemble",
        /// Time between two signs of life of the leader, in milliseconds.
        heartbeat_ms: u64 = "50",
        /// The least silence after which a node stands for election, in milliseconds.
        election_least_ms: u64 = "150",
        /// The most, in milliseconds; each node draws its own between the two.
        election_most_ms: u64 = "300",
        /// Keys and values that the store holds at most, in mebibytes.
        store_mib: u64 = "256",
        /// Size of the log in memory at which a snapshot is taken at the latest, in kibibytes.
        log_kib: usize = "65536",
        /// `on` answers reads without asking the other nodes while no other leader can have been
        /// elected. That is faster, and right only while no node's clock runs faster than another's
        /// by more than a tenth; all nodes must have it on.
        lease_reads: Switch = "off",
    }
}

/// A node of the replicated store.
pub static NODE: Role = Role {
    name: "raft-node",
    about: "A node of a replicated key-value store by Raft.",
    variables: (Settings::PREFIX, Settings::VARIABLES),
    arguments: &["RAFT_ID"],
    address,
    beside: |_| Ok(None),
    start: |chassis| Box::pin(process(chassis)),
};

/// Every role of the store.
pub static ROLES: &[&Role] = &[&NODE];

/// What the settings say of members.
struct Place {
    me: NodeId,
    founders: Members,
    address: String,
}

impl Place {
    fn of(settings: &Settings) -> anyhow::Result<Self> {
        let me = parse_id(&settings.id).context("RAFT_ID")?;
        let founders = match (&settings.members, &settings.config) {
            (Some(members), _) => Members::parse(members).context("RAFT_MEMBERS")?,
            (None, Some(path)) => Members::read(Path::new(path)).context("RAFT_CONFIG")?,
            (None, None) => Members::read(Path::new(CONFIG)).context(
                "the members are not known: set RAFT_MEMBERS=1=host:port,2=host:port,…, or \
                 RAFT_CONFIG to a file, or write config.conf",
            )?,
        };
        let address = match (founders.0.get(&me), &settings.address) {
            (Some(address), _) | (None, Some(address)) => address.clone(),
            (None, None) => {
                let known = founders.0.keys().map(|id| id.0.to_string()).collect::<Vec<_>>();
                anyhow::bail!(
                    "RAFT_ID={}: there is no such founding member, only {}; add its line, or set \
                     RAFT_ADDRESS so that it joins them",
                    settings.id,
                    known.join(", ")
                )
            }
        };
        Ok(Self { me, founders, address })
    }

    fn is_founder(&self) -> bool {
        self.founders.0.contains_key(&self.me)
    }
}

fn address(environment: &Environment) -> anyhow::Result<SocketAddr> {
    let settings: Settings = environment.read()?;
    let place = Place::of(&settings)?;
    told(&settings, place.me)?;
    chassis::resolve(&place.address, &format!("node {}", settings.id))
}

/// What the protocol is told, checked.
fn told(settings: &Settings, me: NodeId) -> anyhow::Result<Config> {
    let (least, most) = (settings.election_least_ms, settings.election_most_ms);
    let heartbeat = settings.heartbeat_ms;
    for (name, value, limit) in [
        ("RAFT_HEARTBEAT_MS", heartbeat, 10_000),
        ("RAFT_ELECTION_LEAST_MS", least, 60_000),
        ("RAFT_ELECTION_MOST_MS", most, 120_000),
        ("RAFT_STORE_MIB", settings.store_mib, 65_536),
        ("RAFT_LOG_KIB", settings.log_kib as u64, 1 << 20),
    ] {
        ensure!((1..=limit).contains(&value), "{name}={value}: 1 to {limit}");
    }
    ensure!(
        least >= 2 * heartbeat,
        "RAFT_ELECTION_LEAST_MS={least}: at least twice RAFT_HEARTBEAT_MS={heartbeat}, or a live \
         leader is deposed"
    );
    ensure!(
        most > least,
        "RAFT_ELECTION_MOST_MS={most}: more than RAFT_ELECTION_LEAST_MS={least}, or all stand for \
         election at once"
    );
    Ok(Config {
        election: Duration::from_millis(least)..=Duration::from_millis(most),
        heartbeat: Duration::from_millis(heartbeat),
        lease_reads: settings.lease_reads == Switch::On,
        store_bytes: settings.store_mib << 20,
        log_bytes: settings.log_kib << 10,
        ..Config::of(me)
    })
}

async fn process(chassis: Chassis) -> anyhow::Result<()> {
    let settings: Settings = chassis.environment.read()?;
    let place = Place::of(&settings)?;
    let config = told(&settings, place.me)?;
    ensure!(!settings.cluster.is_empty(), "RAFT_CLUSTER: empty; give the cluster a name");
    let directory = settings.directory.clone().map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| format!("raft-data-{}", place.me.0).into());
    let founders = match place.is_founder() {
        true => place.founders.founders(),
        false => Configuration::default(),
    };
    let owner = Owner {
        cluster: settings.cluster.clone(),
        node: place.me,
        founders: founders.members.keys().copied().collect::<BTreeSet<_>>(),
    };
    let (storage, records) = Storage::open(&directory, &owner)
        .with_context(|| format!("RAFT_DIRECTORY={}", directory.display()))?;
    let random = StdRng::seed_from_u64(chassis::seed());
    let protocol = Raft::new(config, founders.clone(), records, random);
    let (inbox, outlet) = Inbox::new();
    let faults_on = chassis.common.faults == Switch::On;
    let (service, refused) = Service::new(
        &chassis,
        inbox.clone(),
        Node {
            id: place.me,
            address: place.address.clone(),
            owner,
            storage,
            faults: faults_on.then(|| chassis.faults.clone()),
        },
    );
    let services = service.services(Services::default());
    tokio::spawn(service.clone().hand_over());
    tokio::spawn(service.clone().forget_removed());
    if !place.is_founder() {
        tokio::spawn(service.clone().join(place.founders.0.into_values().collect()));
    }
    let metrics = service.metrics();
    let driver = drive(place.me, protocol, service.clone(), outlet, chassis.faults.clone());
    let driver = async {
        tokio::select! {
            ended = driver => ended,
            Ok(reason) = refused => Err(reason),
        }
    };
    let peers = |name: &str| parse_id(name).ok();
    let seen = move |view| metrics.see(view);
    let served =
        chassis.serve_protocol(&place.me.0.to_string(), services, inbox, peers, seen, driver).await;
    service.close().await;
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)]) -> Result<SocketAddr, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = variables.iter().map(own).collect::<Environment>();
        NODE.check(&environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        let members = ("RAFT_MEMBERS", "1=127.0.0.1:50071,2=127.0.0.1:50072");
        assert_eq!(check(&[("RAFT_ID", "2"), members]).unwrap().port(), 50072);
        assert_eq!(check(&[("RAFT_ID", "raft-2"), members]).unwrap().port(), 50072);
        for (variables, said) in [
            (&[("RAFT_ID", "3"), members][..], "only 1, 2"),
            (&[members], "RAFT_ID"),
            (&[("RAFT_ID", "1"), ("RAFT_CONFIG", "/nowhere")], "RAFT_CONFIG: /nowhere"),
            (&[("RAFT_ID", "1"), members, ("RAFT_HEARTBEAT_MS", "100")], "at least twice"),
            (&[("RAFT_ID", "1"), members, ("RAFT_ELECTION_MOST_MS", "150")], "more than"),
            (&[("RAFT_ID", "1"), members, ("RAFT_STORE_MIB", "0")], "RAFT_STORE_MIB=0"),
            (&[("RAFT_ID", "1"), members, ("RAFT_COLOUR", "red")], "RAFT_COLOUR"),
        ] {
            let error = check(variables).unwrap_err();
            assert!(error.contains(said), "{variables:?}: {error}");
        }
        let joins = [("RAFT_ID", "3"), members, ("RAFT_ADDRESS", "127.0.0.1:50073")];
        assert_eq!(check(&joins).unwrap().port(), 50073);
    }
}

//! The settings of both roles, checked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hashring::{Circle, Mode, REPLICAS_LIMIT};
use serde::Deserialize;

use crate::{identity, wire};

/// The most nodes by which one joins.
const CONTACTS_LIMIT: usize = 256;
/// m of a ring that nobody says anything of: wide enough for everyone.
const BITS: u32 = 64;

/// How lookups go when nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lookup {
    /// Each node passes them on.
    Recursive,
    /// The node that is asked asks one after another.
    Iterative,
}

chassis::settings! {
    /// The settings of a registry.
    pub(super) struct RegistrySettings from "CHORD_" {
        /// Where nodes find it, `host:port`, and where it listens.
        address: String = "127.0.0.1:5000",
        /// m: ids have so many bits, 1 to 64.
        bits: u32 = "5",
        /// How long a node is known that does not renew, in milliseconds.
        lease_ms: u64 = "15000",
    }
}

impl RegistrySettings {
    /// The circle of the ring, and the lease of its nodes.
    pub(super) fn check(&self) -> anyhow::Result<(Circle, Duration)> {
        address("CHORD_ADDRESS", &self.address)?;
        ensure_within("CHORD_LEASE_MS", self.lease_ms, 100, 86_400_000)?;
        Ok((circle(self.bits)?, Duration::from_millis(self.lease_ms)))
    }
}

chassis::settings! {
    /// The settings of a node.
    pub(super) struct NodeSettings from "CHORD_" {
        /// The registry that gives it its id, `host:port`. Without one, ids are the SHA-1 of
        /// addresses.
        registry: Option<String> = "",
        /// Where the others find it, `host:port`, and where it listens unless CHASSIS_LISTEN says
        /// otherwise.
        address: String = "127.0.0.1:5001",
        /// Without a registry: nodes by which it joins, `host:port,host:port,…`. One that is
        /// itself among them begins a ring when no other answers; one that is not waits for them.
        /// When this is unset it begins a ring at once.
        join: Option<String> = "",
        /// Without a registry: m, how many bits ids have, 1 to 64; 64 when unset. The same for all.
        bits: Option<u32> = "",
        /// The ring's name: nodes of another ring are refused.
        ring: String = "ensemble",
        /// To how many successors keys are copied, 1 to 16.
        replicas: usize = "3",
        /// Time between two looks after the ring, in milliseconds.
        stabilise_ms: u64 = "500",
        /// How long another node may take to answer, in milliseconds.
        patience_ms: u64 = "500",
        /// How long no other node may answer before this one begins a ring, in milliseconds.
        found_ms: u64 = "3000",
        /// Keys and values that it keeps at most, in mebibytes.
        store_mib: u64 = "256",
        /// How lookups go when their callers do not say: `recursive` is faster, `iterative` tells
        /// the time of each hop.
        lookup: Lookup = "recursive",
    }
}

/// Where a node has its id from, and whom it joins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From the registry at this address.
    Registry(String),
    /// From its address.
    Contacts {
        circle: Circle,
        /// The others by which it joins.
        contacts: Vec<Arc<str>>,
        /// Whether the others join by this one.
        is_contact: bool,
    },
}

/// What the settings of a node say.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) address: Arc<str>,
    pub(super) source: Source,
    pub(super) ring: Arc<str>,
    pub(super) replicas: usize,
    pub(super) stabilise: Duration,
    pub(super) patience: Duration,
    pub(super) found: Duration,
    pub(super) bytes_limit: u64,
    pub(super) mode: Mode,
}

impl Plan {
    pub(super) fn of(settings: &NodeSettings) -> anyhow::Result<Self> {
        let address = address("CHORD_ADDRESS", &settings.address)?;
        let source = source(settings, &address)?;
        let ring = identity::name(&settings.ring).context("CHORD_RING")?;
        ensure_within("CHORD_REPLICAS", settings.replicas as u64, 1, REPLICAS_LIMIT as u64)?;
        ensure_within("CHORD_STABILISE_MS", settings.stabilise_ms, 10, 60_000)?;
        ensure_within("CHORD_PATIENCE_MS", settings.patience_ms, 10, 60_000)?;
        ensure_within("CHORD_FOUND_MS", settings.found_ms, 1, 600_000)?;
        ensure_within("CHORD_STORE_MIB", settings.store_mib, 1, 65_536)?;
        Ok(Self {
            address,
            source,
            ring,
            replicas: settings.replicas,
            stabilise: Duration::from_millis(settings.stabilise_ms),
            patience: Duration::from_millis(settings.patience_ms),
            found: Duration::from_millis(settings.found_ms),
            bytes_limit: settings.store_mib << 20,
            mode: match settings.lookup {
                Lookup::Recursive => Mode::Recursive,
                Lookup::Iterative => Mode::Iterative,
            },
        })
    }
}

fn source(settings: &NodeSettings, own: &Arc<str>) -> anyhow::Result<Source> {
    if let Some(registry) = &settings.registry {
        ensure!(
            settings.join.is_none(),
            "CHORD_JOIN: CHORD_REGISTRY says whom to join; unset one of the two"
        );
        ensure!(
            settings.bits.is_none(),
            "CHORD_BITS: with CHORD_REGISTRY m is the registry's; unset one of the two"
        );
        let registry = address("CHORD_REGISTRY", registry)?;
        ensure!(registry != *own, "CHORD_ADDRESS={own}: that is the registry's; give another");
        return Ok(Source::Registry(registry.to_string()));
    }
    let circle = circle(settings.bits.unwrap_or(BITS))?;
    let mut contacts = Vec::new();
    let listed = settings.join.iter().flat_map(|all| all.split(',')).map(str::trim);
    for contact in listed.filter(|contact| !contact.is_empty()) {
        let contact = address("CHORD_JOIN", contact)?;
        if !contacts.contains(&contact) {
            contacts.push(contact);
        }
    }
    let count = contacts.len();
    ensure!(count <= CONTACTS_LIMIT, "CHORD_JOIN: {count} nodes; {CONTACTS_LIMIT} are enough");
    let is_contact = contacts.is_empty() || contacts.contains(own);
    contacts.retain(|contact| contact != own);
    Ok(Source::Contacts { circle, contacts, is_contact })
}

fn circle(bits: u32) -> anyhow::Result<Circle> {
    identity::circle(bits).with_context(|| format!("CHORD_BITS={bits}"))
}

fn address(name: &str, text: &str) -> anyhow::Result<Arc<str>> {
    wire::address(name, text).map_err(|wrong| anyhow::anyhow!("{wrong}"))
}

fn ensure_within(name: &str, value: u64, least: u64, most: u64) -> anyhow::Result<()> {
    ensure!((least..=most).contains(&value), "{name}={value}: {least} to {most}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use chassis::{Environment, Role};

    use super::*;
    use crate::{NODE, REGISTRY};

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        variables.iter().map(own).collect()
    }

    fn refusal(role: &Role, variables: &[(&str, &str)]) -> String {
        let error = role.check(&environment(variables)).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn a_setting_of_the_registry_that_makes_no_sense_is_named() {
        assert_eq!(REGISTRY.check(&environment(&[])).unwrap().port(), 5000);
        assert!(REGISTRY.check(&environment(&[("CHORD_BITS", "64")])).is_ok());
        for (name, value, said) in [
            ("CHORD_BITS", "0", "CHORD_BITS=0: ids have 1 to 64 bits"),
            ("CHORD_BITS", "65", "CHORD_BITS=65: ids have 1 to 64 bits"),
            ("CHORD_BITS", "-1", "CHORD_BITS=-1"),
            ("CHORD_LEASE_MS", "99", "CHORD_LEASE_MS=99: 100 to 86400000"),
            ("CHORD_ADDRESS", "5000", "CHORD_ADDRESS: \"5000\" is no host and port"),
            ("CHORD_ADDRESS", "localhost:0", "no port from 1 to 65535"),
            ("CHORD_RING", "x", "CHORD_RING: no such variable"),
        ] {
            let error = refusal(&REGISTRY, &[(name, value)]);
            assert!(error.contains(said), "{name}={value}: {error}");
        }
    }

    #[test]
    fn a_setting_of_a_node_that_makes_no_sense_is_named() {
        assert_eq!(NODE.check(&environment(&[])).unwrap().port(), 5001);
        let registry = ("CHORD_REGISTRY", "127.0.0.1:5000");
        assert!(NODE.check(&environment(&[registry])).is_ok());
        for (variables, said) in [
            (&[registry, ("CHORD_JOIN", "a:1")][..], "CHORD_JOIN: CHORD_REGISTRY says"),
            (&[registry, ("CHORD_BITS", "5")], "CHORD_BITS: with CHORD_REGISTRY"),
            (&[registry, ("CHORD_ADDRESS", "127.0.0.1:5000")], "that is the registry's"),
            (&[("CHORD_REGISTRY", "here")], "CHORD_REGISTRY: \"here\""),
            (&[("CHORD_ADDRESS", "a b:1")], "CHORD_ADDRESS: \"a b:1\""),
            (&[("CHORD_JOIN", "a:1,b")], "CHORD_JOIN: \"b\""),
            (&[("CHORD_BITS", "65")], "CHORD_BITS=65"),
            (&[("CHORD_RING", "a/b")], "CHORD_RING: write letters"),
            (&[("CHORD_REPLICAS", "0")], "CHORD_REPLICAS=0: 1 to 16"),
            (&[("CHORD_REPLICAS", "17")], "CHORD_REPLICAS=17: 1 to 16"),
            (&[("CHORD_STABILISE_MS", "0")], "CHORD_STABILISE_MS=0"),
            (&[("CHORD_PATIENCE_MS", "0")], "CHORD_PATIENCE_MS=0"),
            (&[("CHORD_FOUND_MS", "0")], "CHORD_FOUND_MS=0"),
            (&[("CHORD_STORE_MIB", "0")], "CHORD_STORE_MIB=0"),
            (&[("CHORD_LOOKUP", "both")], "CHORD_LOOKUP=both"),
        ] {
            let error = refusal(&NODE, variables);
            assert!(error.contains(said), "{variables:?}: {error}");
        }
    }

    #[test]
    fn only_those_by_whom_others_join_may_begin_a_ring() {
        let of = |variables: &[(&str, &str)]| {
            let plan = Plan::of(&environment(variables).read().unwrap()).unwrap();
            let Source::Contacts { contacts, is_contact, .. } = plan.source else { panic!() };
            (contacts.iter().map(|it| it.to_string()).collect::<Vec<_>>(), is_contact)
        };
        let own = ("CHORD_ADDRESS", "a:1");
        let others = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(of(&[own]), (others(&[]), true));
        assert_eq!(of(&[own, ("CHORD_JOIN", "a:1")]), (others(&[]), true));
        assert_eq!(of(&[own, ("CHORD_JOIN", "b:1, a:1,,b:1")]), (others(&["b:1"]), true));
        assert_eq!(of(&[own, ("CHORD_JOIN", "b:1,c:1")]), (others(&["b:1", "c:1"]), false));
    }
}

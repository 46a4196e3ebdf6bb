//! The roles `chord-registry` and `chord-node`, and how their processes begin and end.

mod plan;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::{Chassis, Inbox, Role, Services, Settings as _, Shutdown, drive};
use hashring::{Chord, Config, Peer};
use protocols::NodeId;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::plan::{NodeSettings, Plan, RegistrySettings, Source};
use crate::identity::{Identity, Ring};
use crate::service::{Enrolment, Node, Registry, Service};

/// The document's registry.
pub static REGISTRY: Role = Role {
    name: "chord-registry",
    about: "Gives the nodes of a hash ring their ids, and knows who there is.",
    variables: (RegistrySettings::PREFIX, RegistrySettings::VARIABLES),
    arguments: &["CHORD_ADDRESS", "CHORD_BITS"],
    address: |environment| {
        let settings: RegistrySettings = environment.read()?;
        settings.check()?;
        chassis::resolve(&settings.address, "the registry")
    },
    beside: |_| Ok(None),
    start: |chassis| Box::pin(registry(chassis)),
};

/// A node of the hash ring.
pub static NODE: Role = Role {
    name: "chord-node",
    about: "A node of a hash ring that keeps keys and values, by Chord.",
    variables: (NodeSettings::PREFIX, NodeSettings::VARIABLES),
    arguments: &["CHORD_REGISTRY", "CHORD_ADDRESS"],
    address: |environment| {
        let plan = Plan::of(&environment.read()?)?;
        chassis::resolve(&plan.address, "the node")
    },
    beside: |_| Ok(None),
    start: |chassis| Box::pin(node(chassis)),
};

/// Every role of the ring.
pub static ROLES: &[&Role] = &[&REGISTRY, &NODE];

async fn registry(chassis: Chassis) -> anyhow::Result<()> {
    let settings: RegistrySettings = chassis.environment.read()?;
    let (circle, lease) = settings.check()?;
    let meter = chassis.telemetry.meter();
    let registry = Registry::new(circle, lease, chassis.events.clone(), &meter);
    let services = Services::default().with(registry.server());
    chassis.serve(services, registry.forget_silent()).await
}

/// What a node knows before it begins.
struct Beginning {
    me: Peer,
    ring: Ring,
    contacts: Vec<Peer>,
    founds_after: Option<Duration>,
    registry: Option<Arc<Enrolment>>,
}

/// Finds out who this node is and whom it can join. Nothing if it is time to stop before.
async fn begin(
    plan: &Plan,
    chassis: &Chassis,
    shutdown: &mut Shutdown,
) -> anyhow::Result<Option<Beginning>> {
    let (name, address) = (plan.ring.clone(), plan.address.clone());
    match &plan.source {
        Source::Registry(registry) => {
            port_is_free(chassis.address)?;
            let enrolment = Enrolment::new(chassis.connector.clone(), registry, &address);
            let Some(enrolled) = enrolment.enrol(shutdown).await? else { return Ok(None) };
            let (circle, identity) = (enrolled.circle, Identity::Registry);
            Ok(Some(Beginning {
                me: Peer { id: enrolled.id, address },
                ring: Ring { name, circle, identity },
                contacts: enrolled.others,
                // The registry may know nodes that have died since, and nobody else.
                founds_after: Some(plan.found),
                registry: Some(Arc::new(enrolment)),
            }))
        }
        Source::Contacts { circle, contacts, is_contact } => {
            let ring = Ring { name, circle: *circle, identity: Identity::Sha1 };
            let peer = |address: &Arc<str>| {
                let id = ring.node(address).expect("ids follow from addresses");
                Peer { id, address: address.clone() }
            };
            Ok(Some(Beginning {
                me: peer(&address),
                contacts: contacts.iter().map(peer).collect(),
                founds_after: is_contact.then_some(plan.found),
                registry: None,
                ring,
            }))
        }
    }
}

/// A second process at an address would take the id of the first, and then find no port.
fn port_is_free(address: SocketAddr) -> anyhow::Result<()> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error).with_context(|| {
            format!("{address}: another process has this port: stop it, or choose another")
        }),
        // Whatever else is wrong, serving says.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn node(mut chassis: Chassis) -> anyhow::Result<()> {
    let plan = Plan::of(&chassis.environment.read()?)?;
    // Told to stop, a node leaves the ring first, and can be reached meanwhile.
    let mut asked = std::mem::take(&mut chassis.shutdown);
    let Some(beginning) = begin(&plan, &chassis, &mut asked).await? else { return Ok(()) };
    let Beginning { me, ring, contacts, founds_after, registry } = beginning;
    let config = Config {
        replicas: plan.replicas,
        stabilise: plan.stabilise,
        patience: plan.patience,
        founds_after,
        bytes_limit: plan.bytes_limit,
        ..Config::of(me.clone(), ring.circle.bits())
    };
    let protocol = Chord::new(config, contacts, StdRng::seed_from_u64(chassis::seed()));
    let (inbox, outlet) = Inbox::new();
    let (id, node) =
        (me.node(), Node { me, ring, replicas: plan.replicas, mode: plan.mode, registry });
    let service = Service::new(&chassis, inbox.clone(), node);
    let services = service.services(Services::default());
    tokio::spawn(service.clone().tend_links());
    tokio::spawn(service.clone().depart(asked));
    let metrics = service.metrics();
    let driver = drive(id, protocol, service.clone(), outlet, chassis.faults.clone());
    let driver = async {
        tokio::select! {
            ended = driver => ended,
            ended = service.stay_registered() => ended,
        }
    };
    let peers = |name: &str| name.parse().map(NodeId).ok();
    let seen = move |view| metrics.see(view);
    chassis.serve_protocol(&id.0.to_string(), services, inbox, peers, seen, driver).await
}

//! The registry is asked, and found again when it was gone.

use std::time::{Duration, Instant};

use chassis::channel::Connector;
use chord::client::{Error, Id, Registry};
use tonic::Status;

use crate::fake::{Fake, Fault, PATIENCE};
use crate::{BITS, IDS};

pub(crate) fn registry(address: &str) -> Registry {
    let registry = Registry::new(Connector::new(None), address).expect("an address");
    registry.with_deadline(PATIENCE)
}

#[tokio::test]
async fn a_node_is_registered_renewed_and_forgotten() {
    let fake = Fake::start(BITS, &[24]).await;
    let registry = registry(&fake.address(None));
    let given = registry.register("127.0.0.1:1", None, 7).await.unwrap();
    assert_eq!((given.id, given.bits), (Id(0), 5));
    assert_eq!(given.lease, Some(Duration::from_secs(3)));
    assert_eq!(registry.register("127.0.0.1:1", Some(Id(0)), 7).await.unwrap(), given);
    let other = registry.register("127.0.0.1:1", None, 8).await.expect_err("another lives");
    assert!(matches!(other, Error::AddressTaken(_)), "{other:?}");
    let other = registry.register("127.0.0.1:2", Some(Id(24)), 8).await.expect_err("taken");
    assert!(matches!(other, Error::IdTaken(_)), "{other:?}");
    let ids: Vec<_> =
        registry.info().await.unwrap().nodes.into_iter().map(|peer| peer.id.0).collect();
    assert_eq!(ids, [24, 0], "in order of registration");
    registry.deregister(Id(0)).await.unwrap();
    let none = registry.deregister(Id(0)).await.expect_err("it is gone");
    assert_eq!(none, Error::NoNode("there is no node 0".into()));
}

#[tokio::test]
async fn a_full_ring_gives_no_id_and_says_so() {
    let fake = Fake::start(1, &[0, 1]).await;
    let error = registry(&fake.address(None)).register("127.0.0.1:1", None, 1).await;
    assert_eq!(error, Err(Error::Full("the ring is full".into())));
}

#[tokio::test]
async fn the_neighbours_of_a_node_are_told() {
    let fake = Fake::start(BITS, &IDS).await;
    let registry = registry(&fake.address(None));
    let neighbours = registry.populate(Id(25)).await.unwrap();
    assert_eq!(neighbours.predecessor.id, Id(24));
    let fingers: Vec<_> = neighbours.fingers.iter().map(|peer| peer.id.0).collect();
    assert_eq!(fingers, [26, 31, 2, 16]);
    assert!(matches!(registry.populate(Id(9)).await, Err(Error::NoNode(_))));
}

#[tokio::test]
async fn a_registry_that_comes_back_is_asked_again() {
    let mut fake = Fake::start(BITS, &IDS).await;
    let registry = registry(&fake.address(None));
    assert_eq!(registry.info().await.unwrap().nodes.len(), 6);
    fake.kill(None).await;
    let gone = registry.info().await.expect_err("it is gone");
    assert!(matches!(gone, Error::Unavailable(_)), "{gone:?}");
    fake.restart(None).await;
    assert_eq!(registry.info().await.unwrap().nodes.len(), 6);
}

#[tokio::test]
async fn a_call_that_breaks_off_is_not_known_to_be_done() {
    let fake = Fake::start(BITS, &IDS).await;
    let registry = registry(&fake.address(None));
    fake.fail("register", Fault::Break);
    let broken = registry.register("127.0.0.1:1", None, 7).await.expect_err("no answer");
    assert!(matches!(broken, Error::Unknown(_)), "{broken:?}");
    registry.register("127.0.0.1:1", None, 7).await.expect("doing it twice is no worse");
    fake.fail("get_chord_info", Fault::Before(Status::unavailable("it stops")));
    let stops = registry.info().await.expect_err("refused");
    let expected = format!("{}: it stops", fake.address(None));
    assert_eq!(stops, Error::Unavailable(expected));
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_not_waited_for() {
    let fake = Fake::start(BITS, &IDS).await;
    let registry = registry(&fake.address(None)).with_deadline(Duration::from_millis(200));
    fake.fail("get_chord_info", Fault::Hang);
    let clock = Instant::now();
    let silent = registry.info().await.expect_err("no answer");
    assert!(silent.to_string().ends_with("no answer in time"), "{silent}");
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
    assert_eq!(registry.info().await.unwrap().nodes.len(), 6);
}

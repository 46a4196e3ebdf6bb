//! What is asked is answered, and what is wrong is told as what it is.

use std::time::Duration;

use chassis::channel::Connector;
use chord::client::{Client, Error, Id, Identity, Mode, Node, Options, Place, Reason};
use tonic::Status;

use crate::fake::{Fake, Fault};
use crate::{BITS, IDS, client, node, patient};

#[tokio::test]
async fn what_is_saved_is_found_and_removed_at_its_place() {
    let fake = Fake::start(BITS, &IDS).await;
    let client = client(&fake);
    let saved = client.save(b"Kazan", b"Tatarstan", None).await.unwrap();
    assert_eq!((saved.outcome, saved.id, saved.by.id), (true, Id(22), Id(24)));
    let again = client.save(b"Kazan", b"other", None).await.unwrap();
    assert!(!again.outcome);
    let found = client.find(b"Kazan", None).await.unwrap();
    assert_eq!(found.outcome.as_deref(), Some(&b"Tatarstan"[..]));
    assert_eq!(client.find(b"Minsk", None).await.unwrap().outcome, None);
    let removed = client.remove(b"Kazan", None).await.unwrap();
    assert_eq!((removed.outcome, removed.by.address.as_ref()), (true, &*fake.address(Some(24))));
    assert!(!client.remove(b"Kazan", None).await.unwrap().outcome);
    let bytes: Vec<u8> = (0..=255).collect();
    client.save(&bytes, &bytes, None).await.unwrap();
    assert_eq!(client.find(&bytes, None).await.unwrap().outcome, Some(bytes));
    client.save(b"empty", b"", None).await.unwrap();
    assert_eq!(client.find(b"empty", None).await.unwrap().outcome, Some(vec![]));
}

#[tokio::test]
async fn the_path_of_a_lookup_is_told_hop_by_hop() {
    let fake = Fake::start(BITS, &IDS).await;
    let node = node(&fake, Some(2));
    let located = node.locate(&Place::Id(Id(30)), Some(Mode::Iterative)).await.unwrap();
    assert_eq!((located.id, located.by.id), (Id(30), Id(31)));
    let hops: Vec<_> =
        located.path.iter().map(|hop| (hop.peer.id.0, hop.reason, hop.answered)).collect();
    let expected =
        [(2, Reason::Entry, true), (16, Reason::Finger(0), false), (31, Reason::Responsible, true)];
    assert_eq!(hops, expected);
    let times: Vec<_> = located.path.iter().map(|hop| hop.took).collect();
    let took = Some(Duration::from_micros(1_234));
    assert_eq!(times, [took, None, took]);
    let key = Place::Key(b"Minsk".to_vec());
    assert_eq!(node.locate(&key, None).await.unwrap().id, Id(3));
}

#[tokio::test]
async fn one_node_is_asked_about_itself() {
    let fake = Fake::start(BITS, &IDS).await;
    let node = node(&fake, Some(24));
    let state = node.state().await.unwrap();
    assert_eq!((state.node.id, state.bits, &state.phase[..]), (Id(24), 5, "member"));
    assert_eq!(state.identity, Some(Identity::Registry));
    assert_eq!(state.predecessor.expect("known").id, Id(16));
    let successors: Vec<_> = state.successors.iter().map(|peer| peer.id.0).collect();
    assert_eq!(successors, [25, 26, 31]);
    let runs: Vec<_> =
        state.fingers.iter().map(|run| (run.index, run.count, run.peer.id.0)).collect();
    assert_eq!(runs, [(0, 1, 25), (1, 1, 26), (2, 1, 31), (3, 1, 2), (4, 1, 16)]);
    assert_eq!(state.registry, Some(fake.address(None)));
    let fingers = node.fingers().await.unwrap();
    let ids: Vec<_> = fingers.fingers.iter().map(|peer| peer.id.0).collect();
    assert_eq!((fingers.node.id, ids), (Id(24), vec![25, 26, 31, 2, 16]));
    assert_eq!(node.quit().await.unwrap().expect("it was not alone").id, Id(25));
    assert!(matches!(node.state().await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn the_last_node_leaves_its_keys_to_nobody() {
    let fake = Fake::start(BITS, &[7]).await;
    assert_eq!(node(&fake, Some(7)).quit().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_wrong_is_not_asked_again() {
    let fake = Fake::start(BITS, &IDS).await;
    let client = client(&fake);
    let error = client.save(b"", b"1", None).await.expect_err("no key");
    assert_eq!(error, Error::Invalid("key: 1 to 4,096 bytes".into()));
    fake.fail("save", Fault::Before(Status::resource_exhausted("no room")));
    let error = client.save(b"k", b"1", None).await.expect_err("full");
    assert_eq!(error, Error::Full("no room".into()));
    fake.fail("save", Fault::Before(Status::failed_precondition("not now")));
    let error = client.save(b"k", b"1", None).await.expect_err("refused");
    assert_eq!(error, Error::Refused("not now".into()));
    assert!(!error.may_have_been_done());
    assert_eq!(fake.calls("save").len(), 3, "each once");
    let error = client.locate(&Place::Id(Id(32)), None).await.expect_err("m is 5");
    assert_eq!(error, Error::Invalid("id: there is no such place".into()));
    assert_eq!(fake.calls("locate").len(), 1);
}

#[tokio::test]
async fn a_registry_is_no_node_and_a_node_no_registry() {
    let fake = Fake::start(BITS, &IDS).await;
    let error = node(&fake, None).state().await.expect_err("a registry");
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    let registry = crate::registry::registry(&fake.address(Some(24)));
    let error = registry.info().await.expect_err("a node");
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_none() {
    let fake = Fake::start(BITS, &IDS).await;
    let node = node(&fake, Some(24));
    fake.world().states.get_mut(&24).expect("there").bits = 65;
    let error = node.state().await.expect_err("65 bits");
    assert!(error.to_string().contains("makes no sense"), "{error}");
    fake.world().states.get_mut(&24).expect("there").node = None;
    assert!(node.state().await.is_err());
}

#[tokio::test]
async fn addresses_are_checked_before_they_are_used() {
    let connector = || Connector::new(None);
    for address in ["", "localhost", "http://localhost:1", "localhost:x", "localhost:0", ":1"] {
        let error = Client::new(connector(), [address], Options::default()).err();
        assert!(matches!(error, Some(Error::Invalid(_))), "{address}");
        assert!(Node::new(connector(), address, patient()).is_err(), "{address}");
    }
    assert!(Client::new(connector(), [""; 0], Options::default()).is_err());
    assert!(Client::new(connector(), ["[::1]:50081"], Options::default()).is_ok());
}

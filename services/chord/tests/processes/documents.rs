//! What the document shows: its commands, its lines, its ids.

use proto::ensemble::chord::v1 as pb;

use crate::process::free_address;
use crate::ring::{NODE, PATIENCE, REGISTRY, Ring, until};

const LINES: [&str; 6] = [
    "assigned node_id=24, successor_id=24, predecessor_id=24",
    "assigned node_id=26, successor_id=24, predecessor_id=24",
    "assigned node_id=2, successor_id=24, predecessor_id=26",
    "assigned node_id=16, successor_id=24, predecessor_id=2",
    "assigned node_id=31, successor_id=2, predecessor_id=26",
    "assigned node_id=25, successor_id=26, predecessor_id=24",
];
const IDS: [u64; 6] = [24, 26, 2, 16, 31, 25];

fn ids(peers: &[pb::Peer]) -> Vec<u64> {
    peers.iter().map(|peer| peer.id).collect()
}

#[tokio::test]
async fn six_nodes_one_after_another_say_what_the_document_says() {
    let mut ring = Ring::with_registry(5).await;
    for (number, expected) in (1..).zip(LINES) {
        ring.run(number);
        assert_eq!(ring.assigned(number).await, expected);
        ring.settled().await;
    }
    let info = ring.info().await.unwrap();
    assert_eq!((ids(&info.nodes), info.bits), (IDS.to_vec(), 5));
    let addresses = info.nodes.iter().map(|node| node.address.clone()).collect::<Vec<_>>();
    assert_eq!(addresses, ring.addresses.values().cloned().collect::<Vec<_>>());
    // Said once.
    for process in ring.nodes.values() {
        let log = process.log();
        assert_eq!(log.lines().filter(|line| line.starts_with("assigned")).count(), 1, "{log}");
    }
    // The fingers that nodes find are those that the registry knows.
    let mut registry = ring.registry_client().await.unwrap();
    for (number, id) in (1..).zip(IDS) {
        let request = pb::PopulateFingerTableRequest { id };
        let known = registry.populate_finger_table(request).await.unwrap().into_inner();
        until(async || {
            let mut client = ring.client(number).await;
            let found = client.get_finger_table(pb::GetFingerTableRequest {}).await.unwrap();
            let found = ids(&found.get_ref().fingers);
            (found == ids(&known.fingers)).then_some(()).ok_or(format!("{number}: {found:?}"))
        })
        .await;
        let state = ring.state(number).await.unwrap();
        assert_eq!(state.predecessor, known.predecessor);
        assert_eq!((state.identity(), state.registered), (pb::Identity::Registry, true));
    }
    // The document's keys are where its client says.
    for (key, node) in [("Kazan", 24), ("Moscow", 25), ("Minsk", 16)] {
        let saved = ring.save(3, key, "city").await;
        let by = saved.path.unwrap().by.unwrap();
        assert_eq!((saved.saved, by.id), (true, node), "{key}");
    }
    let again = ring.save(5, "Kazan", "town").await;
    assert_eq!((again.saved, again.id, again.path.unwrap().by.unwrap().id), (false, 22, 24));
    assert_eq!(ring.find(1, "Kazan").await.value.as_deref(), Some(&b"city"[..]));
    let removed = ring.remove(1, "Moscow").await;
    assert_eq!((removed.removed, removed.path.unwrap().by.unwrap().id), (true, 25));
    assert!(!ring.remove(2, "Moscow").await.removed);
}

/// `Registry 127.0.0.1:5000 5`, and `Node 127.0.0.1:5000 127.0.0.1:5001`.
#[tokio::test]
async fn roles_take_the_documents_arguments() {
    let (registry, node) = (free_address(), free_address());
    let process = |binary: &str, arguments: [&str; 2]| {
        let mut command = std::process::Command::new(binary);
        command.env_clear().env("CHASSIS_TIED", "on").args(arguments);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let registrar = process(REGISTRY, [&registry, "5"]);
    let mut first = process(NODE, [&registry, &node]);
    let out = std::io::BufReader::new(first.stdout.take().unwrap());
    let lines = tokio::task::spawn_blocking(move || {
        let mut lines = std::io::BufRead::lines(out).map_while(Result::ok);
        lines.find(|line| line.starts_with("assigned"))
    });
    let line = tokio::time::timeout(PATIENCE, lines).await.unwrap().unwrap();
    assert_eq!(line.as_deref(), Some(LINES[0]));
    for mut child in [first, registrar] {
        // The end of its standard input.
        drop(child.stdin.take());
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        assert!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap().success());
    }
}

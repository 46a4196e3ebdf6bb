//! Nodes that come, stay, return and go.

use super::*;

const LEASE: Duration = Duration::from_secs(15);
const START: Duration = Duration::ZERO;
const NOBODY: [u64; 0] = [];

fn directory(bits: u32) -> Directory {
    Directory::new(Circle::new(bits), LEASE)
}

fn address(number: u64) -> String {
    format!("127.0.0.1:{}", 5000 + number)
}

/// Registers processes 1 to `count`, each with an incarnation of its own.
fn filled(bits: u32, count: u64) -> Directory {
    let mut directory = directory(bits);
    for number in 1..=count {
        directory.register(&address(number), None, number, START).unwrap();
    }
    directory
}

fn ids(peers: impl IntoIterator<Item = Peer>) -> Vec<u64> {
    peers.into_iter().map(|peer| peer.id.0).collect()
}

#[test]
fn the_documents_nodes_have_the_documents_ids_and_order() {
    let directory = filled(5, 6);
    assert_eq!(ids(directory.nodes()), [24, 26, 2, 16, 31, 25]);
    let places = directory.nodes().map(|peer| peer.address.to_string()).collect::<Vec<_>>();
    assert_eq!(places, (1..=6).map(address).collect::<Vec<_>>());
}

#[test]
fn fingers_are_successors_of_powers_of_two_each_once() {
    let directory = filled(5, 6);
    let neighbours = |id| {
        let (predecessor, fingers) = directory.neighbours(Id(id)).unwrap();
        (predecessor.id.0, ids(fingers))
    };
    // 24 + 1, 2, 4, 8, 16 are 25, 26, 28, 0 and 8.
    assert_eq!(neighbours(24), (16, vec![25, 26, 31, 2, 16]));
    // 2 + 1, 2, 4, 8, 16 are 3, 4, 6, 10 and 18.
    assert_eq!(neighbours(2), (31, vec![16, 24]));
    // 31 + 1, 2, 4, 8, 16 are 0, 1, 3, 7 and 15.
    assert_eq!(neighbours(31), (26, vec![2, 16]));
    assert_eq!(directory.neighbours(Id(3)), None);
    let alone = filled(5, 1);
    let (predecessor, fingers) = alone.neighbours(Id(24)).unwrap();
    assert_eq!((predecessor.id, ids(fingers)), (Id(24), vec![24]));
    assert_eq!(self::directory(5).neighbours(Id(24)), None);
    let two = filled(5, 2);
    let (predecessor, fingers) = two.neighbours(Id(24)).unwrap();
    assert_eq!((predecessor.id, ids(fingers)), (Id(26), vec![26, 24]));
}

#[test]
fn a_full_ring_takes_nobody_until_somebody_goes() {
    let mut directory = filled(1, 2);
    assert_eq!(ids(directory.nodes()), [1, 0]);
    assert_eq!(directory.register(&address(3), None, 3, START), Err(Refused::Full));
    assert!(directory.deregister(Id(1)));
    assert!(!directory.deregister(Id(1)));
    assert_eq!(directory.register(&address(3), None, 3, START), Ok(Id(1)));
    assert_eq!(ids(directory.nodes()), [0, 1]);
}

#[test]
fn all_ids_of_a_circle_are_given_and_a_wide_one_is_bounded() {
    let directory = filled(8, 256);
    let mut all = ids(directory.nodes());
    all.sort_unstable();
    assert_eq!(all, (0..256).collect::<Vec<_>>());
    let mut directory = filled(64, NODES_LIMIT);
    assert_eq!(directory.register("late:1", None, 1, START), Err(Refused::Full));
    assert_eq!(directory.register("late:1", Some(Id(5)), 1, START), Err(Refused::Full));
    assert_eq!(directory.expire(LEASE).len() as u64, NODES_LIMIT);
    let left = (directory.entries.len(), directory.addresses.len(), directory.order.len());
    assert_eq!((left, directory.expiries.len()), ((0, 0, 0), 0));
}

#[test]
fn who_does_not_renew_is_forgotten_and_who_does_is_not() {
    let second = Duration::from_secs(1);
    let mut directory = filled(5, 2);
    let renewed = directory.register(&address(1), Some(Id(24)), 1, LEASE - second);
    assert_eq!(renewed, Ok(Id(24)));
    assert_eq!(ids(directory.expire(LEASE - second)), NOBODY);
    assert_eq!(ids(directory.expire(LEASE)), [26]);
    assert_eq!(ids(directory.nodes()), [24]);
    assert_eq!(ids(directory.expire(2 * LEASE - second)), [24]);
    // It was slow, not gone: it has its id again.
    assert_eq!(directory.register(&address(1), Some(Id(24)), 1, 3 * LEASE), Ok(Id(24)));
}

#[test]
fn a_process_that_starts_again_has_its_id_at_once_and_the_older_one_may_not_renew() {
    let mut directory = filled(5, 3);
    assert_eq!(directory.register(&address(1), None, 9, START), Ok(Id(24)));
    let renewed = directory.register(&address(1), Some(Id(24)), 1, START);
    assert_eq!(renewed, Err(Refused::AddressTaken(Id(24))));
    assert_eq!(directory.register(&address(1), Some(Id(24)), 9, START), Ok(Id(24)));
    // A lost answer: it asks the same again.
    assert_eq!(directory.register(&address(1), None, 9, START), Ok(Id(24)));
    // One that has another id than it says is no renewal either.
    let other = directory.register(&address(1), Some(Id(7)), 9, START);
    assert_eq!(other, Err(Refused::AddressTaken(Id(24))));
    assert_eq!(ids(directory.nodes()), [24, 26, 2]);
}

#[test]
fn after_a_restart_of_the_registry_nodes_bring_their_ids() {
    let mut directory = directory(5);
    assert_eq!(directory.register(&address(2), Some(Id(26)), 2, START), Ok(Id(26)));
    assert_eq!(directory.register(&address(9), Some(Id(26)), 9, START), Err(Refused::IdTaken));
    assert_eq!(directory.register(&address(3), None, 3, START), Ok(Id(24)));
    // The next that is drawn is 26, which is taken.
    assert_eq!(directory.register(&address(4), None, 4, START), Ok(Id(2)));
}

#[test]
fn a_plain_client_registers_once_and_for_ever() {
    let mut directory = directory(5);
    assert_eq!(directory.register(&address(1), None, PLAIN, START), Ok(Id(24)));
    let twice = directory.register(&address(1), None, PLAIN, START);
    assert_eq!(twice, Err(Refused::Registered(Id(24))));
    assert_eq!(ids(directory.expire(1_000 * LEASE)), NOBODY);
    // Nor does it take the place of a process that lives.
    directory.register(&address(2), None, 2, START).unwrap();
    let plain = directory.register(&address(2), None, PLAIN, START);
    assert_eq!(plain, Err(Refused::Registered(Id(26))));
    // A process that does renew takes its place.
    assert_eq!(directory.register(&address(1), None, 8, START), Ok(Id(24)));
    assert_eq!(ids(directory.expire(LEASE)), [24, 26]);
}

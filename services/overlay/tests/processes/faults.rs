//! Faults that are switched on, and what an onlooker sees of them.

use std::time::{Duration, Instant};

use overlay::client::Refusal;
use proto::ensemble::faults::v1::fault_service_client::FaultServiceClient;
use proto::ensemble::faults::v1::{
    CrashRequest, CutRequest, DelayRequest, DropRequest, HealRequest, SuspendRequest,
};
use proto::ensemble::observe::v1::WatchRequest;
use proto::ensemble::observe::v1::observe_service_client::ObserveServiceClient;
use proto::ensemble::observe::v1::watch_response::Seen;

use crate::cluster::{Cluster, PATIENCE, process, process_many};

const QUICK: [(&str, &str); 3] =
    [("CHASSIS_FAULTS", "on"), ("OVERLAY_HEARTBEAT_MS", "50"), ("OVERLAY_PATIENCE_MS", "300")];

#[tokio::test]
async fn a_cut_is_noticed_told_and_healed() {
    let cluster = Cluster::start(&QUICK).await;
    let mut watcher = ObserveServiceClient::new(cluster.channel('A').await);
    let mut seen = watcher.watch(WatchRequest::default()).await.unwrap().into_inner();
    let first = seen.message().await.unwrap().unwrap();
    assert_eq!((first.role.as_str(), first.node.as_str()), ("overlay-leader", "A"));
    let Some(Seen::View(view)) = first.seen else { panic!("the view comes first") };
    assert!(view.contains("\"role\":\"leader\""), "{view}");

    // One way only: A hears E, but E does not hear A.
    let mut faults = FaultServiceClient::new(cluster.channel('E').await);
    let cut = CutRequest { peers: vec!["A".into()], direction: 1 };
    faults.cut(cut).await.unwrap();
    cluster.until(|answer| answer.detours.iter().any(|detour| detour.through == "B")).await;
    let event = async {
        loop {
            match seen.message().await.unwrap().unwrap().seen {
                Some(Seen::Event(event)) if event == "lost E" => return,
                _ => (),
            }
        }
    };
    tokio::time::timeout(PATIENCE, event).await.expect("the event is told");
    faults.heal(HealRequest {}).await.unwrap();
    cluster.whole_again().await;
}

#[tokio::test]
async fn an_unknown_peer_is_not_cut_off() {
    let cluster = Cluster::start(&QUICK).await;
    let mut faults = FaultServiceClient::new(cluster.channel('A').await);
    let cut = CutRequest { peers: vec!["Z".into()], direction: 0 };
    let status = faults.cut(cut).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("Z"));
}

#[tokio::test]
async fn without_permission_there_is_no_fault_service() {
    let cluster = Cluster::start(&[]).await;
    let mut faults = FaultServiceClient::new(cluster.channel('A').await);
    let status = faults.heal(HealRequest {}).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_delay_and_recovers() {
    let cluster = Cluster::start(&[
        ("CHASSIS_FAULTS", "on"),
        ("OVERLAY_ACTIVE_LIMIT", "5"),
        ("OVERLAY_QUEUE_LIMIT", "10"),
        ("OVERLAY_PATIENCE_MS", "60000"),
    ])
    .await;
    let mut faults = FaultServiceClient::new(cluster.channel('F').await);
    faults.suspend(SuspendRequest { period_ms: 2000 }).await.unwrap();
    let client = cluster.client('A').await;
    let asking = process_many(&client, 40);
    let full = async {
        loop {
            let metrics = client.metrics(PATIENCE).await.unwrap();
            if (metrics.active, metrics.queued) == (5, 10) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("the queue fills");
    let (mut answered, mut refused) = (0, 0);
    for outcome in asking {
        match outcome.await.unwrap() {
            Ok(_) => answered += 1,
            Err(Refusal::Exhausted(after)) => {
                assert!(after >= Duration::from_millis(10));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((answered, refused), (15, 25));
    cluster.whole_again().await;
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let cluster =
        Cluster::start(&[("CHASSIS_FAULTS", "on"), ("OVERLAY_PATIENCE_MS", "60000")]).await;
    let mut faults = FaultServiceClient::new(cluster.channel('F').await);
    faults.suspend(SuspendRequest { period_ms: 60_000 }).await.unwrap();
    let client = cluster.client('A').await;
    let asking = process_many(&client, 3);
    let active = |wanted: u32| {
        let client = client.clone();
        async move {
            while client.metrics(PATIENCE).await.unwrap().active != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, active(3)).await.expect("three are in hand");
    asking.iter().for_each(|call| call.abort());
    tokio::time::timeout(PATIENCE, active(0)).await.expect("none is in hand any more");
    assert_eq!(client.metrics(PATIENCE).await.unwrap().cancelled, 3);
    faults.heal(HealRequest {}).await.unwrap();
    cluster.whole_again().await;
}

#[tokio::test]
async fn delays_losses_and_a_crash_are_carried_out() {
    let mut cluster = Cluster::start(&[("CHASSIS_FAULTS", "on")]).await;
    let mut faults = FaultServiceClient::new(cluster.channel('C').await);
    let client = cluster.client('A').await;
    faults.delay(DelayRequest { least_ms: 300, most_ms: 400 }).await.unwrap();
    let started = Instant::now();
    assert!(process(&client, b"x", PATIENCE).await.unwrap().complete);
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    faults.heal(HealRequest {}).await.unwrap();

    faults.drop(DropRequest { probability: 1.0 }).await.unwrap();
    let answer = process(&client, b"x", Duration::from_millis(500)).await.unwrap();
    assert_eq!(answer.missing[0].process, "C");
    let status = faults.drop(DropRequest { probability: 2.0 }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    faults.heal(HealRequest {}).await.unwrap();
    cluster.whole_again().await;

    // The connection breaks with it.
    faults.crash(CrashRequest {}).await.unwrap_err();
    assert_eq!(cluster.process('C').ended(PATIENCE).await.code(), Some(137));
    cluster.run('C');
    cluster.whole_again().await;
}

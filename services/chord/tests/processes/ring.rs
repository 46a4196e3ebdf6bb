//! Nodes of one ring, with a registry or without, each with a port of its own. They end with the
//! test.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chassis::channel::{Channel, Connector};
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_client::NodeServiceClient;
use proto::ensemble::chord::v1::registry_service_client::RegistryServiceClient;
use tonic::Status;

use crate::process::{Process, free_address};

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The most that a message of a client or a node has.
const MESSAGE_LIMIT: usize = 8 << 20;
pub(crate) const REGISTRY: &str = env!("CARGO_BIN_EXE_chord-registry");
pub(crate) const NODE: &str = env!("CARGO_BIN_EXE_chord-node");

/// What a process is told.
pub(crate) type Variables = BTreeMap<String, String>;

/// Nodes of one ring, by numbers that the tests give them.
pub(crate) struct Ring {
    /// Where the registry is, if there is one, and m.
    pub(crate) registry: Option<(String, u32)>,
    pub(crate) registrar: Option<Process>,
    pub(crate) addresses: BTreeMap<usize, String>,
    pub(crate) nodes: BTreeMap<usize, Process>,
    /// What every process is told besides.
    others: Variables,
}

/// Waits until something is there.
pub(crate) async fn until<T, F: Future<Output = Result<T, String>>>(look: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(missing) => assert!(started.elapsed() < PATIENCE, "{missing}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Ring {
    /// A registry and no nodes yet.
    pub(crate) async fn with_registry(bits: u32) -> Self {
        Self::with_registry_and(bits, Variables::new()).await
    }

    /// The same, of processes that are told this too.
    pub(crate) async fn with_registry_and(bits: u32, others: Variables) -> Self {
        let mut ring = Self {
            registry: Some((free_address(), bits)),
            registrar: None,
            addresses: BTreeMap::new(),
            nodes: BTreeMap::new(),
            others,
        };
        ring.run_registry().await;
        ring
    }

    /// Nodes that join by the first three of them.
    pub(crate) async fn without_registry(count: usize) -> Self {
        Self::without_registry_and(count, Variables::new()).await
    }

    /// The same, of processes that are told this too.
    pub(crate) async fn without_registry_and(count: usize, others: Variables) -> Self {
        let mut ring = Self {
            registry: None,
            registrar: None,
            addresses: (1..=count).map(|number| (number, free_address())).collect(),
            nodes: BTreeMap::new(),
            others,
        };
        for number in 1..=count {
            ring.run(number);
        }
        ring.settled().await;
        ring
    }

    /// A ring by a registry with so many nodes.
    pub(crate) async fn of(bits: u32, count: usize) -> Self {
        let mut ring = Self::with_registry(bits).await;
        for number in 1..=count {
            ring.run(number);
            ring.assigned(number).await;
        }
        ring.settled().await;
        ring
    }

    /// Starts the registry, and waits until it answers.
    pub(crate) async fn run_registry(&mut self) {
        let (address, bits) = self.registry.clone().expect("it has one");
        let bits = bits.to_string();
        let own = [("CHORD_ADDRESS", &*address), ("CHORD_BITS", &bits), ("CHORD_LEASE_MS", "1500")];
        let others = self.others.iter().map(|(name, value)| (&**name, &**value));
        self.registrar = Some(Process::start(REGISTRY, own.into_iter().chain(others)));
        until(async || self.info().await.map_err(|status| status.to_string())).await;
    }

    pub(crate) fn address(&self, number: usize) -> &str {
        &self.addresses[&number]
    }

    /// What a node is told.
    pub(crate) fn variables(&self, number: usize) -> Variables {
        let join = self.addresses.values().take(3).cloned().collect::<Vec<_>>().join(",");
        let source = match &self.registry {
            Some((registry, _)) => ("CHORD_REGISTRY", registry.clone()),
            None => ("CHORD_JOIN", join),
        };
        let own = [
            source,
            ("CHORD_ADDRESS", self.address(number).to_owned()),
            ("CHORD_STABILISE_MS", "100".to_owned()),
            ("CHORD_PATIENCE_MS", "300".to_owned()),
            ("CHORD_FOUND_MS", "1000".to_owned()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.others.clone()).collect()
    }

    /// Starts a node that does not run.
    pub(crate) fn run(&mut self, number: usize) {
        self.addresses.entry(number).or_insert_with(free_address);
        let process = Process::start(NODE, self.variables(number));
        self.nodes.insert(number, process);
    }

    /// Ends a node as a crash would.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes.remove(&number);
    }

    pub(crate) fn node(&mut self, number: usize) -> &mut Process {
        self.nodes.get_mut(&number).expect("it runs")
    }

    /// The line that a node prints when it has joined.
    pub(crate) async fn assigned(&self, number: usize) -> String {
        let process = &self.nodes[&number];
        until(async || {
            let log = process.log();
            let mut lines = log.lines().filter(|line| line.starts_with("assigned"));
            lines.next().map(str::to_owned).ok_or(format!("node {number} has not joined:\n{log}"))
        })
        .await
    }

    /// A connection to a node.
    pub(crate) async fn client(&self, number: usize) -> NodeServiceClient<Channel> {
        let channel = Connector::new(None).connect(self.address(number), PATIENCE).await.unwrap();
        NodeServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// A connection to the registry.
    pub(crate) async fn registry_client(&self) -> Result<RegistryServiceClient<Channel>, Status> {
        let (address, _) = self.registry.as_ref().expect("it has one");
        let channel = Connector::new(None).connect(address, Duration::from_secs(1)).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(RegistryServiceClient::new(channel))
    }

    pub(crate) async fn info(&self) -> Result<pb::GetChordInfoResponse, Status> {
        let mut client = self.registry_client().await?;
        Ok(client.get_chord_info(pb::GetChordInfoRequest {}).await?.into_inner())
    }

    /// Waits until so many nodes are registered. One that could not tell of its end is forgotten
    /// when its lease is over.
    pub(crate) async fn registered(&self, count: usize) {
        until(async || {
            let nodes = self.info().await.map_err(|status| status.to_string())?.nodes;
            (nodes.len() == count).then_some(()).ok_or(format!("{nodes:?}"))
        })
        .await;
    }

    pub(crate) async fn state(&self, number: usize) -> Result<pb::GetStateResponse, Status> {
        let channel = Connector::new(None).connect(self.address(number), PATIENCE).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = NodeServiceClient::new(channel);
        Ok(client.get_state(pb::GetStateRequest {}).await?.into_inner())
    }

    /// Waits until every node that runs is ready and has counted all of them, and each has the
    /// next one for its successor.
    pub(crate) async fn settled(&self) {
        until(async || {
            let mut states = Vec::new();
            for number in self.nodes.keys() {
                let state = self.state(*number).await;
                states.push(state.map_err(|status| format!("node {number}: {status}"))?);
            }
            states.sort_by_key(|state| state.node.as_ref().map(|node| node.id));
            let count = states.len();
            let id = |peer: Option<&pb::Peer>| peer.map(|peer| peer.id);
            for (at, state) in states.iter().enumerate() {
                let next = states[(at + 1) % count].node.as_ref();
                let successor = state.successors.first();
                let follows = count == 1 || id(successor) == id(next);
                if !state.ready || state.counted != count as u64 || !follows {
                    return Err(format!("of {count}: {state:?}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Saves a key by a node, and expects that it held nothing.
    pub(crate) async fn save(&self, number: usize, key: &str, value: &str) -> pb::SaveResponse {
        let request = pb::SaveRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..<_>::default()
        };
        self.client(number).await.save(request).await.unwrap().into_inner()
    }

    /// What a node finds.
    pub(crate) async fn find(&self, number: usize, key: &str) -> pb::FindResponse {
        let request = pb::FindRequest { key: key.to_owned().into(), ..<_>::default() };
        self.client(number).await.find(request).await.unwrap().into_inner()
    }

    pub(crate) async fn remove(&self, number: usize, key: &str) -> pb::RemoveResponse {
        let request = pb::RemoveRequest { key: key.to_owned().into(), ..<_>::default() };
        self.client(number).await.remove(request).await.unwrap().into_inner()
    }

    /// Finds all of these keys by every node that runs, each with its own name for its value.
    pub(crate) async fn finds_all(&self, keys: &[String]) {
        for number in self.nodes.keys() {
            let mut client = self.client(*number).await;
            for key in keys {
                let request = pb::FindRequest { key: key.clone().into(), ..<_>::default() };
                let found = client.find(request).await.unwrap().into_inner();
                let value = found.value.as_deref();
                assert_eq!(value, Some(key.as_bytes()), "{key} by node {number}");
            }
        }
    }

    /// Saves keys, one node after another.
    pub(crate) async fn fill(&self, count: usize) -> Vec<String> {
        let keys = (0..count).map(|number| format!("key-{number}")).collect::<Vec<_>>();
        for (key, number) in keys.iter().zip(self.nodes.keys().cycle()) {
            assert!(self.save(*number, key, key).await.saved, "{key}");
        }
        keys
    }
}

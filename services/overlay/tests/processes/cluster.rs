//! Six real processes on loopback, each on a port of its own. They end with the test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chassis::Tls;
use chassis::channel::{Channel, Connector};
use overlay::client::{Answer, Client, Operation, Refusal, Team};
use tokio::task::JoinHandle;

use crate::process::{Process, free_address};

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

fn binary(id: char) -> &'static str {
    match id {
        'A' => env!("CARGO_BIN_EXE_overlay-leader"),
        'B' | 'E' => env!("CARGO_BIN_EXE_overlay-team-leader"),
        _ => env!("CARGO_BIN_EXE_overlay-worker"),
    }
}

/// Starts one process.
pub(crate) fn start(id: char, variables: &[(&str, String)]) -> Process {
    let id_unless_set = std::iter::once(("OVERLAY_ID", id.to_string()));
    Process::start(binary(id), id_unless_set.chain(variables.iter().cloned()))
}

/// Processes A to F.
pub(crate) struct Cluster {
    addresses: Vec<(char, String)>,
    variables: Vec<(&'static str, String)>,
    processes: Vec<(char, Process)>,
    tls: Option<PathBuf>,
}

impl Cluster {
    /// Starts all six with these variables and waits until an answer is whole.
    pub(crate) async fn start(variables: &[(&'static str, &str)]) -> Self {
        Self::start_secured(variables, None).await
    }

    /// The same, with certificates from `folder/ID`.
    pub(crate) async fn start_secured(
        variables: &[(&'static str, &str)],
        folder: Option<&Path>,
    ) -> Self {
        let addresses: Vec<_> = ('A'..='F').map(|id| (id, free_address())).collect();
        let mut moved = String::new();
        for (id, address) in &addresses {
            write!(moved, "{id}={address},").unwrap();
        }
        let mut all = vec![("OVERLAY_ADDRESSES", moved)];
        all.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let tls = folder.map(Path::to_owned);
        let mut cluster = Self { addresses, variables: all, processes: Vec::new(), tls };
        for id in 'A'..='F' {
            cluster.run(id);
        }
        cluster.whole_again().await;
        cluster
    }

    /// Starts a process that does not run.
    pub(crate) fn run(&mut self, id: char) {
        self.processes.retain(|(other, _)| *other != id);
        let mut variables = self.variables.clone();
        if let Some(folder) = &self.tls {
            variables.push(("CHASSIS_TLS_DIR", folder.join(id.to_string()).display().to_string()));
        }
        self.processes.push((id, start(id, &variables)));
    }

    /// Ends a process as a crash would.
    pub(crate) fn kill(&mut self, id: char) {
        self.processes.retain(|(other, _)| *other != id);
    }

    pub(crate) fn process(&mut self, id: char) -> &mut Process {
        let found = self.processes.iter_mut().find(|(other, _)| *other == id);
        &mut found.expect("it runs").1
    }

    pub(crate) fn address(&self, id: char) -> &str {
        &self.addresses.iter().find(|(other, _)| *other == id).unwrap().1
    }

    pub(crate) fn connector(&self) -> Connector {
        let tls = self.tls.as_ref().map(|folder| Tls::read(&folder.join("client")).unwrap());
        Connector::new(tls)
    }

    pub(crate) async fn channel(&self, id: char) -> Channel {
        self.connector().connect(self.address(id), PATIENCE).await.unwrap()
    }

    pub(crate) async fn client(&self, id: char) -> Client {
        Client::connect(&self.connector(), self.address(id), PATIENCE).await.unwrap()
    }

    /// Asks A until nobody is missing.
    pub(crate) async fn whole_again(&self) {
        self.until(|answer| answer.complete).await;
    }

    /// Asks A until its answer is as it should be.
    pub(crate) async fn until(&self, is_right: impl Fn(&Answer) -> bool) -> Answer {
        let started = Instant::now();
        let mut last = String::from("no connection");
        while started.elapsed() < PATIENCE {
            let (connector, second) = (self.connector(), Duration::from_secs(1));
            if let Ok(client) = Client::connect(&connector, self.address('A'), second).await {
                match process(&client, b"hello", Duration::from_secs(2)).await {
                    Ok(answer) if is_right(&answer) => return answer,
                    other => last = format!("{other:?}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let logs: Vec<_> =
            self.processes.iter().map(|(id, process)| format!("{id}: {}", process.log())).collect();
        panic!("not within {PATIENCE:?}; last: {last}\n{}", logs.join("\n"));
    }
}

/// Several requests for the document's operation at once.
pub(crate) fn process_many(
    client: &Client,
    count: usize,
) -> Vec<JoinHandle<Result<Answer, Refusal>>> {
    let ask = |client: Client| async move { process(&client, b"hello", PATIENCE).await };
    (0..count).map(|_| tokio::spawn(ask(client.clone()))).collect()
}

/// One request for the document's operation.
pub(crate) async fn process(
    client: &Client,
    payload: &[u8],
    deadline: Duration,
) -> Result<Answer, Refusal> {
    client.forward(payload.to_vec(), Operation::Process, Team::Unspecified, deadline).await
}

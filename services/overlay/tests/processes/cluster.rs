//! Six real processes on loopback, each on a port of its own. They end with the test.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chassis::Tls;
use chassis::channel::Connector;
use overlay::client::{Answer, Client, Operation, Refusal, Team};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody has, below those that the system hands out for outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 400) as u16 * 30;
    for _ in 0..12_000 {
        let port = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + (port - 20_000) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

fn binary(id: char) -> &'static str {
    match id {
        'A' => env!("CARGO_BIN_EXE_overlay-leader"),
        'B' | 'E' => env!("CARGO_BIN_EXE_overlay-team-leader"),
        _ => env!("CARGO_BIN_EXE_overlay-worker"),
    }
}

/// One process and what it has logged.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(id: char, variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(binary(id));
        command
            .env_clear()
            .env("OVERLAY_ID", id.to_string())
            .env("CHASSIS_TIED", "on")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary is built");
        let log = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for stream in streams {
            let log = log.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            });
        }
        Self { child, log }
    }

    /// Everything that it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for its end, and lets our own connections say goodbye meanwhile.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < within, "it has not ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        let addresses: Vec<_> =
            ('A'..='F').map(|id| (id, format!("127.0.0.1:{}", free_port()))).collect();
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
        self.processes.push((id, Process::start(id, &variables)));
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

//! Processes that are measured: each ends with the value that stands for it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chassis::health;
use rustix::process::{Pid, Signal, kill_process};

/// Time until a process must be up; much longer than anything here takes.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(10);
/// Time for one look whether it is up.
const LOOK_DEADLINE: Duration = Duration::from_secs(1);
/// Time between two looks at something that is not measured by them.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A running process. It is killed when this is dropped, and ends by itself when this process dies:
/// then its standard input closes.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    started: Instant,
    log: PathBuf,
}

impl Process {
    /// Starts a program. What it says goes to `NAME.log` in the folder of `logs`.
    pub(crate) fn start(name: &str, mut command: Command, logs: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(logs).with_context(|| format!("making {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
        let program = command.get_program().to_owned();
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.into(), child, started, log })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    pub(crate) fn expect_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended with {status}; {} may say why", self.name, self.log.display());
        }
        Ok(())
    }

    /// Fails when it has ended, or has run for longer than the deadline.
    pub(crate) fn expect_up_within(&mut self, deadline: Duration) -> anyhow::Result<()> {
        self.expect_alive()?;
        let log = self.log.display();
        let late = self.started.elapsed() >= deadline;
        ensure!(!late, "{} is not up after {deadline:?}; {log} may say why", self.name);
        Ok(())
    }

    /// The time from its start until it answers at this address that it serves, when it is asked
    /// again and again with such a pause.
    pub(crate) async fn until_serving(
        &mut self,
        address: SocketAddr,
        pause: Duration,
    ) -> anyhow::Result<Duration> {
        loop {
            let status = health::check(address, None, "", LOOK_DEADLINE).await;
            if matches!(status, Ok(health::Status::Serving)) {
                return Ok(self.started.elapsed());
            }
            self.expect_up_within(START_DEADLINE)?;
            match pause {
                // The shortest sleep is a millisecond.
                Duration::ZERO => tokio::task::yield_now().await,
                pause => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self, deadline: Duration) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .with_context(|| format!("stopping {}", self.name))?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < deadline, "{} has not stopped in {deadline:?}", self.name);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Sends it SIGKILL, and does not wait.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Kills it, and waits until it is gone with all that it held.
    pub(crate) fn end(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Addresses on loopback that nobody has, below the ports that the system gives to connections.
pub(crate) fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let first = 20_000 + (std::process::id() % 400) as u16 * 30;
    let candidates = (first..32_000).chain(20_000..first);
    // All are held until all are found, so that none is found twice.
    let held: Vec<_> = candidates
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .take(N)
        .map(|listener| listener.local_addr())
        .collect::<Result<_, _>>()?;
    held.try_into().ok().context("no free ports between 20000 and 32000 on loopback")
}

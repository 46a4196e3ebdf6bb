//! One running child process: how it starts, speaks and ends.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::output::{Sink, Stream, pump};
use crate::topology::Unit;

/// How long what a dead process said may take to be read: its own children might hold the pipes.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How roles are started: this very binary starts each as `ensemble role ROLE`.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) executable: PathBuf,
    /// The folder in which they run.
    pub(crate) folder: PathBuf,
}

/// A child process that runs.
pub(crate) struct Running {
    child: Child,
    pub(crate) pid: u32,
    /// Passes on what it says.
    pumps: JoinSet<()>,
    /// The child stops when this end of its standard input closes: however we die, it does not
    /// outlive us.
    _tie: Option<ChildStdin>,
}

impl Running {
    /// Starts a service's role.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(crate) fn start(unit: &Unit, sink: &Arc<Sink>, launch: &Launch) -> io::Result<Self> {
        let mut child = Command::new(&launch.executable)
            .args(["role", unit.role.name])
            .env_clear()
            .envs(&unit.environment)
            .current_dir(&launch.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // The terminal's Ctrl-C is for us; we stop the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let mut pumps = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            let sink = Arc::clone(sink);
            pumps.spawn(async move { pump(stdout, |line| sink.line(Stream::Stdout, line)).await });
        }
        if let Some(stderr) = child.stderr.take() {
            let sink = Arc::clone(sink);
            pumps.spawn(async move { pump(stderr, |line| sink.line(Stream::Stderr, line)).await });
        }
        let tie = child.stdin.take();
        Ok(Self { child, pid, pumps, _tie: tie })
    }

    /// Waits until it has ended. May be abandoned and called again.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits until all that it said has been passed on.
    pub(crate) async fn last_words(mut self) {
        let all = async { while self.pumps.join_next().await.is_some() {} };
        // What still holds the pipes after that is no child of ours.
        let _ = timeout(LAST_WORDS, all).await;
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        // The number is ours until we have waited for the child.
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // It may have ended just before.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it without asking.
    pub(crate) fn kill(&mut self) {
        // It may have ended just before.
        let _ = self.child.start_kill();
    }
}

//! Real processes on loopback, for the tests of every system. They end with the test.

#![allow(dead_code, reason = "each test that uses this module uses a part of it")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// An address whose port nobody has, below those that the system hands out for outgoing
/// connections.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = (std::process::id() % 700) as u16 * 30;
    for _ in 0..22_000 {
        let port = 10_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
    panic!("no free port");
}

/// One process and what it has logged.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts a binary with these variables and no others.
    pub(crate) fn start(
        binary: &str,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Self {
        let mut child = Command::new(binary)
            .env_clear()
            .env("CHASSIS_TIED", "on")
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let log = Arc::<Mutex<Vec<_>>>::default();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        let readers = streams.map(|stream| {
            let log = log.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            })
        });
        Self { child, log, readers }
    }

    /// Everything that it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for its end and its last words, and lets our own connections say goodbye meanwhile.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap()
                && self.readers.iter().all(JoinHandle::is_finished)
            {
                return status;
            }
            assert!(started.elapsed() < within, "it has not ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What a process says that must not come up.
    pub(crate) async fn refused(mut self, within: Duration) -> String {
        let status = self.ended(within).await;
        assert!(!status.success(), "{status}:\n{}", self.log());
        self.log()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

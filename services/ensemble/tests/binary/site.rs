//! A folder with a copy of the repository's topology, on ports of its own, for one test.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// The services of the overlay.
pub(crate) const SERVICES: [&str; 6] =
    ["overlay-a", "overlay-b", "overlay-c", "overlay-d", "overlay-e", "overlay-f"];

/// The folder, and what runs in it.
pub(crate) struct Site {
    folder: TempDir,
    /// More variables for every command.
    pub(crate) variables: Vec<(String, String)>,
    /// The ports of A to F.
    pub(crate) ports: Vec<u16>,
    /// The port of the console's page, and the one where it takes spans.
    pub(crate) console: [u16; 2],
    children: Vec<Child>,
}

/// Waits for a condition.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition with a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Whether a process runs; one that is dead and waits to be buried does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
        Err(_) => {
            let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
            !Path::new("/proc/self").exists() && test_kill_process(pid).is_ok()
        }
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    kill_process(pid, signal).expect("a process of ours");
}

/// Free ports below those that the system gives to clients, each given once.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() * 61;
    let mut candidates = std::iter::repeat_with(|| {
        let offset = start + NEXT.fetch_add(1, Ordering::Relaxed);
        12_000 + u16::try_from(offset % 20_000).expect("small")
    });
    let free = candidates.by_ref().filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.take(count).collect()
}

impl Site {
    /// A folder with the repository's compose file and what it mounts.
    pub(crate) fn new() -> Self {
        let site = Self::empty();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for path in ["compose.yaml", ".env", "services/overlay/two_hosts_config.json"] {
            let to = site.path().join(path);
            fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            fs::copy(root.join(path), to).expect("copied");
        }
        site
    }

    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut ports = free_ports(SERVICES.len() + 2);
        let console = [ports.remove(0), ports.remove(0)];
        // What is not started here must not be taken for what another runs.
        let names = (1..=5).map(|id| format!("RAFT_{id}_PORT"));
        let names = names.chain((1..=6).map(|number| format!("CHORD_{number}_PORT")));
        let names = names.chain(["CHORD_REGISTRY_PORT".to_owned()]).collect::<Vec<_>>();
        let others = free_ports(names.len());
        let variables = names.into_iter().zip(others.iter().map(u16::to_string)).collect();
        Self { folder, variables, ports, console, children: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ensemble"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        for (name, port) in ["A", "B", "C", "D", "E", "F"].iter().zip(&self.ports) {
            command.env(format!("OVERLAY_{name}_PORT"), port.to_string());
        }
        let [page, traces] = self.console.map(|port| port.to_string());
        command.env("CONSOLE_PORT", page).env("CONSOLE_TRACES_PORT", traces);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("started")
    }

    /// Runs a command that must succeed; what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {error}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must fail with this code; its error.
    pub(crate) fn fail(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        error
    }

    /// Where standard output of what `up` has started goes.
    pub(crate) fn screen(&self) -> PathBuf {
        self.path().join("screen")
    }

    /// Writes a file of the folder.
    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).expect("written");
    }

    /// Starts `ensemble up` with these arguments, and waits until all services are healthy.
    pub(crate) fn up(&mut self, arguments: &[&str]) -> u32 {
        let pid = self.start(arguments);
        self.all_serve();
        pid
    }

    /// Starts `ensemble up` with these arguments.
    pub(crate) fn start(&mut self, arguments: &[&str]) -> u32 {
        let screen = fs::File::create(self.screen()).expect("a file");
        let errors = screen.try_clone().expect("a file");
        let mut command = self.command(&[&["up"], arguments].concat());
        let child = command.stdout(screen).stderr(errors).spawn().expect("started");
        let pid = child.id();
        self.children.push(child);
        pid
    }

    /// Waits for the end of what `up` has started; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut child = self.children.pop().expect("started");
        eventually("it ends", || child.try_wait().expect("a child of ours")).code()
    }

    /// What `ensemble ps --json` tells.
    pub(crate) fn ps(&self) -> Value {
        serde_json::from_str(&self.succeed(&["ps", "--json"])).expect("JSON")
    }

    /// Waits until all services that run serve, and there are some.
    pub(crate) fn all_serve(&mut self) {
        eventually("all serve", || {
            if let Some(child) = self.children.last_mut() {
                let ended = child.try_wait().expect("a child of ours");
                let screen = fs::read_to_string(self.folder.path().join("screen"));
                assert!(ended.is_none(), "{ended:?}: {screen:?}");
            }
            let ps = self.ps();
            let services = ps["services"].as_array()?;
            let serves =
                |service: &Value| service["health"] == "SERVING" && service["state"] == "healthy";
            (!services.is_empty() && services.iter().all(serves)).then_some(())
        });
    }

    /// The processes of all services, by their names.
    pub(crate) fn pids(&self) -> BTreeMap<String, u32> {
        let ps = self.ps();
        let services = ps["services"].as_array().expect("a list");
        let name = |service: &Value| service["service"].as_str().expect("a name").to_owned();
        let pid = |service: &Value| service["pid"].as_u64().expect("a process");
        let pid = |service| u32::try_from(pid(service)).expect("a process");
        services.iter().map(|service| (name(service), pid(service))).collect()
    }

    /// What `ensemble ps --json` tells of a service.
    pub(crate) fn service(&self, name: &str) -> Value {
        let ps = self.ps();
        let services = ps["services"].as_array().expect("a list");
        services.iter().find(|service| service["service"] == name).expect("it is there").clone()
    }

    /// Waits until none of these processes runs and every port is free.
    pub(crate) fn all_gone(&self, pids: &BTreeMap<String, u32>) {
        eventually("all are gone", || (!pids.values().any(|pid| is_alive(*pid))).then_some(()));
        for port in self.ports.iter().chain(&self.console) {
            TcpListener::bind(("127.0.0.1", *port)).expect("its port is free");
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What was started in the background, too; when nothing runs that is said and no error.
        let _ = self.command(&["down"]).output();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

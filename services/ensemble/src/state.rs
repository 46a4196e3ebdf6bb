//! What a running topology leaves in `.ensemble`: the lock of its supervisor, its state, its logs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chassis::Role;
use serde::{Deserialize, Serialize};

/// How long a lock may be held by somebody who only looks whether it is.
const GLANCE: Duration = Duration::from_millis(200);

/// The folder `.ensemble`.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// Held by a supervisor for as long as it lives: the system lets go of it however it dies.
pub(crate) struct Lock {
    _file: File,
}

/// What a supervisor tells about itself and its services.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The supervisor's process.
    pub(crate) pid: u32,
    /// When it started, in milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
    pub(crate) profiles: Vec<String>,
    pub(crate) host: Option<u32>,
    /// The certificates with which to speak to the services.
    pub(crate) client_certs: Option<PathBuf>,
    pub(crate) services: Vec<ServiceState>,
}

/// What a supervisor tells about one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServiceState {
    pub(crate) service: String,
    pub(crate) role: String,
    /// Its name within its system, such as `A`, where its settings give it one.
    pub(crate) id: Option<String>,
    pub(crate) address: SocketAddr,
    pub(crate) pid: Option<u32>,
    /// When the process started, in milliseconds since 1970.
    pub(crate) started_unix_ms: Option<u64>,
    /// How often it has been started again.
    pub(crate) restarts: u32,
    pub(crate) state: Phase,
}

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// What it depends on is not there yet.
    Waiting,
    /// It runs, and has not been healthy yet.
    Starting,
    /// It answers that it serves.
    Healthy,
    /// It was healthy, and is not.
    Unhealthy,
    /// It has ended and will be started again.
    Restarting,
    /// It has ended well and stays so.
    Finished,
    /// It has failed and stays so.
    Failed,
    /// It was stopped.
    Stopped,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Restarting => "restarting",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Its process runs.
    pub(crate) fn runs(self) -> bool {
        matches!(self, Self::Starting | Self::Healthy | Self::Unhealthy)
    }
}

/// A service that can be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    /// Its name within its system, or else that of the service.
    pub(crate) id: String,
    pub(crate) service: String,
    /// `host:port`.
    pub(crate) address: String,
}

impl Known {
    /// The one that goes by this id, or is this service.
    pub(crate) fn find<'a>(all: &'a [Self], name: &str) -> Option<&'a Self> {
        all.iter().find(|known| known.id == name || known.service == name)
    }
}

impl State {
    /// Its services with one of these roles, in the order of their ids.
    pub(crate) fn known(&self, roles: &[&Role]) -> Vec<Known> {
        let ours = |service: &&ServiceState| roles.iter().any(|role| role.name == service.role);
        let known = |service: &ServiceState| Known {
            id: service.id.as_ref().unwrap_or(&service.service).clone(),
            service: service.service.clone(),
            address: service.address.to_string(),
        };
        let mut all: Vec<_> = self.services.iter().filter(ours).map(known).collect();
        all.sort();
        all
    }

    pub(crate) fn all_healthy(&self) -> bool {
        self.services
            .iter()
            .all(|service| matches!(service.state, Phase::Healthy | Phase::Finished))
    }
}

impl Folder {
    /// The folder at this path, which need not exist.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder, hidden from git.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(crate) fn make(&self) -> Result<()> {
        let make = || {
            fs::create_dir_all(self.logs())?;
            fs::write(self.0.join(".gitignore"), "*\n")
        };
        make().with_context(|| format!("cannot make the folder {}", self.0.display()))
    }

    /// Where the logs are.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The log of one service, or of the supervisor itself.
    pub(crate) fn log(&self, service: &str) -> PathBuf {
        self.logs().join(format!("{service}.log"))
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn state_file(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// Takes the lock, and writes this process into it.
    ///
    /// # Errors
    ///
    /// Another supervisor holds it: the error says who.
    pub(crate) async fn lock(&self) -> Result<Lock> {
        let path = self.lock_file();
        let open =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path);
        let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
        let started = tokio::time::Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Perhaps only `ps`, looking whether somebody holds it.
                Err(TryLockError::WouldBlock) if started.elapsed() < GLANCE => {
                    tokio::time::sleep(GLANCE / 20).await;
                }
                Err(TryLockError::WouldBlock) => bail!(self.describe_holder()),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()))?;
        Ok(Lock { _file: file })
    }

    fn describe_holder(&self) -> String {
        let who = self.holder().ok().flatten().map_or_else(String::new, |pid| format!(" {pid}"));
        let profiles = match self.read() {
            Ok(Some(state)) => format!(" ({})", state.profiles.join(", ")),
            _ => String::new(),
        };
        format!(
            "a topology already runs here: process{who}{profiles}; \
             `ensemble ps` shows it, `ensemble down` stops it"
        )
    }

    /// The process that holds the lock, if any does and has said so: it does right after.
    ///
    /// # Errors
    ///
    /// The lock cannot be read.
    pub(crate) fn holder(&self) -> Result<Option<u32>> {
        let path = self.lock_file();
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.with_context(|| format!("cannot open {}", path.display()))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.rewind()?;
                file.read_to_string(&mut text)?;
                Ok(text.trim().parse().ok())
            }
        }
    }

    /// The state as last written, whether or not its supervisor still lives.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood.
    pub(crate) fn read(&self) -> Result<Option<State>> {
        let path = self.state_file();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let state = serde_json::from_slice(&text);
        Ok(Some(state.with_context(|| format!("cannot understand {}", path.display()))?))
    }

    /// The state of the supervisor that lives, if one does.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood.
    pub(crate) fn running(&self) -> Result<Option<State>> {
        let Some(pid) = self.holder()? else {
            return Ok(None);
        };
        Ok(self.read()?.filter(|state| state.pid == pid))
    }

    /// Writes the state so that a reader sees the old or the new one, never half of it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let path = self.state_file();
        let beside = path.with_extension("json.new");
        let mut text = serde_json::to_string_pretty(state)?;
        text.push('\n');
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets the state: nothing runs.
    pub(crate) fn forget(&self) {
        // When it cannot be removed, the lock still says that nobody runs.
        let _ = fs::remove_file(self.state_file());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn a_second_supervisor_is_told_who_runs() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(&temporary.path().join(".ensemble"));
        folder.make().expect("made");
        assert_eq!(folder.holder().expect("readable"), None);
        let lock = block_on(folder.lock()).expect("free");
        assert_eq!(folder.holder().expect("readable"), Some(std::process::id()));
        let error = block_on(folder.lock()).err().expect("taken").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(folder.holder().expect("readable"), None);
        block_on(folder.lock()).expect("free again");
    }

    /// Services by name, role and id.
    fn state(services: &[(&str, &str, Option<&str>)]) -> State {
        let service = |(service, role, id): &(&str, &str, Option<&str>)| ServiceState {
            service: (*service).to_owned(),
            role: (*role).to_owned(),
            id: id.map(str::to_owned),
            address: ([127, 0, 0, 1], 1).into(),
            pid: Some(7),
            started_unix_ms: Some(1),
            restarts: 2,
            state: Phase::Healthy,
        };
        State {
            pid: 3,
            started_unix_ms: 1,
            profiles: vec!["p".to_owned()],
            host: None,
            client_certs: None,
            services: services.iter().map(service).collect(),
        }
    }

    #[test]
    fn services_of_a_system_are_found_by_id_or_name() {
        let (leader, worker) = (overlay::LEADER.name, overlay::WORKER.name);
        let state = state(&[
            ("overlay-c", worker, Some("C")),
            ("overlay-x", worker, None),
            ("raft-1", raft::NODE.name, Some("1")),
            ("overlay-a", leader, Some("A")),
        ]);
        let known = state.known(overlay::ROLES);
        let ids: Vec<_> = known.iter().map(|known| known.id.as_str()).collect();
        assert_eq!(ids, ["A", "C", "overlay-x"]);
        let service = |name| Known::find(&known, name).map(|known| known.service.as_str());
        assert_eq!((service("C"), service("overlay-a")), (Some("overlay-c"), Some("overlay-a")));
        assert_eq!((service("1"), service("raft-1")), (None, None));
        assert_eq!(known[0].address, "127.0.0.1:1");
    }

    #[test]
    fn state_is_read_as_it_was_written() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(temporary.path());
        assert!(folder.read().expect("readable").is_none());
        let state = state(&[("a", "r", None)]);
        folder.write(&state).expect("written");
        let read = folder.read().expect("readable").expect("there");
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&state).unwrap());
        assert!(read.all_healthy());
        // Nobody holds the lock: what is written is of the past.
        assert!(folder.running().expect("readable").is_none());
        folder.forget();
        assert!(folder.read().expect("readable").is_none());
    }
}

//! A compose file with its variables filled in, and what of it runs: which services, in which
//! order, with which environment, at which address.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chassis::{Environment, Role};

use crate::compose::{Compose, Condition, Restart, Service, Source};
use crate::dotenv;
use crate::embedded;
use crate::interpolate::Use;
use crate::nearest::nearest;
use crate::roles;
use crate::substitute::{to_loopback, to_source, to_tls};

/// The file that is looked for in the current folder and those above it.
const FILE: &str = "compose.yaml";
/// The folder beside it that holds all that a running topology leaves: locks, state, logs, volumes.
const STATE_FOLDER: &str = ".ensemble";
/// What a child process keeps of the caller's environment.
const KEPT: [&str; 5] = ["HOME", "PATH", "RUST_BACKTRACE", "TMPDIR", "TZ"];

/// A compose file, read and interpolated.
pub(crate) struct Topology {
    /// Where the user keeps it: the folder of the file, or else the current one.
    home: PathBuf,
    /// What an error calls the file.
    file: String,
    /// What relative paths in the file are relative to.
    folder: PathBuf,
    /// The file is the one inside the binary: it is written to `folder` before it runs.
    embedded: bool,
    services: BTreeMap<String, Service>,
    /// The profiles of `COMPOSE_PROFILES`.
    default_profiles: Vec<String>,
}

/// What of a topology shall run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// The profiles; the default ones when there are none.
    pub(crate) profiles: Vec<String>,
    /// Only the processes of this host, at the addresses that the file gives.
    pub(crate) host: Option<u32>,
    /// The folder with a folder of certificates for each service.
    pub(crate) certs: Option<PathBuf>,
}

/// What runs.
pub(crate) struct Plan {
    pub(crate) profiles: Vec<String>,
    /// In the order of their dependencies.
    pub(crate) units: Vec<Unit>,
    /// Services that are no role of ours: only Docker can run them.
    pub(crate) skipped: Vec<String>,
}

/// One service to run as a child process.
pub(crate) struct Unit {
    pub(crate) service: String,
    pub(crate) role: &'static Role,
    /// The whole environment of the process.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// Where it listens besides.
    pub(crate) beside: Option<SocketAddr>,
    /// What it waits for: positions in the plan.
    pub(crate) after: Vec<(usize, Condition)>,
    pub(crate) restart: Restart,
    pub(crate) stop_grace_period: Duration,
    /// The gRPC service whose health is asked for; the process as a whole when it is empty.
    pub(crate) health_service: String,
    pub(crate) health_interval: Duration,
    pub(crate) health_retries: u32,
    /// Folders and files that must exist before it starts; the folders of volumes are made.
    pub(crate) mounts: Vec<MountedPath>,
    /// The variables that its values were made of.
    pub(crate) uses: Vec<Use>,
}

impl Unit {
    /// Its name within its system, such as `A`, where its settings give it one.
    pub(crate) fn id(&self) -> Option<&str> {
        let variable = format!("{}ID", self.role.variables.0);
        self.environment.get(&variable).map(String::as_str)
    }
}

/// A path on this machine that a service is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountedPath {
    /// Something of the user's.
    Bind(PathBuf),
    /// A folder of the topology's own.
    Volume(PathBuf),
}

impl Topology {
    /// Reads `file`, or else the nearest `compose.yaml` above the current folder, or else the one
    /// inside the binary; and `.env` beside it. What the caller's environment sets wins.
    ///
    /// # Errors
    ///
    /// A file cannot be read or understood.
    pub(crate) fn load(file: Option<&Path>, caller: &Environment) -> Result<Self> {
        let home = home(file)?;
        let Some(file) = home.file else {
            let folder = home.folder.join(STATE_FOLDER).join("topology");
            let text = embedded::text(FILE).context("the binary holds no topology")?;
            let dotenv = embedded::text(".env").unwrap_or_default();
            let topology = Self::parse(FILE, &folder, text, dotenv, caller)?;
            return Ok(Self { home: home.folder, embedded: true, ..topology });
        };
        let folder = &home.folder;
        let name = file.display().to_string();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        let dotenv = match fs::read_to_string(folder.join(".env")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read the .env beside {name}"))?,
        };
        Self::parse(&name, folder, &text, &dotenv, caller)
    }

    /// The topology of a text, whose relative paths start at `folder`.
    ///
    /// # Errors
    ///
    /// The text or `.env` cannot be understood.
    pub(crate) fn parse(
        file: &str,
        folder: &Path,
        text: &str,
        dotenv: &str,
        caller: &Environment,
    ) -> Result<Self> {
        let outer = |name: &str| caller.get(name).map(str::to_owned);
        let variables = dotenv::parse(dotenv, outer)
            .with_context(|| format!("{}", folder.join(".env").display()))?;
        let lookup = |name: &str| outer(name).or_else(|| variables.get(name).cloned());
        let mut compose = Compose::parse(text).with_context(|| file.to_owned())?;
        compose.interpolate(&lookup).with_context(|| file.to_owned())?;
        let profiles = lookup("COMPOSE_PROFILES").unwrap_or_default();
        Ok(Self {
            home: folder.to_owned(),
            file: file.to_owned(),
            folder: folder.to_owned(),
            embedded: false,
            services: compose.services,
            default_profiles: names(&profiles),
        })
    }

    /// Where the user keeps it: the folder of the compose file, or else the current one.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// What relative paths in the file are relative to.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the topology that the binary holds to where it runs.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn write_if_embedded(&self) -> Result<()> {
        if self.embedded { embedded::write(&self.folder) } else { Ok(()) }
    }

    /// The profiles that the file names.
    pub(crate) fn profiles(&self) -> BTreeSet<&str> {
        self.services.values().flat_map(|service| &service.profiles).map(String::as_str).collect()
    }

    /// The names of the roles' services, whatever their profile; without holders of addresses.
    pub(crate) fn role_services(&self) -> impl Iterator<Item = &str> {
        let is_role = |service: &Service| service.role().is_some_and(|role| role != roles::HOLDER);
        self.services
            .iter()
            .filter(move |(_, service)| is_role(service))
            .map(|(name, _)| name.as_str())
    }

    /// What others may call a service: its name, its host's name, and its own or its host's
    /// addresses.
    pub(crate) fn names_of(&self, service: &str) -> Vec<String> {
        let mut names = vec![service.to_owned()];
        let Some(own) = self.services.get(service) else {
            return names;
        };
        names.extend_from_slice(own.addresses());
        if let Some((name, host)) =
            own.network_of().and_then(|name| self.services.get_key_value(name))
        {
            names.push(name.clone());
            names.extend_from_slice(host.addresses());
        }
        names
    }

    /// Works out what runs.
    ///
    /// # Errors
    ///
    /// A profile or host does not exist, a role does not, services wait for each other in a
    /// circle, or a role cannot tell its address from its environment.
    pub(crate) fn plan(&self, selection: &Selection, caller: &Environment) -> Result<Plan> {
        let profiles = self.selected_profiles(&selection.profiles)?;
        let host = selection.host.map(|number| self.host(number)).transpose()?;
        let mut chosen = BTreeMap::new();
        let mut skipped = Vec::new();
        for (name, service) in &self.services {
            let here = host.as_deref().is_none_or(|host| self.belongs(service, host, &profiles));
            match service.role() {
                _ if !is_active(service, &profiles) || !here => (),
                Some(roles::HOLDER) => (),
                Some(role) => _ = chosen.insert(name.as_str(), (role, service)),
                None => skipped.push(name.clone()),
            }
        }
        if chosen.is_empty() {
            let (file, profile, there_are) = (&self.file, profiles.join(","), self.list_profiles());
            ensure!(
                skipped.is_empty(),
                "{file}: only Docker can run profile {profile}: \
                 `docker compose --profile {profile} up`"
            );
            bail!("{file}: nothing to run; name one of its profiles {there_are}");
        }
        let order = self.order(&chosen, &profiles)?;
        let mut units = Vec::with_capacity(order.len());
        for name in &order {
            let (role, service) = chosen[name];
            let unit = self.unit(name, role, service, selection, &order, caller);
            units.push(unit.with_context(|| format!("{}: service {name}", self.file))?);
        }
        Ok(Plan { profiles, units, skipped })
    }

    /// Whether a service runs on a host that is a machine of its own: it lives there, or lives on
    /// no host and goes with those that do.
    fn belongs(&self, service: &Service, host: &str, profiles: &[String]) -> bool {
        let lives_there = |service: &Service| service.network_of() == Some(host);
        let there = |other: &&Service| lives_there(other) && is_active(other, profiles);
        let goes_with = |other: &Service| {
            other.profiles.iter().any(|profile| service.profiles.contains(profile))
        };
        match service.network_of() {
            Some(_) => lives_there(service),
            None => self.services.values().filter(there).any(goes_with),
        }
    }

    /// The profiles that were named, or else the default ones.
    fn selected_profiles(&self, named: &[String]) -> Result<Vec<String>> {
        let known = self.profiles();
        let selected = if named.is_empty() { &self.default_profiles } else { named };
        for profile in selected {
            if profile != "*" && !known.contains(profile.as_str()) {
                let hint = nearest(profile, known.iter().copied()).suggestion("ensemble up --help");
                let list = self.list_profiles();
                let file = &self.file;
                bail!("{file} has no profile {profile}{hint} (there are {list})");
            }
        }
        Ok(selected.to_vec())
    }

    fn list_profiles(&self) -> String {
        self.profiles().into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The service that holds the address of a host.
    fn host(&self, number: u32) -> Result<String> {
        let name = format!("host-{number}");
        if self.services.contains_key(&name) {
            return Ok(name);
        }
        let hosts: Vec<_> =
            self.services.keys().filter_map(|name| name.strip_prefix("host-")).collect();
        bail!("{} has no service {name}: its hosts are {}", self.file, hosts.join(", "))
    }

    /// The address that the file gives a host.
    ///
    /// # Errors
    ///
    /// There is no such host, or it has no address.
    pub(crate) fn host_address(&self, number: u32) -> Result<&str> {
        let name = self.host(number)?;
        let address = self.services.get(&name).and_then(|service| service.addresses().first());
        address
            .map(String::as_str)
            .ok_or_else(|| anyhow!("{}: {name} has no ipv4_address", self.file))
    }

    /// The names of the chosen services, each after those that it waits for.
    fn order<'a>(
        &self,
        chosen: &BTreeMap<&'a str, (&str, &'a Service)>,
        profiles: &[String],
    ) -> Result<Vec<&'a str>> {
        let mut order: Vec<&str> = Vec::with_capacity(chosen.len());
        let mut left: Vec<&str> = chosen.keys().copied().collect();
        for (name, (_, service)) in chosen {
            for (other, dependency) in &service.depends_on.0 {
                let found = self.services.get(other);
                if dependency.required && !found.is_some_and(|found| is_active(found, profiles)) {
                    let file = &self.file;
                    bail!("{file}: service {name} depends on {other}, which is not in its profile");
                }
            }
        }
        while !left.is_empty() {
            let waits = |name: &&str| {
                let mut others = chosen[name].1.depends_on.0.keys();
                others.any(|other| left.contains(&other.as_str()))
            };
            let (waiting, ready): (Vec<_>, Vec<_>) = left.iter().copied().partition(|n| waits(n));
            if ready.is_empty() {
                let circle = waiting.join(", ");
                bail!("{}: depends_on goes in a circle among {circle}", self.file);
            }
            order.extend(ready);
            left = waiting;
        }
        Ok(order)
    }

    fn unit(
        &self,
        name: &str,
        role: &str,
        service: &Service,
        selection: &Selection,
        order: &[&str],
        caller: &Environment,
    ) -> Result<Unit> {
        let role = roles::find(role)?;
        let mounts = self.mounts(service);
        let environment = self.environment(name, service, &mounts, selection, caller);
        let variables = environment.clone().into_iter().collect();
        let (address, beside) = (role.check(&variables)?, (role.beside)(&variables)?);
        let after = service.depends_on.0.iter().filter_map(|(other, dependency)| {
            let position = order.iter().position(|name| name == other)?;
            Some((position, dependency.condition))
        });
        Ok(Unit {
            service: name.to_owned(),
            role,
            environment,
            address,
            beside,
            after: after.collect(),
            restart: service.restart()?,
            stop_grace_period: service.stop_grace_period()?,
            health_service: service.health_service().to_owned(),
            health_interval: service.health_interval()?,
            health_retries: service.health_retries(),
            mounts: mounts.into_iter().map(|(_, path)| path).collect(),
            uses: service.uses.clone(),
        })
    }

    /// Each path inside the container, with the path here.
    fn mounts(&self, service: &Service) -> Vec<(String, MountedPath)> {
        let here = |source| match source {
            Source::Path(path) => {
                let path = self.folder.join(path.trim_start_matches("./"));
                MountedPath::Bind(absolute(&path).unwrap_or(path))
            }
            Source::Named(name) => {
                let path = state_folder_in(&self.home).join("volumes").join(name);
                MountedPath::Volume(absolute(&path).unwrap_or(path))
            }
        };
        service.mounts().into_iter().map(|mount| (mount.target, here(mount.source))).collect()
    }

    /// All that a child process finds in its environment.
    fn environment(
        &self,
        name: &str,
        service: &Service,
        mounts: &[(String, MountedPath)],
        selection: &Selection,
        caller: &Environment,
    ) -> BTreeMap<String, String> {
        let own = |variable: &&str| {
            // The name of the caller's service is not that of its children.
            KEPT.contains(variable)
                || (variable.starts_with("OTEL_") && *variable != "OTEL_SERVICE_NAME")
        };
        let mut environment: BTreeMap<String, String> = caller
            .iter()
            .filter(|(variable, value)| own(variable) && !value.is_empty())
            .map(|(variable, value)| (variable.to_owned(), value.to_owned()))
            .collect();
        let mounts: Vec<_> = mounts
            .iter()
            .map(|(target, path)| match path {
                MountedPath::Bind(path) | MountedPath::Volume(path) => {
                    (target.clone(), path.clone())
                }
            })
            .collect();
        let addresses: BTreeSet<String> = match selection.host {
            // The hosts are machines of their own.
            Some(_) => BTreeSet::new(),
            None => self.services.values().flat_map(Service::addresses).cloned().collect(),
        };
        let services: BTreeSet<String> = self.services.keys().cloned().collect();
        for (variable, value) in &service.environment.0 {
            let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else {
                continue;
            };
            let value = match selection.certs {
                Some(_) => &to_tls(value, &services),
                None => value,
            };
            let value = to_loopback(&to_source(value, &mounts), &addresses, &services);
            environment.insert(variable.clone(), value);
        }
        if let Some(certs) = &selection.certs {
            let folder = certs.join(name).display().to_string();
            environment.insert("CHASSIS_TLS_DIR".to_owned(), folder);
        }
        // The child stops when its standard input closes: it does not outlive its parent.
        environment.insert("CHASSIS_TIED".to_owned(), "on".to_owned());
        environment
    }
}

/// Where a compose file is looked for and found.
struct Home {
    folder: PathBuf,
    /// None when the file is the one inside the binary.
    file: Option<PathBuf>,
}

fn home(file: Option<&Path>) -> Result<Home> {
    let current = std::env::current_dir().context("cannot tell the current folder")?;
    let found = match file {
        Some(file) => Some(current.join(file)),
        None => current.ancestors().map(|folder| folder.join(FILE)).find(|file| file.is_file()),
    };
    let folder = found.as_deref().and_then(Path::parent).unwrap_or(&current).to_owned();
    Ok(Home { folder, file: found })
}

/// Where what runs keeps its state. The compose file need not be well formed.
///
/// # Errors
///
/// The current folder is gone.
pub(crate) fn state_folder(file: Option<&Path>) -> Result<PathBuf> {
    Ok(state_folder_in(&home(file)?.folder))
}

fn state_folder_in(home: &Path) -> PathBuf {
    home.join(STATE_FOLDER)
}

/// Whether a service runs with these profiles.
fn is_active(service: &Service, profiles: &[String]) -> bool {
    service.profiles.is_empty()
        || profiles.iter().any(|profile| profile == "*" || service.profiles.contains(profile))
}

/// The names of a list separated by commas.
fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;

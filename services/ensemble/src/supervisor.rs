//! Runs a plan until it shall stop: one keeper a service, one state file, one voice.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::child::Launch;
use crate::clock::{now_unix_ms, rfc3339, short};
use crate::keeper::{Change, Keeper, Report, Stop};
use crate::output::{LogFile, Screen, ScreenHandle, Sink, Stream};
use crate::paint::{Colour, Palette};
use crate::state::{Folder, Lock, Phase, ServiceState, State};
use crate::topology::{Plan, Unit};

/// What the supervisor calls itself beside its services.
pub(crate) const OWN_NAME: &str = "ensemble";
/// After so long without health, the user is told who is missing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many reports of services may wait.
const REPORTS_LIMIT: usize = 64;

/// What to run, and how to tell about it.
pub(crate) struct Supervisor {
    pub(crate) plan: Plan,
    pub(crate) host: Option<u32>,
    pub(crate) folder: Folder,
    /// Held until the last child is gone.
    pub(crate) lock: Lock,
    pub(crate) launch: Launch,
    pub(crate) client_certs: Option<PathBuf>,
    pub(crate) palette: Palette,
    /// Nobody watches the screen: the logs go to their files alone.
    pub(crate) background: bool,
    /// When the command was typed.
    pub(crate) started: Instant,
    /// What to show when all are healthy for the first time.
    pub(crate) welcome: fn(&State, Duration, &Path, Palette) -> String,
}

impl Supervisor {
    /// Runs until Ctrl-C, SIGTERM, or the end of every service.
    ///
    /// # Errors
    ///
    /// The state or a log cannot be written, or every service has ended and one has failed.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let mut signals = Signals::install()?;
        let screen = (!self.background).then(Screen::start);
        let handle = || screen.as_ref().map(Screen::handle);
        let width = self.plan.units.iter().map(|unit| unit.service.len()).max().unwrap_or(0);
        let width = width.max(OWN_NAME.len());
        let sink = |name: &str, colour| -> Result<Arc<Sink>> {
            let log = LogFile::open(self.folder.log(name))?;
            Ok(Arc::new(Sink::new(log, handle(), name, width, colour, self.palette)))
        };
        let own_sink = sink(OWN_NAME, Colour::Grey)?;
        let mut sinks = Vec::with_capacity(self.plan.units.len());
        for (position, unit) in self.plan.units.iter().enumerate() {
            sinks.push(sink(&unit.service, Colour::of_service(position))?);
        }
        let (stop, asked) = watch::channel(Stop::No);
        let (reporter, mut reports) = mpsc::channel(REPORTS_LIMIT);
        let mut board = Board::new(&self, own_sink, handle());
        board.write()?;
        for service in &self.plan.skipped {
            board.say("WARN", format!("{service} is no role of ours: only Docker runs it"));
        }
        let mut keepers = JoinSet::new();
        for (position, (unit, sink)) in self.plan.units.into_iter().zip(sinks).enumerate() {
            let keeper = Keeper {
                position,
                unit,
                sink,
                launch: self.launch.clone(),
                client_certs: self.client_certs.clone(),
                stop: asked.clone(),
                reports: reporter.clone(),
                phases: board.phases.iter().map(watch::Sender::subscribe).collect(),
            };
            keepers.spawn(keeper.keep());
        }
        drop(reporter);
        board.watch(&mut reports, &mut signals, &stop).await;
        while let Some(kept) = keepers.join_next().await {
            kept.context("a keeper failed")?;
        }
        let end = board.end();
        drop(board);
        drop(self.lock);
        if let Some(screen) = screen {
            screen.finish();
        }
        end
    }
}

/// The signals that stop everything.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> Result<Self> {
        let install = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
            hangup: install(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
            _ = self.hangup.recv() => (),
        }
    }
}

/// What is known of the services, and who is told.
struct Board {
    folder: Folder,
    state: State,
    /// The phase of every service, for those that wait for it.
    phases: Vec<watch::Sender<Phase>>,
    sink: Arc<Sink>,
    screen: Option<ScreenHandle>,
    palette: Palette,
    started: Instant,
    welcome: fn(&State, Duration, &Path, Palette) -> String,
    /// All have been healthy once.
    welcomed: bool,
    /// All shall stop.
    stopping: Stop,
}

impl Board {
    fn new(supervisor: &Supervisor, sink: Arc<Sink>, screen: Option<ScreenHandle>) -> Self {
        let services = |unit: &Unit| ServiceState {
            service: unit.service.clone(),
            role: unit.role.name.to_owned(),
            id: unit.id().map(str::to_owned),
            address: unit.address,
            pid: None,
            started_unix_ms: None,
            restarts: 0,
            state: Phase::Waiting,
        };
        let plan = &supervisor.plan;
        Self {
            folder: supervisor.folder.clone(),
            state: State {
                pid: std::process::id(),
                started_unix_ms: now_unix_ms(),
                profiles: plan.profiles.clone(),
                host: supervisor.host,
                client_certs: supervisor.client_certs.clone(),
                services: plan.units.iter().map(services).collect(),
            },
            phases: plan.units.iter().map(|_| watch::Sender::new(Phase::Waiting)).collect(),
            sink,
            screen,
            palette: supervisor.palette,
            started: supervisor.started,
            welcome: supervisor.welcome,
            welcomed: false,
            stopping: Stop::No,
        }
    }

    /// Listens to keepers and signals until the last keeper has ended.
    async fn watch(
        &mut self,
        reports: &mut mpsc::Receiver<Report>,
        signals: &mut Signals,
        stop: &watch::Sender<Stop>,
    ) {
        let patience = tokio::time::sleep_until(self.started + PATIENCE);
        tokio::pin!(patience);
        let mut patient = true;
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(report) => self.take(report),
                    None => return,
                },
                () = signals.next() => {
                    self.stop();
                    stop.send_replace(self.stopping);
                }
                () = &mut patience, if patient => {
                    patient = false;
                    self.tell_who_is_missing();
                }
            }
        }
    }

    /// Somebody wants us to stop; the second time at once.
    fn stop(&mut self) {
        if self.stopping == Stop::No {
            self.stopping = Stop::Gently;
            self.say("INFO", "stopping all services; once more kills them".to_owned());
        } else {
            self.stopping = Stop::AtOnce;
            self.say("WARN", "killing all services".to_owned());
        }
    }

    /// Takes in what a keeper reports.
    fn take(&mut self, Report { position, change }: Report) {
        let welcomed = self.welcomed;
        let Some(service) = self.state.services.get_mut(position) else {
            return;
        };
        let name = service.service.clone();
        let notice = match change {
            Change::Started { pid } => {
                service.state = Phase::Starting;
                service.pid = Some(pid);
                service.started_unix_ms = Some(now_unix_ms());
                None
            }
            Change::Healthy => {
                let again = welcomed || service.restarts > 0;
                service.state = Phase::Healthy;
                again.then(|| ("INFO", format!("{name} is healthy again")))
            }
            Change::Unhealthy { reason } => {
                service.state = Phase::Unhealthy;
                Some(("WARN", format!("{name} is not healthy: {reason}")))
            }
            Change::Ended { how, well, again_in } => {
                (service.pid, service.started_unix_ms) = (None, None);
                match again_in {
                    Some(pause) => {
                        service.state = Phase::Restarting;
                        service.restarts += 1;
                        let pause = short(pause);
                        Some(("WARN", format!("{name} {how}; it starts again in {pause}")))
                    }
                    None => {
                        service.state = if well { Phase::Finished } else { Phase::Failed };
                        let level = if well { "INFO" } else { "ERROR" };
                        Some((level, format!("{name} {how}; its policy lets it rest")))
                    }
                }
            }
            Change::Stopped { killed } => {
                (service.pid, service.started_unix_ms) = (None, None);
                service.state = Phase::Stopped;
                killed.then(|| ("WARN", format!("{name} did not stop and was killed")))
            }
        };
        if let Some(phase) = self.phases.get(position) {
            phase.send_replace(service.state);
        }
        if let Some((level, message)) = notice {
            self.say(level, message);
        }
        if let Err(error) = self.write() {
            self.say("ERROR", format!("{error:#}"));
        }
        self.welcome_when_healthy();
    }

    fn welcome_when_healthy(&mut self) {
        if self.welcomed || !self.state.all_healthy() {
            return;
        }
        self.welcomed = true;
        let took = self.started.elapsed();
        self.say("INFO", format!("all services are healthy after {}", short(took)));
        if let Some(screen) = &self.screen {
            screen.show((self.welcome)(&self.state, took, &self.folder.logs(), self.palette));
        }
    }

    fn tell_who_is_missing(&self) {
        let missing = self.state.services.iter().filter(|service| service.state != Phase::Healthy);
        let list: Vec<_> = missing
            .map(|service| format!("{} ({})", service.service, service.state.name()))
            .collect();
        if !self.welcomed && self.stopping == Stop::No {
            let (waited, list) = (short(PATIENCE), list.join(", "));
            self.say("WARN", format!("not healthy after {waited}: {list}"));
        }
    }

    /// Says something of our own, in the form of the services' logs.
    fn say(&self, level: &str, message: String) {
        let event = json!({
            "timestamp": rfc3339(now_unix_ms()),
            "level": level,
            "service": OWN_NAME,
            "message": message,
        });
        self.sink.line(Stream::Stdout, &event.to_string());
    }

    fn write(&self) -> Result<()> {
        self.folder.write(&self.state)
    }

    /// The last keeper has ended.
    fn end(&self) -> Result<ExitCode> {
        self.folder.forget();
        if self.stopping != Stop::No {
            self.say("INFO", "all services have stopped".to_owned());
            return Ok(ExitCode::SUCCESS);
        }
        let failed = self.state.services.iter().filter(|service| service.state == Phase::Failed);
        let failed: Vec<_> = failed.map(|service| service.service.as_str()).collect();
        if failed.is_empty() {
            self.say("INFO", "all services have finished".to_owned());
            return Ok(ExitCode::SUCCESS);
        }
        bail!("every service has ended, and not well: {}", failed.join(", "))
    }
}

//! A browser without a screen, driven as `WebDriver` has it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::http::speak;
use crate::process::{LOOK_INTERVAL, Process, START_DEADLINE};

/// Longer than anything here takes, but for what is waited for in the page itself.
const PATIENCE: Duration = Duration::from_secs(30);
const FOLDER: &str = "/usr/bin";

/// A browser and its driver: all of their processes end with it.
#[derive(Debug)]
pub(super) struct Browser {
    driver: Process,
    address: SocketAddr,
    session: String,
    /// What the browser keeps; gone with it.
    _profile: tempfile::TempDir,
}

/// A browser and its driver, if both are installed.
pub(super) fn installed() -> Option<[PathBuf; 2]> {
    let both = ["chromium", "chromedriver"].map(|name| Path::new(FOLDER).join(name));
    both.iter().all(|path| path.is_file()).then_some(both)
}

impl Browser {
    pub(super) async fn start(
        [browser, driver]: [PathBuf; 2],
        address: SocketAddr,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir().context("making a folder")?;
        let mut command = Command::new(driver);
        command.arg(format!("--port={}", address.port())).process_group(0);
        let driver = Process::start("console-browser", command, logs)?;
        let session = String::new();
        let mut it = Self { driver, address, session, _profile: profile };
        while TcpStream::connect(address).await.is_err() {
            it.driver.expect_up_within(START_DEADLINE)?;
            tokio::time::sleep(LOOK_INTERVAL * 10).await;
        }
        let profile = format!("--user-data-dir={}", it._profile.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1400,1000",
            &profile,
        ];
        let options = json!({ "binary": browser, "args": arguments });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let made = speak(address, "POST", "/session", &wanted, PATIENCE).await?;
        let session = made["value"]["sessionId"].as_str().context("a session without a name")?;
        session.clone_into(&mut it.session);
        let deadlines = json!({ "script": 600_000, "pageLoad": 30_000 });
        it.tell("timeouts", &deadlines, PATIENCE).await?;
        Ok(it)
    }

    async fn tell(&self, what: &str, body: &Value, patience: Duration) -> anyhow::Result<Value> {
        let path = format!("/session/{}/{what}", self.session);
        let mut answer = speak(self.address, "POST", &path, body, patience).await?;
        Ok(answer["value"].take())
    }

    /// Opens a page.
    pub(super) async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.tell("url", &json!({ "url": url }), PATIENCE).await.map(drop)
    }

    /// What a script says, which is given a function to say it with.
    pub(super) async fn ask(&self, script: &str, patience: Duration) -> anyhow::Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.tell("execute/async", &body, PATIENCE + patience).await
    }

    /// What the browser counts of the page that is open, by this name.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<Option<f64>> {
        self.command("Performance.enable").await?;
        let counted = self.command("Performance.getMetrics").await?;
        let metrics = counted["metrics"].as_array().context("no metrics")?;
        Ok(metrics.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_f64()))
    }

    /// So that only what is in use counts.
    pub(super) async fn collect_garbage(&self) -> anyhow::Result<()> {
        self.command("HeapProfiler.collectGarbage").await.map(drop)
    }

    async fn command(&self, name: &str) -> anyhow::Result<Value> {
        let body = json!({ "cmd": name, "params": {} });
        self.tell("goog/cdp/execute", &body, PATIENCE).await
    }

    /// Closes the browser.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let path = format!("/session/{}", self.session);
        speak(self.address, "DELETE", &path, &Value::Null, PATIENCE).await.map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.driver.pid()).ok().and_then(Pid::from_raw) {
            // Who has closed is not there any more.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

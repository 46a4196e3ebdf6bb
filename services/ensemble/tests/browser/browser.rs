//! A headless Chromium of its own for one test, driven by WebDriver: JSON over HTTP.
//!
//! No client crate: fantoccini brings Mozilla's `webdriver` (MPL-2.0, which no image of ours may
//! hold), thirtyfour brings reqwest or wants an HTTP client written for it; the dozen commands that
//! are used here are shorter than either.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Once;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wire;

/// How long a script may take that waits for something, in milliseconds.
const SCRIPT_MS: u64 = 120_000;
/// What is to be done where no browser is.
const REMEDY: &str = "install Debian's `chromium` and `chromium-driver`, or put `chromedriver` and \
                      its Chromium into PATH";

/// The browser, which ends with the test.
pub(crate) struct Browser {
    driver: Child,
    /// Kept open: the driver may write to it.
    _said: BufReader<ChildStdout>,
    address: String,
    session: String,
    /// Its profile, and what it downloads.
    folder: TempDir,
}

/// Why a command was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The name that the standard gives it.
    pub(crate) error: String,
    message: String,
}

impl Browser {
    /// Starts one; nothing where there is none, unless `ENSEMBLE_BROWSER=required`.
    pub(crate) fn start() -> Option<Self> {
        let why = match Self::try_start() {
            Ok(browser) => return Some(browser),
            Err(why) => why,
        };
        #[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of a role")]
        let required = std::env::var("ENSEMBLE_BROWSER").is_ok_and(|value| value == "required");
        assert!(!required, "no browser starts: {why}; {REMEDY}");
        static TOLD: Once = Once::new();
        // Not by `eprintln`, which is not shown of a test that passes.
        TOLD.call_once(|| {
            let _ = writeln!(io::stderr(), "the page is not tested: {why}; {REMEDY}");
        });
        None
    }

    fn try_start() -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Its Chromium is of the same group, and would outlive it.
        command.process_group(0);
        let mut driver =
            command.spawn().map_err(|error| format!("chromedriver does not start: {error}"))?;
        let mut said = BufReader::new(driver.stdout.take().expect("piped"));
        let port = port(&mut said);
        let address = format!("127.0.0.1:{}", port.as_deref().unwrap_or_default());
        // From here on it ends when this does.
        let mut browser = Self { driver, _said: said, address, session: String::new(), folder };
        port.ok_or("chromedriver says no port")?;
        let session = browser.command("POST", "", Some(&browser.capabilities()));
        let session = session.map_err(|refusal| refusal.message)?;
        let id = session["sessionId"].as_str().ok_or("chromedriver names no session")?;
        browser.session = format!("/{id}");
        Ok(browser)
    }

    fn capabilities(&self) -> Value {
        let profile = self.folder.path().join("profile");
        let profile = format!("--user-data-dir={}", profile.display());
        json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": SCRIPT_MS },
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu",
                    "--disable-dev-shm-usage", "--window-size=1400,900", profile],
                "prefs": { "download.default_directory": self.folder.path() },
            },
        } } })
    }

    /// Where it puts what it downloads.
    pub(crate) fn downloads(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn command(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        let path = format!("/session{}{path}", self.session);
        let body = body.map(Value::to_string);
        let (status, answer) =
            wire::ask(&self.address, method, &path, body.as_deref()).expect("chromedriver answers");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let value = &answer["value"];
        if status == 200 {
            return Ok(value.clone());
        }
        let of = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Err(Refusal { error: of("error"), message: of("message") })
    }

    /// A command with a body that must succeed.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.command("POST", path, Some(body))
            .unwrap_or_else(|refusal| panic!("{path} {body}: {refusal:?}"))
    }

    /// The same, when it may be refused.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.command("POST", path, Some(body))
    }

    /// Opens an address.
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page; what it returns.
    pub(crate) fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// The same for one that calls its last argument when it has ended.
    pub(crate) fn run_later(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": arguments }))
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// What went wrong in the page since this was asked last.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("a list");
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().expect("text").to_owned()).collect()
    }
}

/// The port that the driver says it listens on.
fn port(said: &mut BufReader<ChildStdout>) -> Option<String> {
    let line =
        said.lines().map_while(Result::ok).find(|line| line.contains("successfully on port "))?;
    let (_, rest) = line.rsplit_once("on port ")?;
    Some(rest.trim_end_matches('.').to_owned())
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium writes to its profile until it has ended by itself.
        if !self.session.is_empty() {
            let path = format!("/session{}", self.session);
            let _ = wire::ask(&self.address, "DELETE", &path, None);
        }
        let group = Pid::from_child(&self.driver);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.driver.wait();
    }
}

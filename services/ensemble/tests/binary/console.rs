//! The console before a real topology: what browsers are told, and what they can have done.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::site::{SERVICES, Site, eventually, send};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many may look at once.
const VIEWERS: usize = 2_048;

/// A console that runs.
pub(crate) struct Console {
    address: String,
    /// How a browser that has no certificate speaks TLS with it.
    tls: Option<Arc<ClientConfig>>,
}

/// A connection of either kind.
trait Connection: Read + Write {}

impl<C: Read + Write> Connection for C {}

impl Console {
    /// That of a site that is up.
    pub(crate) fn of(site: &Site) -> Self {
        Self { address: format!("127.0.0.1:{}", site.console[0]), tls: None }
    }

    fn connect(&self) -> Box<dyn Connection> {
        let stream = TcpStream::connect(&self.address).expect("it serves");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let Some(config) = &self.tls else { return Box::new(stream) };
        let name = "127.0.0.1".try_into().expect("an address");
        let session = ClientConnection::new(config.clone(), name).expect("well formed");
        Box::new(StreamOwned::new(session, stream))
    }

    /// Asks for something; the status, the headers and the body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = self.send(method, path, headers, body);
        let mut text = String::new();
        // Whoever closes a connection need not say so by TLS too.
        let read = stream.read_to_string(&mut text);
        assert!(read.is_ok() || !text.is_empty(), "{read:?}");
        let (head, body) = text.split_once("\r\n\r\n").expect("headers and a body");
        let status = head[9..12].parse().expect("a status");
        (status, head.to_lowercase(), body.to_owned())
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Box<dyn Connection> {
        let mut stream = self.connect();
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        )
        .expect("sent");
        stream
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, body)
    }

    /// Has something done; the status and what is answered.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = "content-type: application/json\r\n";
        let (status, _, answer) = self.ask("POST", path, headers, &body.to_string());
        (status, serde_json::from_str(&answer).expect("JSON"))
    }

    /// Reads the stream of what is seen until something of it is so.
    fn until(&self, so: impl Fn(&str, &Value) -> bool) -> Value {
        let mut lines = BufReader::new(self.send("GET", "/events", "", "")).lines();
        let mut kind = String::new();
        loop {
            let line = lines.next().expect("it goes on").expect("in time");
            if let Some(event) = line.strip_prefix("event: ") {
                event.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                let seen: Value = serde_json::from_str(data).expect("JSON");
                if so(&kind, &seen) {
                    return seen;
                }
            }
        }
    }

    /// Waits until every process is seen to serve.
    fn sees_all(&self) {
        eventually("all are seen", || {
            let snapshot = self.until(|kind, _| kind == "snapshot");
            let nodes = snapshot["nodes"].as_array()?;
            let serves = |node: &&Value| node["health"] == "serving" && node["view"].is_object();
            (nodes.iter().filter(serves).count() == SERVICES.len()).then_some(())
        });
    }
}

#[test]
fn a_running_overlay_is_seen_used_and_broken_on_the_page() {
    let mut site = Site::new();
    site.variables.push(("CHASSIS_FAULTS".into(), "on".into()));
    site.up(&[]);
    let console = Console::of(&site);
    console.sees_all();
    let (status, page) = console.get("/");
    assert!(status == 200 && page.contains("<script type=\"module\" src=\""), "{page}");
    let forward = json!({ "payload": "hello" });
    let (status, answer) = console.post("/act/overlay/forward", &forward);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["answer"]["complete"], true, "{answer}");
    // Every page sees what one of them has done, and whoever comes later can look back.
    let history = eventually("it is history", || {
        let (status, history) = console.get("/history?from=0");
        (status == 200 && history.contains("forward hello")).then_some(history)
    });
    let history: Value = serde_json::from_str(&history).expect("JSON");
    assert!(history["frames"].as_array().is_some_and(|frames| !frames.is_empty()), "{history}");
    let cut = json!({ "node": "overlay/A", "fault": "cut", "peers": ["B"] });
    assert_eq!(console.post("/break", &cut), (200, json!({ "ok": true })));
    let is_cut = |node: &Value| {
        let neighbours = node["view"]["neighbours"].as_array();
        let lost = neighbours.is_some_and(|all| all.contains(&json!(["B", false])));
        node["key"] == "overlay/A" && lost && node["faults"]["cut"][0]["peers"] == json!(["B"])
    };
    console.until(|_, seen| seen["nodes"].as_array().is_some_and(|all| all.iter().any(is_cut)));
    // What it tells its log can be read, and what its links carry is seen.
    let log = eventually("it is in the log", || {
        let (status, log) = console.get("/logs?node=overlay/A&level=info");
        (status == 200 && log.contains("lost B")).then_some(log)
    });
    let log: Value = serde_json::from_str(&log).expect("JSON");
    let last = log["last"].as_u64().expect("a number");
    let line = &log["lines"][0];
    assert!(line["number"].as_u64() <= Some(last) && line["at"].is_u64(), "{line}");
    let (_, graver) = console.get("/logs?node=overlay/A&level=error");
    assert!(!graver.contains("lost B"), "{graver}");
    let (_, later) = console.get(&format!("/logs?node=overlay/A&after={last}"));
    assert!(!later.contains("lost B"), "{later}");
    let speaks = |node: &Value| {
        node["key"] == "overlay/B" && node["traffic"]["C"].as_u64().is_some_and(|rate| rate > 0)
    };
    console.until(|_, seen| seen["nodes"].as_array().is_some_and(|all| all.iter().any(speaks)));
    let heal = json!({ "node": "overlay/A", "fault": "heal" });
    assert_eq!(console.post("/break", &heal), (200, json!({ "ok": true })));
    let crash = json!({ "node": "overlay/F", "fault": "crash" });
    assert_eq!(console.post("/break", &crash), (200, json!({ "ok": true })));
    console.until(|_, seen| {
        let gone = |node: &Value| node["key"] == "overlay/F" && node["health"] == "unreachable";
        seen["nodes"].as_array().is_some_and(|all| all.iter().any(gone))
    });
    // It is started again, and found again.
    console.sees_all();
    // Whoever looks at it does not keep it from ending well.
    let _looking = console.send("GET", "/events", "", "");
    send(site.pids()["console"], Signal::TERM);
    eventually("it ends, and is started again", || {
        let logs = site.succeed(&["logs", "ensemble"]);
        logs.contains("console exited with 0").then_some(())
    });
}

#[test]
fn a_console_refuses_what_is_wrong_and_who_may_not() {
    let mut site = Site::new();
    let token = "a secret of the test";
    site.variables.push(("CONSOLE_TOKEN".into(), token.into()));
    site.up(&[]);
    let console = Console::of(&site);
    let json_body = "content-type: application/json\r\n";
    assert_eq!(console.get("/").0, 200, "the page itself is no secret");
    for path in ["/events", "/history", "/logs?node=overlay/A", "/traces", "/traces.otlp"] {
        assert_eq!(console.get(path).0, 401, "{path}");
    }
    let wrong = json!({ "token": "another" });
    assert_eq!(console.post("/login", &wrong).0, 401);
    let right = json!({ "token": token }).to_string();
    let (status, head, _) = console.ask("POST", "/login", json_body, &right);
    assert_eq!(status, 200, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.expect("a cookie");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    let value = cookie.split(';').next().expect("its value");
    let with = format!("{json_body}cookie: {value}\r\n");
    let ask = |path: &str, headers: &str, body: &str| {
        let (status, _, answer) = console.ask("POST", path, &format!("{with}{headers}"), body);
        (status, answer)
    };
    // A process is seen before it is spoken of.
    eventually("A is seen", || {
        let (status, _, history) = console.ask("GET", "/history", &with, "");
        (status == 200 && history.contains("overlay/A")).then_some(())
    });
    let break_a = json!({ "node": "overlay/A", "fault": "crash" }).to_string();
    let (status, answer) = ask("/break", "sec-fetch-site: cross-site\r\n", &break_a);
    assert!(status == 403 && answer.contains("another site"), "{status} {answer}");
    let (status, answer) = ask("/break", "", &break_a);
    assert!(status == 502 && answer.contains("CHASSIS_FAULTS=on"), "{status} {answer}");
    for (path, body, expected, words) in [
        ("/break", r#"{"node":"overlay/Z","fault":"heal"}"#, 404, "there is no overlay/Z"),
        ("/break", r#"{"node":"overlay/A","fault":"tickle"}"#, 400, "tickle"),
        ("/break", "{", 400, "makes no sense"),
        ("/act/overlay/forward", r#"{"payload":"x","at":"Z"}"#, 502, "no such process"),
        ("/act/overlay/forward", r#"{"payload":7}"#, 400, "makes no sense"),
        ("/act/raft/put", r#"{"key":"k","value":"v"}"#, 502, "ensemble up"),
    ] {
        let (status, answer) = ask(path, "", body);
        assert!(status == expected && answer.contains(words), "{path} {body}: {status} {answer}");
    }
    let (status, _, answer) = console.ask("GET", "/traces?least_ms=soon", &with, "");
    assert!(status == 400 && answer.contains("give milliseconds"), "{status} {answer}");
    let (status, _, answer) = console.ask("GET", "/traces/zz", &with, "");
    assert_eq!(status, 400, "{answer}");
    for (path, expected, words) in [
        ("/logs?node=overlay/Z", 404, "there is no overlay/Z"),
        ("/logs?node=overlay/A&level=shrill", 400, "level=shrill"),
        ("/logs?node=overlay/A&after=soon", 400, "after"),
        ("/logs", 400, "node"),
    ] {
        let (status, _, answer) = console.ask("GET", path, &with, "");
        assert!(status == expected && answer.contains(words), "{path}: {status} {answer}");
    }
    let plain = console.ask("POST", "/break", &format!("cookie: {value}\r\n"), &break_a);
    assert_eq!(plain.0, 415, "a form of another site cannot say that it is JSON");
}

#[test]
fn who_has_not_shown_the_token_is_not_heard_for_long() {
    let mut site = Site::new();
    site.variables.push(("CONSOLE_TOKEN".into(), "a secret of the test".into()));
    site.up(&[]);
    let console = Console::of(&site);
    let json_body = "content-type: application/json\r\n";
    for (length, expected) in [(1 << 10, 401), (5 << 10, 413)] {
        let login = json!({ "token": "x".repeat(length) }).to_string();
        let (status, _, answer) = console.ask("POST", "/login", json_body, &login);
        assert_eq!(status, expected, "{answer}");
    }
}

#[test]
fn what_another_site_has_a_browser_send_is_no_call() {
    let mut site = Site::new();
    site.variables.push(("CHASSIS_FAULTS".into(), "on".into()));
    site.up(&[]);
    let methods = [
        (site.ports[0], "/ensemble.faults.v1.FaultService/Crash"),
        (site.console[0], "/grpc.health.v1.Health/Check"),
        (site.console[1], "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ];
    // Any site may send the one; the other, one whose name leads here by deceit.
    for kind in ["text/plain", "application/grpc"] {
        for (port, method) in methods {
            let console = Console { address: format!("127.0.0.1:{port}"), tls: None };
            let headers = format!("content-type: {kind}\r\norigin: http://evil.example\r\n");
            let (status, _, answer) = console.ask("POST", method, &headers, "\0\0\0\0\0");
            assert!(status == 415 && answer.contains("HTTP/2"), "{method}: {status} {answer}");
        }
    }
    site.succeed(&["health", "overlay-a"]);
}

#[test]
fn who_is_alive_and_of_no_use_does_not_look_well() {
    let mut site = Site::new();
    site.up(&["raft"]);
    let console = Console::of(&site);
    let shown = |nodes: &[u32], health: &str| {
        eventually("they are shown as they are", || {
            let snapshot = console.until(|kind, _| kind == "snapshot");
            let all = snapshot["nodes"].as_array()?;
            let is = |id: &u32| {
                let key = format!("raft/{id}");
                all.iter().any(|node| node["key"] == key && node["health"] == health)
            };
            nodes.iter().all(is).then_some(())
        });
    };
    shown(&[1, 2, 3, 4, 5], "serving");
    let pids = site.pids();
    let majority = [1, 2, 3].map(|id| pids[&format!("raft-{id}")]);
    majority.iter().for_each(|pid| send(*pid, Signal::STOP));
    shown(&[4, 5], "not_serving");
    majority.iter().for_each(|pid| send(*pid, Signal::CONT));
    shown(&[1, 2, 3, 4, 5], "serving");
}

#[test]
fn one_viewer_too_many_is_refused_until_another_leaves() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the highest");
    // They outlive the console: who closes a connection first keeps its port for a minute.
    let mut viewers = Vec::new();
    let mut site = Site::new();
    site.up(&[]);
    let console = Console::of(&site);
    let look = || {
        let mut stream = console.send("GET", "/events", "", "");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        (stream, String::from_utf8_lossy(&head[9..]).into_owned())
    };
    for _ in 0..VIEWERS {
        let (stream, status) = look();
        assert_eq!(status, "200", "viewer {}", viewers.len());
        viewers.push(stream);
    }
    let (status, body) = console.get("/events");
    assert!(status == 503 && body.contains("2048 viewers already: close a page"), "{body}");
    assert_eq!(console.get("/").0, 200, "the page itself is there");
    viewers.pop();
    eventually("there is room again", || (look().1 == "200").then_some(()));
}

/// How a browser speaks that trusts the authority of a site, and has no certificate.
fn browser(site: &Site) -> Arc<ClientConfig> {
    let pem = fs::read(site.path().join("certs/ca.crt")).expect("made");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into());
    let config = config.with_safe_default_protocol_versions().expect("known");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn with_certificates_browsers_need_none_and_are_shown_the_page_alone() {
    let mut site = Site::new();
    site.succeed(&["certs"]);
    site.up(&["--tls"]);
    let screen = fs::read_to_string(site.screen()).expect("a screen");
    let told = format!("Console: https://127.0.0.1:{}/", site.console[0]);
    assert!(screen.contains(&told), "{screen}");
    let tls = Some(browser(&site));
    let console = Console { tls: tls.clone(), ..Console::of(&site) };
    console.sees_all();
    let forward = json!({ "payload": "hello" });
    let (status, answer) = console.post("/act/overlay/forward", &forward);
    assert_eq!((status, &answer["answer"]["complete"]), (200, &json!(true)), "{answer}");
    // What is not the page is for those who show a certificate.
    for path in ["/metrics", "/grpc.health.v1.Health/Check"] {
        assert_eq!(console.get(path).0, 404, "{path}");
    }
    site.succeed(&["health", "console"]);
    // Spans are taken from nobody else.
    let traces = Console { address: format!("127.0.0.1:{}", site.console[1]), tls };
    let mut stranger = traces.connect();
    let asked = stranger.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
    let refused = asked.and_then(|()| stranger.read(&mut [0]));
    assert!(refused.is_err(), "a stranger is heard: {refused:?}");
}

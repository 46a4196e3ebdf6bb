//! The console before a real topology: what browsers are told, and what they can have done.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::site::{SERVICES, Site, eventually, free_ports, send};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A console, which ends with the test.
struct Console {
    child: Child,
    address: String,
}

impl Console {
    /// One that watches everything of a site's overlay.
    fn of(site: &Site, variables: &[(&str, &str)]) -> Self {
        let ports = free_ports(2);
        let [address, traces] = [0, 1].map(|at| format!("127.0.0.1:{}", ports[at]));
        let places = SERVICES.iter().zip(&site.ports);
        let places = places.map(|(service, port)| format!("{service}=127.0.0.1:{port}"));
        let mut command = site.command(&["role", "console"]);
        command.env("CONSOLE_ADDRESS", &address).env("CONSOLE_TRACES", traces);
        command.env("CONSOLE_NODES", places.collect::<Vec<_>>().join(","));
        command.envs(variables.iter().copied());
        let child = command.stdout(Stdio::null()).spawn().expect("started");
        let console = Self { child, address };
        eventually("it serves", || TcpStream::connect(&console.address).ok());
        console
    }

    /// Asks for something; the status, the headers and the body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = self.send(method, path, headers, body);
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("headers and a body");
        let status = head[9..12].parse().expect("a status");
        (status, head.to_lowercase(), body.to_owned())
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it serves");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        )
        .expect("sent");
        stream
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, body)
    }

    /// Has something done; the status and what is answered.
    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
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

impl Drop for Console {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_overlay_is_seen_used_and_broken_on_the_page() {
    let mut site = Site::new();
    site.variables.push(("CHASSIS_FAULTS".into(), "on".into()));
    site.up(&[]);
    let mut console = Console::of(&site, &[]);
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
    send(console.child.id(), Signal::TERM);
    let ended = eventually("it ends", || console.child.try_wait().expect("a child of ours"));
    assert!(ended.success(), "{ended}");
}

#[test]
fn a_console_refuses_what_is_wrong_and_who_may_not() {
    let mut site = Site::new();
    site.up(&[]);
    let token = "a secret of the test";
    let console = Console::of(&site, &[("CONSOLE_TOKEN", token)]);
    let json_body = "content-type: application/json\r\n";
    assert_eq!(console.get("/").0, 200, "the page itself is no secret");
    for path in ["/events", "/history", "/traces", "/traces.otlp"] {
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
    let plain = console.ask("POST", "/break", &format!("cookie: {value}\r\n"), &break_a);
    assert_eq!(plain.0, 415, "a form of another site cannot say that it is JSON");
}

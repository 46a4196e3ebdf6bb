//! `ensemble raft`: what a user of the store sees, against nodes without a protocol.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::site::{Site, eventually, send};

#[path = "../../../raft/tests/client/fake/mod.rs"]
#[allow(dead_code, reason = "the client's own tests use the rest")]
mod fake;

use fake::Fake;

/// Some nodes, and a folder to ask them from.
struct Store {
    fake: Fake,
    site: Site,
    runtime: Runtime,
}

impl Store {
    fn start(nodes: u64) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let fake = runtime.block_on(Fake::start(nodes));
        Self { fake, site: Site::new(), runtime }
    }

    /// The arguments of `ensemble raft` that say where the nodes are.
    fn arguments<'a>(&self, endpoints: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["raft", "--endpoints", endpoints][..], arguments].concat()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let endpoints = self.fake.addresses().join(",");
        self.site.run(&self.arguments(&endpoints, arguments))
    }

    /// What a command prints that must succeed.
    fn succeed(&self, arguments: &[&str]) -> String {
        let endpoints = self.fake.addresses().join(",");
        self.site.succeed(&self.arguments(&endpoints, arguments))
    }

    /// The lines of JSON that a command prints that must succeed.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.succeed(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What a command says that must fail with this code.
    fn fail(&self, arguments: &[&str], code: i32) -> String {
        let endpoints = self.fake.addresses().join(",");
        self.site.fail(&self.arguments(&endpoints, arguments), code)
    }

    /// Runs a command that reads this.
    fn feed(&self, arguments: &[&str], input: &[u8]) -> Output {
        self.site.write("input", "");
        let path = self.site.path().join("input");
        File::create(&path).and_then(|mut file| file.write_all(input)).expect("written");
        let endpoints = self.fake.addresses().join(",");
        let mut command = self.site.command(&self.arguments(&endpoints, arguments));
        command.stdin(File::open(path).expect("a file")).output().expect("started")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_key_is_set_shown_and_deleted() {
    let store = Store::start(3);
    let put = store.succeed(&["put", "greeting", "hello"]);
    assert!(put.starts_with("greeting is set at version "), "{put}");
    assert!(put.ends_with("(there was none before)\n"), "{put}");
    assert_eq!(store.succeed(&["get", "greeting", "--print-value"]), "hello");
    let table = store.succeed(&["get", "greeting", "--stale"]);
    assert!(table.starts_with("KEY       VERSION  CREATED  LEASE  VALUE\n"), "{table}");
    assert!(table.lines().nth(1).is_some_and(|row| row.ends_with("-      hello")), "{table}");
    let item = &store.json(&["get", "greeting"])[0];
    assert_eq!((&item["key"], &item["value"]), (&json!("greeting"), &json!("hello")));
    let version = &item["version"];
    let written = &store.json(&["put", "greeting", "-x"])[0];
    assert_eq!((&written["done"], &written["previous"]), (&json!(true), version));
    assert!(store.succeed(&["delete", "greeting"]).contains("greeting is deleted at version "));
    let error = store.fail(&["get", "greeting"], 1);
    assert_eq!(error, "ensemble: greeting: there is no such key\n");
    assert_eq!(text(&store.run(&["get", "greeting", "--json"]).stdout), "null\n");
}

#[test]
fn conditions_that_do_not_hold_exit_with_3() {
    let store = Store::start(3);
    store.succeed(&["put", "k", "1", "--if-absent"]);
    let version = store.json(&["get", "k"])[0]["version"].to_string();
    let error = store.fail(&["put", "k", "2", "--if-absent"], 3);
    let expected =
        format!("ensemble: k: the condition does not hold: it has 1 at version {version}\n");
    assert_eq!(error, expected);
    store.succeed(&["put", "k", "2", "--if-version", &version]);
    store.fail(&["put", "k", "3", "--if-version", &version], 3);
    store.succeed(&["put", "k", "3", "--if-value", "2"]);
    store.fail(&["delete", "k", "--if-value", "2"], 3);
    store.succeed(&["cas", "k", "3", "4"]);
    let unmet = store.run(&["cas", "k", "3", "5", "--json"]);
    assert_eq!(unmet.status.code(), Some(3));
    let answer: Value = serde_json::from_slice(&unmet.stdout).expect("JSON");
    assert_eq!((&answer["done"], &answer["current"]["value"]), (&json!(false), &json!("4")));
    let error = store.fail(&["cas", "none", "x", "y"], 3);
    assert!(error.contains("there is no such key"), "{error}");
    store.fail(&["put", "k", "1", "--if-absent", "--if-version", "1"], 2);
}

#[test]
fn keys_and_values_may_be_any_bytes() {
    let store = Store::start(1);
    let bytes: Vec<u8> = (0..=255).collect();
    let put = store.feed(&["put", "all", "-"], &bytes);
    assert!(put.status.success(), "{}", text(&put.stderr));
    assert_eq!(store.run(&["get", "all", "--print-value"]).stdout, bytes);
    let item = &store.json(&["get", "all"])[0];
    assert!(item["value_hex"].as_str().is_some_and(|hex| hex.ends_with("fdfeff")), "{item}");
    store.succeed(&["put", "--escaped", r"\xff\n", r"a\\b"]);
    let table = store.succeed(&["range", "--escaped", r"\xff"]);
    assert!(table.contains(r"\xff\n  ") && table.contains(r"a\\b"), "{table}");
    let error = store.fail(&["get", "--escaped", r"\q"], 1);
    assert!(error.contains("after a backslash comes"), "{error}");
    let long = store.feed(&["put", "long", "-"], &vec![b'x'; (1 << 20) + 1]);
    assert_eq!(long.status.code(), Some(1));
    assert!(text(&long.stderr).contains("more than 1 MiB"), "{}", text(&long.stderr));
    assert!(store.feed(&["put", "long", "-"], &vec![b'x'; 1 << 20]).status.success());
    assert!(store.succeed(&["get", "long"]).contains("… (1048576 bytes)"));
}

#[test]
fn a_range_is_listed_in_order() {
    let store = Store::start(3);
    for key in ["b/2", "a", "b/1", "b/3", "c"] {
        store.succeed(&["put", key, "x"]);
    }
    let keys = |arguments: &[&str]| -> Vec<String> {
        let items = store.json(arguments);
        items.iter().map(|item| item["key"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(keys(&["range"]), ["a", "b/1", "b/2", "b/3", "c"]);
    assert_eq!(keys(&["range", "b/", "--limit", "2"]), ["b/1", "b/2"]);
    assert_eq!(keys(&["range", "b/", "--after", "b/2", "--stale"]), ["b/3"]);
    let table = store.succeed(&["range", "b/"]);
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn changes_are_shown_as_they_happen() {
    let store = Store::start(3);
    let endpoints = store.fake.addresses().join(",");
    let arguments = store.arguments(&endpoints, &["watch", "a/", "--after", "0"]);
    let mut command = store.site.command(&arguments);
    let mut watching = command.stdout(Stdio::piped()).spawn().expect("started");
    eventually("it watches", || (!store.fake.calls("watch").is_empty()).then_some(()));
    store.succeed(&["put", "a/1", "x y"]);
    store.succeed(&["put", "b", "z"]);
    store.succeed(&["delete", "a/1"]);
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    let (set, deleted) = (next(), next());
    assert!(set.ends_with(" set a/1 x y"), "{set}");
    assert!(deleted.ends_with(" deleted a/1"), "{deleted}");
    send(watching.id(), Signal::INT);
    assert_eq!(watching.wait().expect("it ends").code(), Some(0));
    let events = store.json(&["watch", "--after", "0", "--count", "3"]);
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().expect("text")).collect();
    assert_eq!(kinds, ["set", "set", "deleted"]);
    assert_eq!(events[0]["value"], "x y");
    store.fake.world().earliest = 99;
    let error = store.fail(&["watch", "--after", "0"], 1);
    assert!(error.contains("before version 99 is gone"), "{error}");
}

#[test]
fn leases_are_granted_kept_shown_and_revoked() {
    let store = Store::start(3);
    let lease = &store.json(&["lease", "grant", "30"])[0];
    assert_eq!(lease["ttl_ms"], 30_000);
    let id = &lease["id"].to_string();
    store.succeed(&["put", "lock", "me", "--lease", id]);
    assert_eq!(
        store.succeed(&["lease", "keep", id, "--once"]),
        format!("lease {id} lives for 30 s\n")
    );
    let shown = &store.json(&["lease", "show", id])[0];
    assert_eq!((&shown["keys"], &shown["ttl_ms"]), (&json!(1), &json!(30_000)));
    assert!(store.succeed(&["lease", "show", id]).contains(" of 30 s left, 1 keys"));
    let revoked = store.succeed(&["lease", "revoke", id]);
    assert_eq!(revoked, format!("lease {id} has ended, and 1 keys with it\n"));
    for arguments in [["lease", "keep", id], ["lease", "show", id], ["lease", "revoke", id]] {
        let error = store.fail(&arguments, 1);
        assert_eq!(error, format!("ensemble: there is no lease {id}: it has ended\n"));
    }
    let error = store.fail(&["put", "lock", "me", "--lease", id], 1);
    assert_eq!(error, format!("ensemble: lock: there is no lease {id}\n"));
    assert!(store.fail(&["lease", "grant", "0.01"], 1).contains("0.1 to 86,400"));
}

#[test]
fn a_lease_is_kept_alive_until_ctrl_c_or_its_end() {
    let store = Store::start(3);
    let id = &store.json(&["lease", "grant", "0.5"])[0]["id"].to_string();
    let endpoints = store.fake.addresses().join(",");
    let start = || {
        let mut command = store.site.command(&store.arguments(&endpoints, &["lease", "keep", id]));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started")
    };
    let kept = |times: usize| {
        let calls = store.fake.calls("keep_lease_alive");
        (calls.iter().filter(|call| call.node == 1).count() >= times).then_some(())
    };
    let mut keeping = start();
    eventually("it is kept alive again and again", || kept(3));
    send(keeping.id(), Signal::INT);
    assert_eq!(keeping.wait().expect("it ends").code(), Some(0));
    let keeping = start();
    eventually("it is kept alive again", || kept(4));
    let id: u64 = id.parse().expect("a number");
    store.fake.shared.change(|world| world.revoke(id, false));
    let output = keeping.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), format!("ensemble: lease {id} has ended\n"));
}

#[test]
fn the_state_of_every_node_is_shown_and_who_does_not_answer() {
    let mut store = Store::start(3);
    store.succeed(&["put", "k", "1"]);
    let table = store.succeed(&["status"]);
    let rows: Vec<_> = table.lines().collect();
    let heading = "NODE  ADDRESS          STANDING  ROLE      TERM  LAST  COMMIT  APPLIED  LAG";
    assert!(rows[0].starts_with(heading), "{table}");
    assert!(rows[1].starts_with("1 ") && rows[1].contains("voter     leader"), "{table}");
    assert!(rows[3].starts_with("3 ") && rows[3].contains("follower"), "{table}");
    assert!(rows[3].ends_with("12 ms"), "{table}");
    // One address is enough: the others are known to its node.
    let one = store.fake.address(2);
    let told = store.site.succeed(&["raft", "--endpoints", &one, "status", "--json"]);
    assert_eq!(told.lines().count(), 3, "{told}");

    store.runtime.block_on(store.fake.kill(3));
    let output = store.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    let row = table.lines().find(|row| row.starts_with("3 ")).expect("a row");
    assert!(row.contains("refused"), "{table}");
    store.fake.elect(None);
    let output = store.run(&["status", "--json"]);
    let lines = text(&output.stdout);
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["node"], &last["status"]), (&json!(3), &Value::Null));
    assert!(last["error"].as_str().is_some_and(|error| error.contains("refused")), "{last}");
    assert!(text(&store.run(&["status"]).stdout).contains("Nobody leads"));
}

#[test]
fn the_cluster_is_changed_by_name() {
    let store = Store::start(3);
    assert_eq!(store.succeed(&["leader"]), format!("1 {}\n", store.fake.address(1)));
    assert_eq!(store.json(&["transfer", "2"]), [json!({ "leader": 2 })]);
    assert_eq!(store.json(&["leader"])[0]["id"], 2);
    store.succeed(&["transfer"]);
    let added = store.succeed(&["member", "add", "4", "127.0.0.1:1", "--learner"]);
    assert_eq!(added, "4 is a member, at 127.0.0.1:1\n");
    let list = store.succeed(&["member", "list"]);
    assert!(list.lines().any(|row| row.starts_with("4 ") && row.contains("learner")), "{list}");
    store.succeed(&["member", "promote", "4"]);
    assert_eq!(store.json(&["member", "list"])[3]["standing"], "voter");
    store.succeed(&["member", "remove", "4"]);
    assert_eq!(store.json(&["member", "list"]).len(), 3);
    let error = store.fail(&["member", "promote", "9"], 1);
    assert_eq!(error, "ensemble: member 9: there is no member 9\n");
    assert_eq!(store.succeed(&["snapshot"]).lines().count(), 3);
    assert_eq!(store.json(&["snapshot", "2"])[0]["address"], store.fake.address(2));
    store.succeed(&["suspend", "3", "7"]);
    store.succeed(&["suspend", &store.fake.address(1), "8"]);
    assert_eq!(store.fake.world().suspended, [(3, 7), (1, 8)]);
    let error = store.fail(&["suspend", "9", "7"], 1);
    assert_eq!(error, "ensemble: there is no node 9; there are 1, 2, 3\n");
    store.fail(&["suspend", "1", "0"], 2);
}

#[test]
fn the_documents_shell_is_scripted() {
    let store = Store::start(2);
    let script = format!(
        "getleader\nconnect {}\ngetleader\nsetval greeting hello world\ngetval greeting\n\n\
         getval none\nsuspend 9\nsetvall a b\nsetval a\nsuspend x\nconnect nowhere\n\
         quit\ngetval x\n",
        store.fake.address(2).replace(':', " ")
    );
    let path = store.site.path().join("script");
    store.site.write("script", &script);
    let mut command = store.site.command(&["raft", "shell"]);
    let output = command.stdin(File::open(path).expect("a file")).output().expect("started");
    let (one, two) = (store.fake.address(1), store.fake.address(2));
    let expected =
        format!("connected to {two}\n1 {one}\ndone\nhello world\nNone\nsuspended for 9 s\n");
    assert_eq!(text(&output.stdout), expected);
    let errors = text(&output.stderr);
    let errors: Vec<_> = errors.lines().collect();
    assert_eq!(errors[0], "not connected; first: connect HOST:PORT");
    assert_eq!(errors[1], "there is no command setvall: do you mean setval?");
    assert_eq!(errors[2], "a key and a value are wanted; write: setval KEY VALUE");
    assert!(errors[3].ends_with("write: suspend SECONDS"), "{}", errors[3]);
    assert!(errors[4].contains("nowhere: not a host and port"), "{}", errors[4]);
    assert_eq!(errors.len(), 5, "nothing is read after quit");
    assert_eq!(output.status.code(), Some(1), "a command failed");
    assert_eq!(store.fake.world().suspended, [(2, 9)]);

    let output = store.feed(&["shell", "--json"], b"setval k v\ngetval k\nhelp\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers = text(&output.stdout);
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers[1], json!({ "success": true, "value": "v" }));
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_remedy() {
    // Refused, or not answered in time: it depends on how busy the machine is.
    const UNREACHED: &str = "k: not available: 127.0.0.1:1: ";
    let site = Site::new();
    let refuse = |arguments: &[&str], code, expected: &str| {
        let error = site.fail(&[&["raft"], arguments].concat(), code);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    };
    refuse(&["--endpoints", "http://h:1", "leader"], 1, "not a host and port");
    refuse(&["--timeout", "0", "leader"], 1, "--timeout 0: 0.01 to 3600");
    refuse(&["--endpoints", "127.0.0.1:1", "--timeout", "0.2", "get", "k"], 1, UNREACHED);
    refuse(&["--certs", "nowhere", "get", "k"], 1, "`ensemble certs` makes it");
    refuse(&["get"], 2, "<KEY>");
    refuse(&["gett", "k"], 2, "'get'");
    refuse(&["status", "--watch", "0"], 1, "--watch 0: 0.1 to 3600");
}

#[test]
fn a_write_that_may_have_been_done_is_told_as_such() {
    let store = Store::start(1);
    // Every attempt is carried out, and none is answered.
    let unknown = || fake::Fault::After(tonic::Status::unknown("the leader is gone"));
    (0..1000).for_each(|_| store.fake.fail("put", unknown()));
    let error = store.fail(&["put", "k", "1", "--timeout", "0.3"], 1);
    assert!(error.contains("the outcome is not known"), "{error}");
    assert!(error.contains("it may have been carried out; look before asking again"), "{error}");
    assert_eq!(store.json(&["get", "k"])[0]["value"], "1");
}

#[test]
fn every_command_explains_itself() {
    let site = Site::new();
    let commands = [
        "status", "leader", "put", "get", "delete", "cas", "range", "watch", "lease", "member",
        "transfer", "snapshot", "suspend", "shell",
    ];
    for command in commands {
        let help = site.succeed(&["raft", command, "--help"]);
        assert!(help.contains("Examples:\n  "), "{command}: {help}");
        assert!(help.contains(&format!("ensemble raft {command}")), "{command}: {help}");
    }
    assert!(site.succeed(&["raft", "--help"]).contains("3 the condition of put, delete or cas"));
}

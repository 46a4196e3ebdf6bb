//! `ensemble chord`: what a user of the ring sees, against nodes without a protocol.

use std::fs::File;
use std::io::Write as _;
use std::process::Output;

use proto::ensemble::chord::v1 as pb;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::site::Site;

#[path = "../../../chord/tests/client/fake/mod.rs"]
#[allow(dead_code, reason = "the client's own tests use the rest")]
mod fake;

use fake::{Fake, Fault};

/// m, and the ids that the registry of the document gives, in order of registration.
const BITS: u32 = 5;
const IDS: [u64; 6] = [24, 26, 2, 16, 31, 25];

/// Some nodes with their registry, and a folder to ask them from.
struct Ring {
    fake: Fake,
    site: Site,
    runtime: Runtime,
}

impl Ring {
    fn start(bits: u32, ids: &[u64]) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let fake = runtime.block_on(Fake::start(bits, ids));
        Self { fake, site: Site::new(), runtime }
    }

    /// The document's.
    fn documented() -> Self {
        Self::start(BITS, &IDS)
    }

    /// The arguments of `ensemble chord` that say where a node is; the others are found.
    fn arguments<'a>(&self, endpoint: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["chord", "--endpoints", endpoint][..], arguments].concat()
    }

    fn endpoint(&self) -> String {
        self.fake.addresses().remove(0)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.site.run(&self.arguments(&self.endpoint(), arguments))
    }

    /// What a command prints that must succeed.
    fn succeed(&self, arguments: &[&str]) -> String {
        self.site.succeed(&self.arguments(&self.endpoint(), arguments))
    }

    /// What a command prints that ends with this code.
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The lines of JSON that a command prints that must succeed.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        lines(&self.succeed(&[arguments, &["--json"]].concat()))
    }

    /// What a command says that must fail with this code.
    fn fail(&self, arguments: &[&str], code: i32) -> String {
        self.site.fail(&self.arguments(&self.endpoint(), arguments), code)
    }

    /// Runs a command that reads this.
    fn feed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let path = self.site.path().join("input");
        File::create(&path).and_then(|mut file| file.write_all(input)).expect("written");
        let mut command = self.site.command(arguments);
        command.stdin(File::open(path).expect("a file")).output().expect("started")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn nodes_are_listed_in_order_of_registration() {
    let mut ring = Ring::documented();
    let expected: String =
        IDS.iter().map(|id| format!("{id}: {}\n", ring.fake.address(Some(*id)))).collect();
    // By the registry that the node tells of, or that is named.
    assert_eq!(ring.succeed(&["info"]), expected);
    let registry = ring.fake.address(None);
    assert_eq!(ring.site.succeed(&["chord", "info", "--registry", &registry]), expected);
    assert_eq!(ring.json(&["info"])[2]["id"], 2);
    let located = ring.site.succeed(&["chord", "--registry", &registry, "locate", "25"]);
    assert!(located.starts_with("Node 25 at "), "its nodes are asked: {located}");
    ring.runtime.block_on(ring.fake.kill(None));
    let error = ring.fail(&["info", "--registry", &registry], 1);
    assert!(error.contains("refused"), "{error}");
    // Without one: those that the nodes know, in order of ids.
    let output = ring.run(&["info"]);
    let ids: Vec<_> = text(&output.stdout)
        .lines()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["2", "16", "24", "25", "26", "31"]);
    assert!(text(&output.stderr).contains("no registry answers"), "{}", text(&output.stderr));
}

#[test]
fn the_fingers_of_a_node_are_shown_by_name() {
    let ring = Ring::documented();
    let peer = |id| format!("{id}: {}\n", ring.fake.address(Some(id)));
    let expected: String = [31, 2, 16].map(peer).concat();
    assert_eq!(ring.succeed(&["fingers", "26"]), expected);
    assert_eq!(ring.succeed(&["fingers", &ring.fake.address(Some(26))]), expected);
    let table = ring.succeed(&["fingers", "26", "-l"]);
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 6, "{table}");
    assert!(rows[0].starts_with("FINGER  START  INTERVAL  SUCCESSOR  ADDRESS"), "{table}");
    assert!(rows[3].starts_with("3       30     [30, 2)   31 "), "{table}");
    assert!(rows[5].starts_with("5       10     [10, 26)  16 "), "{table}");
    let third = &ring.json(&["fingers", "26", "-l"])[2];
    assert_eq!((&third["start"], &third["node"]["id"]), (&json!(30), &json!(31)));
    let error = ring.fail(&["fingers", "9"], 1);
    assert_eq!(error, "ensemble: there is no node 9; there are 2, 16, 24, 25, 26, 31\n");
    let error = ring.fail(&["fingers", &ring.fake.address(None)], 1);
    assert!(error.contains("does not serve what it was asked for"), "{error}");
}

#[test]
fn keys_are_saved_found_and_removed_in_the_documents_words() {
    let ring = Ring::documented();
    let save = ["save", "Kazan", "capital of Tatarstan"];
    assert_eq!(ring.succeed(&save), "True, Kazan is saved in node 24\n");
    assert_eq!(ring.ends(&save, 3), "False, Kazan is already exist in node 24\n");
    let found = "True, Kazan is saved in node 24\ncapital of Tatarstan\n";
    assert_eq!(ring.succeed(&["find", "Kazan"]), found);
    assert_eq!(ring.succeed(&["find", "Kazan", "--value"]), "capital of Tatarstan");
    ring.succeed(&["save", "Moscow", "-1"]);
    assert_eq!(ring.succeed(&["remove", "Moscow"]), "True, Moscow is removed from node 25\n");
    let none = "False, Moscow does not exist in node 25\n";
    assert_eq!(ring.ends(&["remove", "Moscow"], 3), none);
    assert_eq!(ring.ends(&["find", "Moscow"], 3), none);
    assert_eq!(ring.ends(&["find", "Moscow", "--value"], 3), "");
    let found = &ring.json(&["find", "Kazan"])[0];
    let node = json!({ "id": 24, "address": ring.fake.address(Some(24)) });
    assert_eq!((&found["done"], &found["value"]), (&json!(true), &json!("capital of Tatarstan")));
    assert_eq!((&found["id"], &found["node"]), (&json!(22), &node));
    let saved = lines(&ring.ends(&["save", "Kazan", "x", "--json"], 3));
    assert_eq!((&saved[0]["done"], &saved[0]["key"]), (&json!(false), &json!("Kazan")));
}

#[test]
fn the_way_of_a_lookup_is_shown_hop_by_hop() {
    let ring = Ring::documented();
    let shown = ring.succeed(&["save", "Minsk", "x", "--path"]);
    let rows: Vec<_> = shown.lines().collect();
    assert_eq!((rows[0], rows[1]), ("True, Minsk is saved in node 16", ""));
    assert!(rows[2].starts_with("HOP  NODE  ADDRESS "), "{shown}");
    assert!(rows[3].contains("asked first") && rows[3].ends_with(" 1.2 ms"), "{shown}");
    let hop = "finger 1: the last that does not pass 3; no answer";
    assert!(rows[4].starts_with("2    25 ") && rows[4].contains(hop), "{shown}");
    assert!(rows[5].contains("responsible by node 24 "), "{shown}");
    for arguments in [&["find", "Minsk", "--path"][..], &["locate", "3", "--path"]] {
        assert!(ring.succeed(arguments).contains("\nHOP  NODE "), "{arguments:?}");
    }
    let path = &ring.json(&["remove", "Minsk", "--path"])[0]["path"];
    assert_eq!((&path[1]["reason"], &path[1]["number"]), (&json!("finger"), &json!(1)));
    assert_eq!((&path[0]["took_us"], &path[1]["answered"]), (&json!(1234), &json!(false)));
}

#[test]
fn who_is_responsible_is_located() {
    let ring = Ring::documented();
    let (address, first) = (ring.fake.address(Some(24)), ring.fake.address(Some(2)));
    let located = ring.succeed(&["locate", "22"]);
    assert_eq!(located, format!("Node 24 at {address} is responsible for 22\n"));
    let located = ring.succeed(&["locate", "--key", "Kazan"]);
    assert_eq!(located, format!("Node 24 at {address} is responsible for 22, key Kazan\n"));
    assert_eq!(ring.json(&["locate", "0"])[0]["node"], json!({ "id": 2, "address": first }));
    let error = ring.fail(&["locate", "32"], 1);
    assert_eq!(error, "ensemble: locate 32: id: there is no such place\n");
    ring.fail(&["locate"], 2);
    ring.fail(&["locate", "1", "--key", "x"], 2);
}

#[test]
fn values_may_be_any_bytes_from_anywhere() {
    let ring = Ring::documented();
    let endpoint = ring.endpoint();
    let bytes: Vec<u8> = (0..=255).collect();
    let put = ring.feed(&ring.arguments(&endpoint, &["save", "all", "-"]), &bytes);
    assert!(put.status.success(), "{}", text(&put.stderr));
    assert_eq!(ring.run(&["find", "all", "--value"]).stdout, bytes);
    std::fs::write(ring.site.path().join("file"), &bytes).expect("written");
    ring.succeed(&["save", "filed", "--file", "file"]);
    assert_eq!(ring.run(&["find", "filed", "--value"]).stdout, bytes);
    let found = &ring.json(&["find", "filed"])[0];
    assert!(found["value_hex"].as_str().is_some_and(|hex| hex.ends_with("fdfeff")), "{found}");
    ring.succeed(&["save", "--escaped", r"\xff\n", r"a\\b"]);
    let found = ring.succeed(&["find", "--escaped", r"\xff\n"]);
    assert!(found.starts_with(r"True, \xff\n is saved in node "), "{found}");
    assert!(found.ends_with("\na\\\\b\n"), "{found}");
    let long =
        ring.feed(&ring.arguments(&endpoint, &["save", "long", "-"]), &[b'x'; (1 << 20) + 1]);
    assert_eq!(long.status.code(), Some(1));
    assert!(text(&long.stderr).contains("more than 1 MiB"), "{}", text(&long.stderr));
    let most = ring.feed(&ring.arguments(&endpoint, &["save", "long", "-"]), &[b'x'; 1 << 20]);
    assert!(most.status.success(), "{}", text(&most.stderr));
    let error = ring.fail(&["save", "k", "--file", "nowhere"], 1);
    assert!(error.contains("--file nowhere: cannot open it"), "{error}");
    ring.fail(&["save", "k"], 2);
    let error = ring.fail(&["save", "", "x"], 1);
    assert!(error.starts_with("ensemble: key: 1 to 4,096 bytes"), "{error}");
}

#[test]
fn the_ring_is_drawn_and_listed() {
    let mut ring = Ring::documented();
    let shown = ring.succeed(&["ring", "--columns", "80"]);
    assert!(shown.starts_with("       31 ···●······● 2\n"), "{shown}");
    assert!(shown.contains("\n24 ●        6 nodes        ·\n"), "{shown}");
    let heading = "#  ID  ADDRESS          PHASE   PREDECESSOR  SUCCESSORS  KEYS  COPIES  READY";
    assert!(shown.contains(&format!("\n\n{heading}  COUNTED\n1  2   127.0.0.1:")), "{shown}");
    assert!(
        shown.contains("  member  31           16, 24, 25  0     0       yes    6\n"),
        "{shown}"
    );
    assert!(shown.ends_with(" knows 6 nodes.\n"), "{shown}");
    // Where there is no room: only the table.
    assert!(ring.succeed(&["ring", "--columns", "59"]).starts_with("#  ID "));
    let states = ring.json(&["ring"]);
    assert_eq!((states.len(), &states[2]["id"]), (6, &json!(24)));
    assert_eq!(states[2]["state"]["predecessor"]["id"], 16);
    ring.runtime.block_on(ring.fake.kill(Some(25)));
    let shown = ring.succeed(&["ring"]);
    assert!(shown.contains("25 ○"), "{shown}");
    assert!(
        shown.lines().any(|row| row.starts_with("4  25 ") && row.contains("refused")),
        "{shown}"
    );
    assert!(ring.json(&["ring"])[3]["error"].as_str().is_some_and(|it| it.contains("refused")));
    ring.runtime.block_on(ring.fake.kill(Some(24)));
    let error = ring.fail(&["ring"], 1);
    assert!(error.contains("refused"), "the only one that was named: {error}");
}

#[test]
fn a_node_is_found_by_whatever_tells_of_it() {
    let ring = Ring::start(BITS, &[24, 26]);
    let (node, other) = (24, ring.fake.world().peer(26));
    let found = |tell: &dyn Fn(&mut pb::GetStateResponse)| {
        {
            let mut world = ring.fake.world();
            let state = world.states.get_mut(&node).expect("there");
            (state.predecessor, state.registry) = (None, String::new());
            (state.successors, state.lost, state.fingers) = (vec![], vec![], vec![]);
            tell(state);
        }
        ring.json(&["ring"]).len()
    };
    assert_eq!(found(&|_| ()), 1);
    assert_eq!(found(&|state| state.predecessor = Some(other.clone())), 2);
    assert_eq!(found(&|state| state.successors = vec![other.clone()]), 2);
    assert_eq!(found(&|state| state.lost = vec![other.clone()]), 2);
    let finger = pb::Finger { index: 0, count: 1, peer: Some(other.clone()) };
    assert_eq!(found(&|state| state.fingers = vec![finger.clone()]), 2);
    assert_eq!(found(&|state| state.registry = ring.fake.address(None)), 2);
}

#[test]
fn a_ring_of_long_ids_is_drawn_by_number() {
    let ids = [1_u64 << 62, 1 << 63, u64::MAX];
    let ring = Ring::start(64, &ids);
    let shown = ring.succeed(&["ring"]);
    for label in ["        ● #1\n", "··●····· #3\n", "··●····· #2\n"] {
        assert!(shown.contains(label), "{label}: {shown}");
    }
    assert!(shown.contains(&format!("\n3  {}  ", u64::MAX)), "{shown}");
    assert!(
        shown.contains("  member  #2           #1, #2      0     0       yes    3\n"),
        "{shown}"
    );
    assert_eq!(ring.succeed(&["fingers", &ids[0].to_string(), "-l"]).lines().count(), 65);
    ring.succeed(&["check", "--strict"]);
}

#[test]
fn a_ring_is_checked_and_what_is_wrong_is_shown() {
    let ring = Ring::documented();
    let all = ring.succeed(&["check", "--strict"]);
    let ok = "ok        there is one ring  (2 → 16 → 24 → 25 → 26 → 31)\n";
    assert!(all.contains(ok) && !all.contains("violated"), "{all}");
    assert!(ring.json(&["check"]).iter().all(|check| check["holds"] == true));
    // A warning is no violation.
    ring.fake.world().states.get_mut(&2).expect("there").ready = false;
    let warned = ring.succeed(&["check"]);
    assert!(warned.contains("warning   every member is ready\n            2\n"), "{warned}");
    ring.ends(&["check", "--strict"], 3);
    // Two rings.
    for (id, next) in [(16, 2), (31, 24)] {
        let next = ring.fake.world().peer(next);
        ring.fake.world().states.get_mut(&id).expect("there").successors = vec![next];
    }
    let bad = ring.ends(&["check"], 3);
    let expected =
        "violated  there is one ring\n            24 → 25 → 26 → 31\n            2 → 16\n";
    assert!(bad.contains(expected), "{bad}");
    let bad = lines(&ring.ends(&["check", "--json"], 3));
    let violated = |it: &&Value| it["kind"] == "invariant" && it["holds"] == false;
    let names: Vec<_> = bad.iter().filter(violated).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_check_waits_until_the_ring_holds() {
    let ring = Ring::documented();
    ring.fake.world().states.get_mut(&2).expect("there").phase = "joining".into();
    let clock = std::time::Instant::now();
    let error = ring.ends(&["check", "--within", "0.5"], 3);
    assert!(error.contains("2, which is joining"), "{error}");
    assert!(clock.elapsed().as_millis() >= 300, "{:?}", clock.elapsed());
    let looks = ring.fake.calls("get_state").len();
    assert!(looks >= 12, "more than one look at six nodes: {looks}");
    let endpoint = ring.endpoint();
    let mut command = ring.site.command(&ring.arguments(&endpoint, &["check", "--within", "60"]));
    let mut checking = command.stdout(std::process::Stdio::piped()).spawn().expect("started");
    crate::site::eventually("it has looked", || {
        (ring.fake.calls("get_state").len() > looks + 6).then_some(())
    });
    assert!(checking.try_wait().expect("a child of ours").is_none(), "it waits");
    ring.fake.world().states.get_mut(&2).expect("there").phase = "member".into();
    assert!(checking.wait().expect("it ends").success());
}

#[test]
fn a_node_leaves_by_name() {
    let ring = Ring::documented();
    assert_eq!(ring.succeed(&["quit", "25"]), "25 has left; node 26 has its keys\n");
    assert_eq!(ring.succeed(&["info"]).lines().count(), 5);
    let left = &ring.json(&["quit", &ring.fake.address(Some(26))])[0];
    assert_eq!(left["successor"]["id"], 31);
    ring.succeed(&["check", "--strict"]);
    let alone = Ring::start(BITS, &[7]);
    let text = alone.succeed(&["quit", "7"]);
    assert_eq!(text, "7 has left; it was alone, and its keys are gone\n");
}

#[test]
fn the_documents_shell_is_scripted() {
    let ring = Ring::documented();
    let (registry, node) = (ring.fake.address(None), ring.fake.address(Some(26)));
    let script = format!(
        "get_info\nconnect {registry}\nget_info\nsave \"Kazan\" x\nconnect {node}\nget_info\n\
         save \"Kazan\" capital of Tatarstan\nsave \"Kazan\" x\n\nfind Kazan\nremove \"Moscow\"\n\
         save Moscow \"big\" city\nremove Moscow\nfind Moscow\nsave \"Kazan\nsav x y\n\
         connect nowhere\nquit\nfind Kazan\n"
    );
    let output = ring.feed(&["chord", "shell"], script.as_bytes());
    let list = |ids: &[u64]| -> String {
        ids.iter().map(|id| format!("{id}: {}\n", ring.fake.address(Some(*id)))).collect()
    };
    let expected = format!(
        "{}node {}predecessor {}finger table:\n{}\
         True, Kazan is saved in node 24\nFalse, Kazan is already exist in node 24\n\
         True, Kazan is saved in node 24\ncapital of Tatarstan\n\
         False, Moscow does not exist in node 25\nTrue, Moscow is saved in node 25\n\
         True, Moscow is removed from node 25\nFalse, Moscow does not exist in node 25\n",
        list(&IDS),
        list(&[26]),
        list(&[25]),
        list(&[31, 2, 16]),
    );
    assert_eq!(text(&output.stdout), expected);
    let errors = text(&output.stderr);
    let errors: Vec<_> = errors.lines().collect();
    assert_eq!(errors[0], "not connected; first: connect HOST:PORT");
    assert_eq!(errors[1], format!("connected to the registry at {registry}"));
    assert!(errors[2].starts_with("a registry keeps no keys"), "{errors:?}");
    assert_eq!(errors[3], format!("connected to the node at {node}"));
    assert_eq!(errors[4], "the quote is not closed; write: save \"KEY\" TEXT");
    assert_eq!(errors[5], "there is no command sav: do you mean save?");
    assert!(errors[6].contains("nowhere: not a host and port"), "{errors:?}");
    assert_eq!(errors.len(), 7, "nothing is read after quit: {errors:?}");
    assert_eq!(output.status.code(), Some(1), "a command failed");

    let arguments = ring.arguments(&node, &["shell", "--json"]);
    let output = ring.feed(&arguments, b"find Kazan\nget_info\nhelp");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answers = lines(&text(&output.stdout));
    assert_eq!(answers[0]["value"], "capital of Tatarstan");
    assert_eq!(answers[1]["predecessor"]["id"], 25);
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_remedy() {
    let site = Site::new();
    let refuse = |arguments: &[&str], code, expected: &str| {
        let error = site.fail(&[&["chord"], arguments].concat(), code);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    };
    let nobody = ["--endpoints", "127.0.0.1:1", "--timeout", "0.3"];
    let commands =
        [&["find", "k"][..], &["ring"], &["check"], &["info"], &["fingers", "127.0.0.1:1"]];
    for command in commands {
        refuse(&[&nobody[..], command].concat(), 1, "refused");
    }
    refuse(&[&nobody[..], &["quit", "7"]].concat(), 1, "give HOST:PORT");
    refuse(&["--endpoints", "http://h:1", "ring"], 1, "not a host and port");
    refuse(&["--registry", "nowhere", "info"], 1, "--registry: nowhere: not a host and port");
    refuse(&["--timeout", "0", "ring"], 1, "--timeout 0: 0.01 to 3600");
    refuse(&["--certs", "nowhere", "find", "k"], 1, "`ensemble certs` makes it");
    refuse(&["check", "--within", "-1"], 2, "");
    refuse(&["check", "--within=-1"], 1, "--within -1: 0 to 86,400");
    refuse(&["find"], 2, "<KEY>");
    refuse(&["fidn", "k"], 2, "'find'");
}

#[test]
fn a_write_that_may_have_been_done_is_told_as_such() {
    let ring = Ring::documented();
    ring.fake.fail("save", Fault::After(tonic::Status::unknown("its copies do not answer")));
    let error = ring.fail(&["save", "k", "1"], 1);
    assert!(error.contains("k: the outcome is not known"), "{error}");
    assert!(error.contains("it may have been done; look before asking again"), "{error}");
    assert_eq!(ring.fake.calls("save").len(), 1);
    ring.fake.fail("save", Fault::Before(tonic::Status::resource_exhausted("no room in node 24")));
    let error = ring.fail(&["save", "l", "1"], 1);
    let expected = "ensemble: l: no room in node 24; nothing was done; remove something first\n";
    assert_eq!(error, expected);
}

#[test]
fn every_command_explains_itself() {
    let site = Site::new();
    let commands =
        ["info", "fingers", "save", "find", "remove", "locate", "ring", "check", "quit", "shell"];
    for command in commands {
        let help = site.succeed(&["chord", command, "--help"]);
        assert!(help.contains("Examples:\n  "), "{command}: {help}");
        assert!(help.contains(&format!("ensemble chord {command}")), "{command}: {help}");
    }
    assert!(site.succeed(&["chord", "--help"]).contains("3 the key of save exists"));
}

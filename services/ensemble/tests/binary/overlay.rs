//! `ensemble overlay`: what a user of processes A to F sees.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::site::{Site, eventually, send};

const WHOLE: &str = "A|B|C-processed;B-processed;E|F-processed;D-processed;E-processed\n";

/// A topology whose processes have found each other.
fn whole() -> Site {
    let mut site = Site::new();
    site.up(&[]);
    eventually("an answer is whole", || {
        site.run(&["overlay", "forward", "x"]).status.success().then_some(())
    });
    site
}

#[test]
fn a_request_is_answered_and_every_operation_does_real_work() {
    let site = whole();
    assert_eq!(site.succeed(&["overlay", "forward", "hello"]), WHOLE);
    site.write("text", "two words\nand three more\n");
    let count = ["overlay", "forward", "--operation", "word-count", "--file", "text"];
    assert_eq!(site.succeed(&count), "2 5 25\n");
    let digest = ["overlay", "forward", "--operation", "digest", "--team", "green", "abc"];
    let blake3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\n";
    assert_eq!(site.succeed(&digest), blake3);
    let answer = site.succeed(&["overlay", "forward", "--json", "--at", "overlay-e", "hello"]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["result"], "E|F-processed;D-processed;E-processed");
    assert_eq!(answer["complete"], true);
    let tested = site.succeed(&["overlay", "test"]);
    assert!(tested.contains("6 steps, 0 failed"), "{tested}");
}

#[test]
fn commands_follow_what_runs_here_whatever_the_environment_says() {
    let mut site = Site::new();
    site.up(&[]);
    // Another terminal does not have the variables that `up` had.
    let mut command = site.command(&["overlay", "check", "--json"]);
    let output = command.env_clear().output().expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 6);
    for (line, port) in lines.iter().zip(&site.ports) {
        assert_eq!(line["address"], format!("127.0.0.1:{port}"));
    }
}

#[test]
fn a_process_that_hangs_is_missing_by_name() {
    let site = whole();
    let worker = site.pids()["overlay-f"];
    send(worker, Signal::STOP);
    let output = site.run(&["overlay", "forward", "--deadline", "0.5", "hello"]);
    let checked = site.run(&["overlay", "check"]);
    send(worker, Signal::CONT);
    assert_eq!(output.status.code(), Some(3));
    let story = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(story.contains("missing: F (late)"), "{story}");
    assert_eq!(checked.status.code(), Some(1));
    let table = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(table.contains("unreachable"), "{table}");
}

#[test]
fn what_cannot_be_asked_is_refused_with_a_remedy() {
    let site = Site::new();
    for (arguments, expected) in [
        (&["overlay", "forward", "hello"][..], "`ensemble up`"),
        (&["overlay", "forward", "--at", "Z", "hello"], "there are A, B, C, D, E, F"),
        (&["overlay", "forward", "--at", "http://127.0.0.1:1", "x"], "give HOST:PORT"),
        (&["overlay", "forward", "--deadline", "0", "x"], "at most 60 seconds"),
        (&["overlay", "forward", "--file", "nowhere"], "nowhere"),
    ] {
        let error = site.fail(arguments, 1);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    fs::write(site.path().join("big"), vec![b'x'; (8 << 20) + 1]).expect("written");
    let error = site.fail(&["overlay", "forward", "--file", "big"], 1);
    assert!(error.contains("more than 8 MiB"), "{error}");
}

#[test]
fn files_of_processes_are_checked_and_drawn() {
    let site = Site::new();
    let file = "services/overlay/two_hosts_config.json";
    assert!(site.succeed(&["overlay", "lint", file]).contains("6 processes, no problem"));
    assert!(site.succeed(&["overlay", "graph", file]).starts_with("<svg "));
    let text = fs::read_to_string(site.path().join(file)).expect("readable");
    site.write("broken.json", &text.replace("[\"E\"]", "[]"));
    let output = site.run(&["overlay", "lint", "broken.json"]);
    assert_eq!(output.status.code(), Some(1));
    let problems = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(problems.contains("the edge is one-sided"), "{problems}");
    site.write("cut.json", "{\"processes\": {");
    let error = site.fail(&["overlay", "lint", "cut.json"], 1);
    assert!(error.contains("cut.json: EOF while parsing an object at line 1 column 15"), "{error}");
}

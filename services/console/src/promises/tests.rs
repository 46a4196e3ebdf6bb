//! A stage on which histories are played, and what holds for all promises.

use serde_json::{Value, json};

use super::life::NODES_LIMIT;
use super::{Observed, Promise, Promises};

/// When every history begins.
pub(super) const BEGIN: u64 = 1_764_000_000_000;

/// The promises, and the time.
pub(super) struct Stage {
    pub(super) promises: Promises,
    pub(super) at: u64,
}

/// A process as it is shown.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) key: String,
    pub(super) started: Option<u64>,
    pub(super) reachable: bool,
    pub(super) broken: bool,
    pub(super) view: Option<Value>,
}

impl Actor {
    pub(super) fn new(key: &str, view: Value) -> Self {
        let started = Some(BEGIN - 60_000);
        Self { key: key.into(), started, reachable: true, broken: false, view: Some(view) }
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { promises: Promises::default(), at: BEGIN }
    }

    /// So many milliseconds pass, with a tick every second.
    pub(super) fn pass(&mut self, mut ms: u64) {
        while ms > 0 {
            let step = ms.min(1_000);
            (self.at, ms) = (self.at + step, ms - step);
            self.promises.tick(self.at);
        }
    }

    pub(super) fn see(&mut self, actor: &Actor) {
        let (system, name) = actor.key.split_once('/').unwrap_or(("", &actor.key));
        let Actor { reachable, started, broken, .. } = *actor;
        let view = actor.view.as_ref();
        let key = &actor.key;
        let node = Observed { key, system, name, view, reachable, started, broken };
        self.promises.seen(self.at, &node);
    }

    pub(super) fn promise(&self, id: &str) -> Promise {
        let all = self.promises.all();
        all.into_iter().find(|promise| promise.id == id).expect("there is such a promise")
    }

    #[track_caller]
    pub(super) fn assert_holds(&self, id: &str) {
        let promise = self.promise(id);
        assert_eq!(promise.holds, Some(true), "{promise:?}");
    }

    #[track_caller]
    pub(super) fn assert_unjudged(&self, id: &str) {
        let promise = self.promise(id);
        assert_eq!((promise.holds, promise.checked), (None, 0), "{promise:?}");
    }

    /// Broken, with evidence that has all of these words.
    #[track_caller]
    pub(super) fn assert_broken(&self, id: &str, words: &[&str]) {
        let promise = self.promise(id);
        assert_eq!(promise.holds, Some(false), "{promise:?}");
        let has = |text: &String| words.iter().all(|word| text.contains(word));
        assert!(promise.evidence.iter().any(has), "{words:?} not in {:?}", promise.evidence);
    }

    #[track_caller]
    pub(super) fn assert_nothing_broken(&self) {
        let broken = self.promises.all().into_iter().filter(|it| it.holds == Some(false));
        assert_eq!(broken.collect::<Vec<_>>(), []);
    }
}

fn full(at: u64) -> Actor {
    let limits = json!({"active": at, "active_limit": 1, "queued": 0, "queue_limit": 1});
    Actor::new("overlay/A", limits)
}

#[test]
fn before_anything_is_seen_nothing_is_said_to_hold() {
    let stage = Stage::new();
    let all = stage.promises.all();
    assert_eq!(all.len(), 13);
    assert!(all.iter().all(|it| it.holds.is_none() && it.checked == 0 && it.evidence.is_empty()));
    assert!(all.iter().all(|it| it.id.starts_with(&format!("{}/", it.system))));
}

#[test]
fn what_is_broken_stays_so_with_its_first_evidence_until_it_is_reset() {
    let mut stage = Stage::new();
    for active in 0..20 {
        stage.see(&full(active));
        stage.pass(100);
    }
    stage.see(&full(0));
    let broken = stage.promise("overlay/limits");
    assert_eq!((broken.holds, broken.checked, broken.evidence.len()), (Some(false), 21, 5));
    assert_eq!(broken.since, BEGIN + 200);
    assert!(broken.evidence[0].starts_with("overlay/A: 2 in hand of 1"), "{broken:?}");
    stage.promises.reset();
    stage.assert_unjudged("overlay/limits");
    stage.see(&full(1));
    stage.assert_holds("overlay/limits");
}

#[test]
fn what_has_changed_is_told_once_and_mere_counts_once_a_second() {
    let mut stage = Stage::new();
    assert_eq!(stage.promises.changed(), []);
    stage.see(&full(0));
    assert_eq!(stage.promises.changed().len(), 1);
    stage.at += 100;
    stage.see(&full(1));
    assert_eq!(stage.promises.changed(), []);
    stage.pass(1_000);
    assert_eq!(stage.promises.changed()[0].checked, 2);
    assert_eq!(stage.promises.changed(), []);
    stage.see(&full(2));
    assert_eq!(stage.promises.changed()[0].holds, Some(false), "at once");
}

#[test]
fn a_view_that_is_shown_again_is_no_observation() {
    let mut stage = Stage::new();
    stage.see(&full(0));
    stage.see(&full(0));
    assert_eq!(stage.promise("overlay/limits").checked, 1);
}

#[test]
fn a_promise_is_told_in_the_words_of_the_page() {
    let mut stage = Stage::new();
    stage.see(&full(0));
    let told = serde_json::to_value(stage.promise("overlay/limits")).expect("it is plain");
    let title = "No process has more requests in hand or waiting than its limits";
    let since = BEGIN;
    let expected = json!({"id": "overlay/limits", "system": "overlay", "title": title,
        "holds": true, "since": since, "checked": 1, "evidence": []});
    assert_eq!(told, expected);
}

/// Whatever is told, nothing panics, and nothing is judged.
#[test]
fn views_that_make_no_sense_are_not_judged() {
    let mut stage = Stage::new();
    let most = u64::MAX.to_string();
    let junk = [
        json!(null),
        json!([]),
        json!("view"),
        json!(-1),
        json!({}),
        json!({"id": {}, "term": "x", "role": 7, "members": [[[]]], "active": -1}),
        json!({"id": 1, "role": "leader", "term": 1.5, "members": []}),
        json!({"active": "many", "active_limit": null}),
        json!({"node": {"id": most, "address": 5}, "bits": 64, "phase": "member"}),
        json!({"node": {"id": 33, "address": "a"}, "bits": 5, "phase": "member",
            "predecessor": null, "successors": [], "ready": null, "lost": [], "counted": 0}),
        json!({"node": {"id": 3, "address": "a"}, "bits": 4_000_000_000_u32, "phase": "member",
            "predecessor": null, "successors": [], "ready": null, "lost": [], "counted": 0}),
        json!({"node": {"id": 3, "address": "a"}, "bits": 0, "phase": "member"}),
    ];
    let names = ["overlay/A", "raft/1", "chord/24", "chord/", "", "/", "raft/<script>"];
    for view in &junk {
        for key in names {
            let mut actor = Actor::new(key, view.clone());
            stage.see(&actor);
            actor.started = Some(u64::MAX);
            stage.see(&actor);
            stage.at += 500;
        }
        for system in ["overlay", "raft", "nothing", ""] {
            stage.promises.answered(stage.at, system, view);
        }
    }
    stage.pass(120_000);
    assert!(stage.promises.all().iter().all(|it| it.checked == 0), "{:?}", stage.promises.all());
}

#[test]
fn any_time_can_be_told() {
    let mut stage = Stage::new();
    let mut actor = full(0);
    for at in [u64::MAX, 0, 1, u64::MAX, BEGIN, 5] {
        for started in [None, Some(0), Some(u64::MAX)] {
            (stage.at, actor.started) = (at, started);
            for key in ["overlay/A", "chord/1", "raft/1"] {
                actor.key = key.into();
                stage.see(&actor);
                stage.promises.tick(at);
                stage.promises.gone(at, key);
            }
        }
    }
    stage.assert_nothing_broken();
}

#[test]
fn processes_beyond_the_limit_are_not_remembered() {
    let mut stage = Stage::new();
    for number in 0..NODES_LIMIT + 10 {
        let mut actor = full(1);
        actor.key = format!("overlay/{number}");
        stage.see(&actor);
    }
    let mut long = full(2);
    long.key = format!("overlay/{}", "x".repeat(10_000));
    stage.see(&long);
    assert_eq!(stage.promise("overlay/limits").checked, NODES_LIMIT as u64);
    stage.promises.gone(stage.at, "overlay/0");
    long.key = "overlay/new".into();
    stage.see(&long);
    stage.assert_broken("overlay/limits", &["overlay/new"]);
}

#[test]
fn evidence_is_short_and_says_what_was_said() {
    let mut stage = Stage::new();
    let mut actor = full(2);
    actor.key = format!("overlay/<img src=x onerror=alert(1)>{}", "ü".repeat(250));
    stage.see(&actor);
    let broken = stage.promise("overlay/limits");
    assert!(broken.evidence[0].starts_with("overlay/<img src=x onerror=alert(1)>ü"));
    assert!(broken.evidence[0].chars().count() <= 401);
}

//! Answers of the document's six processes, and their limits.

use serde_json::{Value, json};

use crate::promises::tests::{Actor, Stage};

const SIX: [(&str, &str, &str, &[&str]); 6] = [
    ("A", "leader", "green", &["B", "E"]),
    ("B", "team_leader", "green", &["A", "C", "D"]),
    ("C", "worker", "green", &["B"]),
    ("D", "worker", "pink", &["B", "E"]),
    ("E", "team_leader", "pink", &["A", "F", "D"]),
    ("F", "worker", "pink", &["E"]),
];

fn actor(name: &str, role: &str, team: &str, neighbours: &[&str], active: u64) -> Actor {
    let neighbours = neighbours.iter().map(|name| json!([name, true])).collect::<Value>();
    let view = json!({"id": name, "role": role, "team": team, "active": active,
        "active_limit": 100, "queued": 0, "queue_limit": 200, "totals": {},
        "neighbours": neighbours});
    Actor::new(&format!("overlay/{name}"), view)
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    for (name, role, team, neighbours) in SIX {
        stage.see(&actor(name, role, team, neighbours, 0));
    }
    stage
}

fn visits(pairs: &[(&str, &str)]) -> Value {
    let visit = |(process, by): &(&str, &str)| {
        let (role, team) = ("", "");
        json!({"process": process, "role": role, "team": team, "asked_by": by, "part": null})
    };
    pairs.iter().map(visit).collect()
}

fn missing(names: &[&str]) -> Value {
    let missing = |name: &&str| json!({"process": name, "reason": "late", "part": null});
    names.iter().map(missing).collect()
}

fn text(visited: &[(&str, &str)], lacks: &[&str]) -> Value {
    json!({"result": "A|…", "complete": lacks.is_empty(), "visits": visits(visited),
        "missing": missing(lacks), "detours": []})
}

const ALL: [(&str, &str); 6] =
    [("A", ""), ("B", "A"), ("C", "B"), ("E", "A"), ("F", "E"), ("D", "E")];

#[track_caller]
fn judged(answer: &Value) -> Stage {
    let mut stage = stage();
    stage.promises.answered(stage.at, "overlay", answer);
    stage
}

#[test]
fn answers_that_name_who_is_missing_hold() {
    let answers = [
        text(&ALL, &[]),
        text(&ALL[..5], &["D"]),
        // Who is behind a missing one is missing with it.
        text(&ALL[..3], &["E"]),
        text(&[("A", "")], &["B", "E"]),
        // Through the other edge.
        text(&[("A", ""), ("B", "A"), ("C", "B"), ("D", "B")], &["E", "F"]),
        text(&[("B", ""), ("C", "B")], &[]),
        text(&[("E", ""), ("F", "E"), ("D", "E")], &[]),
        json!({"result": "C-processed", "complete": true, "visits": visits(&[("C", "")]),
            "missing": []}),
    ];
    let mut stage = stage();
    for answer in &answers {
        stage.promises.answered(stage.at, "overlay", answer);
        stage.assert_holds("overlay/nothing-silent");
    }
    assert_eq!(stage.promise("overlay/nothing-silent").checked, answers.len() as u64);
}

#[test]
fn a_silent_part_is_found() {
    let stage = judged(&text(&ALL[..5], &[]));
    stage.assert_broken("overlay/nothing-silent", &["D took no part"]);
    let stage = judged(&text(&ALL[..3], &["D", "F"]));
    stage.assert_broken("overlay/nothing-silent", &["E took no part"]);
    let stage = judged(&text(&[("B", "")], &[]));
    stage.assert_broken("overlay/nothing-silent", &["C took no part"]);
}

#[test]
fn an_answer_that_is_complete_and_lacks_somebody_is_found() {
    let mut answer = text(&ALL[..3], &["E"]);
    answer["complete"] = true.into();
    judged(&answer).assert_broken("overlay/nothing-silent", &["complete, but E missing"]);
    let mut answer = text(&ALL, &[]);
    answer["complete"] = false.into();
    judged(&answer).assert_broken("overlay/nothing-silent", &["nobody is missing"]);
}

/// A payload of 90 bytes among C, F and D.
fn split(parts: [Option<(u64, u64)>; 3], lacks: Value) -> Value {
    let mut shares = visits(&ALL);
    for (place, part) in [2, 4, 5].into_iter().zip(parts) {
        shares[place]["part"] = json!(part);
    }
    let complete = lacks.as_array().is_some_and(Vec::is_empty);
    json!({"result": "1 2 90", "complete": complete, "visits": shares, "missing": lacks})
}

#[test]
fn the_parts_of_a_payload_leave_no_gap() {
    let whole = split([Some((0, 30)), Some((30, 30)), Some((60, 30))], json!([]));
    judged(&whole).assert_holds("overlay/nothing-silent");
    let lacks = json!([{"process": "E", "reason": "late", "part": [30, 60]}]);
    judged(&split([Some((0, 30)), None, None], lacks)).assert_holds("overlay/nothing-silent");
    let stage = judged(&split([Some((0, 30)), None, Some((60, 30))], json!([])));
    stage.assert_broken("overlay/nothing-silent", &["nobody has the bytes 30 to 59"]);
}

#[test]
fn of_a_short_payload_not_everybody_is_asked() {
    let mut answer = split([Some((0, 3)), None, None], json!([]));
    answer["visits"].as_array_mut().expect("a list").truncate(3);
    judged(&answer).assert_holds("overlay/nothing-silent");
}

#[test]
fn who_takes_part_is_as_configured() {
    let mut stage = Stage::new();
    // There is no F, and D is green: nobody behind E.
    for (name, role, mut team, neighbours) in SIX.into_iter().filter(|(name, ..)| *name != "F") {
        team = if name == "D" { "green" } else { team };
        let neighbours = neighbours.iter().filter(|name| **name != "F").copied();
        stage.see(&actor(name, role, team, &neighbours.collect::<Vec<_>>(), 0));
    }
    let answer = text(&[("A", ""), ("B", "A"), ("C", "B"), ("D", "B"), ("E", "A")], &[]);
    stage.promises.answered(stage.at, "overlay", &answer);
    stage.assert_holds("overlay/nothing-silent");
}

#[test]
fn who_has_just_become_something_else_is_not_missed() {
    let mut stage = stage();
    stage.promises.gone(stage.at, "overlay/D");
    let mut late = actor("D", "worker", "pink", &["B", "E"], 0);
    late.started = Some(stage.at);
    stage.see(&late);
    let answer = json!({"result": "A|", "visits": visits(&ALL[..5]), "missing": []});
    stage.promises.answered(stage.at + 9_000, "overlay", &answer);
    stage.assert_unjudged("overlay/nothing-silent");
    stage.promises.answered(stage.at + 10_000, "overlay", &answer);
    stage.assert_broken("overlay/nothing-silent", &["D"]);
}

#[test]
fn of_whom_nothing_was_seen_nobody_is_missed() {
    let mut stage = stage();
    stage.promises.gone(stage.at, "overlay/D");
    stage.promises.answered(stage.at, "overlay", &text(&ALL[..5], &[]));
    stage.assert_holds("overlay/nothing-silent");
}

#[test]
fn limits_that_are_kept_hold_and_others_are_found() {
    let mut stage = stage();
    stage.see(&actor("A", "leader", "green", &["B", "E"], 100));
    stage.assert_holds("overlay/limits");
    stage.see(&actor("A", "leader", "green", &["B", "E"], 101));
    stage.assert_broken("overlay/limits", &["overlay/A: 101 in hand of 100"]);
    let mut stage = Stage::new();
    let mut full = actor("A", "leader", "green", &["B", "E"], 100);
    full.view.as_mut().expect("it has one")["queued"] = 201.into();
    stage.see(&full);
    stage.assert_broken("overlay/limits", &["201 waiting of 200"]);
}

#[test]
fn hostile_answers_are_survived() {
    let many = visits(&vec![("A", ""); 5_000]);
    let most = json!([u64::MAX, u64::MAX.to_string()]);
    let hostile = [
        json!({"result": "A|", "visits": many, "missing": []}),
        json!({"result": "A|", "visits": [{"process": 5}], "missing": []}),
        json!({"result": 7, "visits": visits(&ALL), "missing": []}),
        json!({"result": "A|", "visits": visits(&[("A", "A"), ("B", "B")]), "missing": []}),
        json!({"result": "A|", "visits": visits(&[("Z", "")]), "missing": []}),
        json!({"result": "A|", "visits": [], "missing": [], "complete": true}),
        json!({"result": "", "visits": visits(&ALL), "missing": {}}),
    ];
    let mut stage = stage();
    for answer in &hostile {
        stage.promises.answered(stage.at, "overlay", answer);
    }
    stage.assert_unjudged("overlay/nothing-silent");
    let mut answer = split([None, None, None], json!([]));
    answer["visits"][2]["part"] = most;
    stage.promises.answered(stage.at, "overlay", &answer);
    stage.assert_broken("overlay/nothing-silent", &["the bytes 0 to"]);
}

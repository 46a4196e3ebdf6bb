use std::sync::Arc;

use serde_json::{Value, json};

use super::{FORGET_MS, Identity, Scene, Seen};
use crate::picture::{Direction, Health};

const BYTES: usize = 1 << 20;

fn at(port: u16) -> Arc<str> {
    format!("127.0.0.1:{port}").into()
}

fn known(role: &str, name: &str, started: u64) -> Seen {
    let (role, name) = (role.to_owned(), name.to_owned());
    Seen::Known(Identity { role, name, started: Some(started) })
}

/// A scene with one process that was met at time 1,000.
fn one() -> Scene {
    let mut scene = Scene::new(BYTES);
    scene.see(1_000, &at(1), known("raft-node", "1", 500));
    scene
}

fn frame(scene: &mut Scene, at: u64) -> Value {
    let (_, frame) = scene.frame(at, None).expect("something has changed");
    serde_json::from_str(&frame).expect("JSON")
}

#[test]
fn a_process_appears_changes_and_goes() {
    let mut scene = one();
    let first = frame(&mut scene, 1_000);
    assert_eq!(first["nodes"][0]["key"], "raft/1");
    assert_eq!(first["nodes"][0]["view"], Value::Null);
    assert!(scene.frame(1_001, None).is_none(), "nothing has changed");
    scene.see(1_002, &at(1), Seen::Health(Health::Serving));
    scene.see(1_003, &at(1), Seen::View(r#"{"term":5}"#.to_owned()));
    scene.see(1_004, &at(1), Seen::Event("becomes leader".to_owned()));
    let second = frame(&mut scene, 1_005);
    assert_eq!(second["nodes"][0]["health"], "serving");
    assert_eq!(second["nodes"][0]["since"], 1_002);
    assert_eq!(second["nodes"][0]["view"]["term"], 5);
    assert_eq!(
        second["events"][0],
        json!({ "at": 1_004, "node": "raft/1", "text": "becomes leader" })
    );
    scene.see(1_006, &at(1), Seen::Gone);
    assert_eq!(frame(&mut scene, 1_007)["gone"], json!(["raft/1"]));
    assert!(scene.nodes().is_empty());
    // Who is not known is not heard.
    scene.see(1_008, &at(1), Seen::Health(Health::Serving));
    assert!(scene.frame(1_009, None).is_none());
}

#[test]
fn who_does_not_answer_for_long_is_not_shown() {
    let mut scene = one();
    scene.see(2_000, &at(1), Seen::Health(Health::Unreachable));
    scene.frame(2_000, None);
    assert!(scene.frame(2_000 + FORGET_MS - 1, None).is_none());
    assert_eq!(frame(&mut scene, 2_000 + FORGET_MS)["gone"], json!(["raft/1"]));
    // It comes again.
    scene.see(100_000, &at(1), known("raft-node", "1", 99_000));
    assert_eq!(frame(&mut scene, 100_000)["nodes"][0]["started"], 99_000);
}

#[test]
fn another_process_at_an_address_takes_its_place() {
    let mut scene = one();
    scene.frame(1_000, None);
    scene.see(2_000, &at(1), known("chord-node", "24", 1_500));
    let frame = frame(&mut scene, 2_000);
    assert_eq!(frame["gone"], json!(["raft/1"]));
    assert_eq!(frame["nodes"][0]["key"], "chord/24");
}

#[test]
fn faults_are_marked_until_they_end_or_the_process_begins_anew() {
    let mut scene = one();
    scene.set_faults(1_000, "raft/1", |faults| faults.suspended_until = Some(3_000));
    let faults = |scene: &Scene| serde_json::to_value(&scene.nodes()["raft/1"].faults).unwrap();
    scene.frame(2_999, None);
    assert_eq!(faults(&scene), json!({ "suspended_until": 3_000 }));
    assert_eq!(frame(&mut scene, 3_000)["nodes"][0]["faults"], json!({}));
    scene.set_faults(1_000, "raft/1", |faults| {
        let cut = crate::picture::Cut { peers: vec!["2".into()], direction: Direction::In };
        faults.cut.push(cut);
    });
    // The clocks of two processes are never quite the same.
    scene.see(4_000, &at(1), known("raft-node", "1", 900));
    let cut = json!({ "cut": [{ "peers": ["2"], "direction": "in" }] });
    assert_eq!(faults(&scene), cut);
    scene.see(9_000, &at(1), known("raft-node", "1", 8_000));
    assert_eq!(faults(&scene), json!({}));
}

#[test]
fn whatever_a_process_says_is_bounded_and_text() {
    let mut scene = Scene::new(BYTES);
    let long = "ü".repeat(10_000);
    scene.see(1, &at(1), known(&long, &long, 0));
    let hostile = "<img src=x onerror=alert(1)>".to_owned() + &long;
    scene.see(2, &at(1), Seen::Event(hostile.clone()));
    for nonsense in ["", "{", "[]", "7", "\"text\"", "{\"a\":", &"[".repeat(100_000)] {
        scene.see(3, &at(1), Seen::View(nonsense.to_owned()));
    }
    let large = format!(r#"{{"id":{},"small":7,"list":[{}]}}"#, u64::MAX, u64::MAX);
    scene.see(4, &at(1), Seen::View(large));
    let (_, frame) = scene.frame(5, None).expect("something has changed");
    assert!(frame.len() < 20_000, "{} bytes", frame.len());
    let frame: Value = serde_json::from_str(&frame).expect("JSON");
    let view = &frame["nodes"][0]["view"];
    assert_eq!(view["id"], u64::MAX.to_string());
    assert_eq!(view["list"][0], u64::MAX.to_string());
    assert_eq!(view["small"], 7);
    assert!(frame["events"][0]["text"].as_str().is_some_and(|text| text.starts_with("<img")));
    assert_eq!(frame["events"][1]["text"], "its view makes no sense");
}

#[test]
fn what_was_seen_can_be_told_again_from_any_time() {
    let mut scene = one();
    assert_eq!(scene.history(0, u64::MAX), None);
    for second in 1..60_u64 {
        scene.see(second * 1_000, &at(1), Seen::View(format!(r#"{{"term":{second}}}"#)));
        scene.frame(second * 1_000, None);
    }
    for from in [0, 1_000, 30_500, 59_000, 1 << 40] {
        let told = scene.history(from, from + 5_000).expect("there is some");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        // Before the first there was nothing.
        let mut term = told["snapshot"]["nodes"][0]["view"]["term"].as_u64().unwrap_or(0);
        let began = told["snapshot"]["at"].as_u64().expect("a time");
        assert!(began <= from.max(1_000), "{told}");
        assert_eq!(began, if term == 0 { 1_000 } else { term * 1_000 });
        for frame in told["frames"].as_array().expect("frames") {
            let next = frame["nodes"][0]["view"]["term"].as_u64().expect("a term");
            assert_eq!(next, term + 1, "none is left out");
            term = next;
        }
        let last = (from + 5_000).clamp(1_000, 59_000) / 1_000;
        assert_eq!(term, last.max(began / 1_000), "from {from}");
    }
}

#[test]
fn the_history_takes_no_more_than_it_may() {
    let mut scene = Scene::new(100_000);
    scene.see(0, &at(1), known("raft-node", "1", 0));
    for step in 0..10_000_u64 {
        let text = "x".repeat(500);
        scene.see(step * 100, &at(1), Seen::View(format!(r#"{{"step":{step},"text":"{text}"}}"#)));
        scene.frame(step * 100, None);
    }
    let told = scene.history(0, u64::MAX).expect("there is some");
    assert!((50_000..110_000).contains(&told.len()), "{} bytes", told.len());
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let frames = told["frames"].as_array().expect("frames");
    assert_eq!(frames.last().expect("the newest")["nodes"][0]["view"]["step"], 9_999);
}

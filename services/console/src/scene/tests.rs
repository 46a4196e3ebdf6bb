use std::sync::Arc;

use proto::ensemble::observe::v1::LogLine;
use serde_json::{Value, json};

use super::{FORGET_MS, Identity, LAG_LIMIT, Next, Scene, Seen, history as kept, merged};
use crate::logs::Level;
use crate::picture::{Direction, Health, Told};

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
    let frame = scene.frame(at, None).expect("something has changed");
    serde_json::from_str(frame.json()).expect("JSON")
}

fn history(scene: &Scene, from: u64, to: u64) -> Option<String> {
    let pieces = scene.history(from, to)?.concat();
    Some(String::from_utf8(pieces).expect("text"))
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
fn a_process_that_has_moved_is_heard_at_its_place_alone() {
    let mut scene = one();
    scene.see(1_000, &at(1), Seen::Health(Health::Unreachable));
    // Begun anew elsewhere, it is found there before its name leads away from where it was.
    scene.see(2_000, &at(2), known("raft-node", "1", 1_500));
    scene.see(2_000, &at(2), Seen::Health(Health::Serving));
    scene.see(3_000, &at(1), Seen::Health(Health::Unreachable));
    scene.see(4_000, &at(1), known("chord-node", "24", 3_500));
    scene.see(5_000, &at(1), Seen::Gone);
    let node = scene.nodes().get("raft/1").expect("it is there");
    assert_eq!((&*node.address, node.health), (&*at(2), Health::Serving));
    scene.see(6_000, &at(2), Seen::Gone);
    assert!(scene.nodes().is_empty());
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
    let frame = scene.frame(5, None).expect("something has changed");
    let frame = frame.json();
    assert!(frame.len() < 20_000, "{} bytes", frame.len());
    let frame: Value = serde_json::from_str(frame).expect("JSON");
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
    assert_eq!(history(&scene, 0, u64::MAX), None);
    for second in 1..60_u64 {
        scene.see(second * 1_000, &at(1), Seen::View(format!(r#"{{"term":{second}}}"#)));
        scene.frame(second * 1_000, None);
    }
    for from in [0, 1_000, 30_500, 59_000, 1 << 40] {
        let told = history(&scene, from, from + 5_000).expect("there is some");
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
fn what_happens_after_long_quiet_is_shown_and_what_was_before_is_kept() {
    let mut scene = one();
    scene.frame(1_000, None);
    let later = 2 * kept::KEPT_MS;
    scene.see(later, &at(1), Seen::Event("becomes leader".to_owned()));
    scene.frame(later, None);
    assert!(matches!(scene.after(1), Next::Frame(_)));
    let told = history(&scene, later - 60_000, u64::MAX).expect("there is some");
    assert!(told.contains("becomes leader"), "{told}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["snapshot"]["at"], 1_000);
    // It is not kept for ever.
    for when in [later + 10_000, later + 20_000 + kept::KEPT_MS] {
        scene.see(when, &at(1), Seen::Event("remains leader".to_owned()));
        scene.frame(when, None);
    }
    let told = history(&scene, 0, u64::MAX).expect("there is some");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["snapshot"]["at"], later + 10_000);
}

#[test]
fn a_history_that_had_no_room_begins_again_with_everything_there_is() {
    let mut scene = Scene::new(5_000);
    let pad = |length: usize| Seen::View(format!(r#"{{"pad":"{}"}}"#, "x".repeat(length)));
    for id in [1, 2] {
        scene.see(1_000, &at(id), known("raft-node", &id.to_string(), 500));
    }
    scene.frame(1_000, None);
    for (step, length) in [(1_100, 10_000), (1_200, 10)] {
        scene.see(step, &at(1), pad(length));
        scene.frame(step, None);
    }
    let told = history(&scene, 0, u64::MAX).expect("there is some");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let nodes = told["snapshot"]["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 2, "{told}");
    assert_eq!(told["frames"][0]["number"], 3);
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
    let told = history(&scene, 0, u64::MAX).expect("there is some");
    assert!((50_000..110_000).contains(&told.len()), "{} bytes", told.len());
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let frames = told["frames"].as_array().expect("frames");
    assert_eq!(frames.last().expect("the newest")["nodes"][0]["view"]["step"], 9_999);
}

#[test]
fn the_traffic_of_a_process_is_shown_until_it_falls_silent() {
    let mut scene = one();
    scene.frame(1_000, None);
    let sent = |count| [("2".to_owned(), count)].into();
    scene.see(1_000, &at(1), Seen::Traffic(5_000_000, sent(100)));
    assert!(scene.frame(1_100, None).is_none(), "one count is no rate");
    scene.see(2_000, &at(1), Seen::Traffic(6_000_000, sent(120)));
    assert_eq!(frame(&mut scene, 2_000)["nodes"][0]["traffic"], json!({ "2": 20 }));
    scene.see(3_000, &at(1), Seen::Traffic(7_000_000, sent(141)));
    assert!(scene.frame(3_000, None).is_none(), "it is steady");
    assert!(scene.frame(5_000, None).is_none());
    assert_eq!(frame(&mut scene, 6_000)["nodes"][0]["traffic"], Value::Null);
    let million = (0..1_000_000).map(|peer: u32| (peer.to_string(), 1)).collect();
    scene.see(7_000, &at(1), Seen::Traffic(9_000_000, million));
    let refused = frame(&mut scene, 7_000);
    assert_eq!(refused["nodes"], json!([]));
    assert_eq!(refused["events"][0]["text"], "its traffic makes no sense: 1000000 peers");
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let mut scene = one();
    let [late, early] = [10_000_000, 5_000_000];
    let line = LogLine { fields: "{}".into(), ..LogLine::default() };
    scene.see(late, &at(1), Seen::Log(line.clone()));
    for second in 0..2 {
        let sent = [("2".to_owned(), 20 * second)].into();
        scene.see(late, &at(1), Seen::Traffic(second * 1_000_000, sent));
    }
    assert_eq!(frame(&mut scene, late)["nodes"][0]["traffic"], json!({ "2": 20 }));
    scene.see(early, &at(1), Seen::Log(line));
    let told = frame(&mut scene, early);
    assert_eq!(told["logs"], json!({ "raft/1": 2 }));
    assert_eq!(told["nodes"][0]["traffic"], Value::Null, "it may have fallen silent");
    assert_eq!(scene.judged, early);
    let told = history(&scene, early, u64::MAX).expect("there is some");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["snapshot"]["at"], early);
}

#[test]
fn who_begins_anew_after_the_clock_was_set_back_is_another_process() {
    let mut scene = Scene::new(BYTES);
    for (met, commits) in [(10_000_000, [7, 8]), (5_000_000, [0, 1])] {
        scene.see(met, &at(1), known("raft-node", "1", met - 1_000));
        scene.see(met, &at(1), Seen::Health(Health::Serving));
        for commit in commits {
            let view = json!({"id": 1, "role": "follower", "term": 5, "leader": 2, "vote": 2,
                "first": 1, "last": 9, "commit": commit, "applied": commit, "snapshot": 0,
                "members": []});
            scene.see(met + 5_000, &at(1), Seen::View(view.to_string()));
        }
        scene.see(met + 6_000, &at(1), Seen::Health(Health::Unreachable));
    }
    let forward = scene.promises.all().into_iter().find(|it| it.id == "raft/forward");
    assert_eq!(forward.expect("it is promised").holds, Some(true));
}

#[test]
fn a_view_says_when_it_was_seen() {
    let mut scene = one();
    scene.see(2_000, &at(1), Seen::View(r#"{"term":5}"#.to_owned()));
    scene.see(3_000, &at(1), Seen::Health(Health::Serving));
    assert_eq!(frame(&mut scene, 3_000)["nodes"][0]["viewed"], 2_000);
}

#[test]
fn pages_are_told_that_a_log_is_longer_and_not_what_is_in_it() {
    let mut scene = one();
    scene.frame(1_000, None);
    let line = LogLine { message: "a secret".into(), fields: "{}".into(), ..LogLine::default() };
    scene.see(2_000, &at(1), Seen::Log(line.clone()));
    let told = scene.frame(2_000, None).expect("there is a line");
    assert!(!told.json().contains("a secret"), "{}", told.json());
    let told: Value = serde_json::from_str(told.json()).expect("JSON");
    assert_eq!((&told["logs"], &told["nodes"]), (&json!({ "raft/1": 1 }), &json!([])));
    let list = scene.log("raft/1", Level::Info, 0).expect("it is there");
    assert_eq!(list["lines"][0]["message"], "a secret");
    assert_eq!(scene.log("raft/2", Level::Info, 0), None);
    let snapshot: Value = serde_json::from_str(scene.snapshot(3_000).json()).expect("JSON");
    assert_eq!(snapshot["logs"], json!({ "raft/1": 1 }));
    scene.see(4_000, &at(1), Seen::Gone);
    scene.see(5_000, &at(1), Seen::Log(line));
    assert_eq!(scene.log("raft/1", Level::Info, 0), None, "who is not known is not heard");
}

#[test]
fn what_is_long_past_becomes_coarse_before_it_is_forgotten() {
    let mut scene = Scene::new(300_000);
    scene.see(0, &at(1), known("raft-node", "1", 0));
    scene.see(0, &at(2), known("raft-node", "2", 0));
    let pad = "x".repeat(400);
    for step in 0..2_400_u64 {
        let view = |id: u64| Seen::View(format!(r#"{{"id":{id},"step":{step},"pad":"{pad}"}}"#));
        scene.see(step * 50, &at(1), view(1));
        if step % 2 == 0 {
            scene.see(step * 50, &at(2), view(2));
        }
        if step % 20 == 0 {
            scene.see(step * 50, &at(1), Seen::Event(step.to_string()));
        }
        scene.frame(step * 50, None);
    }
    let told = history(&scene, 0, u64::MAX).expect("there is some");
    assert!(told.len() < 300_000, "{} bytes", told.len());
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let began = told["snapshot"]["at"].as_u64().expect("a time");
    assert!(began < 30_000, "of two minutes nearly all is there, from {began} ms on");
    let frames = told["frames"].as_array().expect("frames");
    let mut events = (began / 1_000 + 1..120).map(|second| (second * 20).to_string());
    let mut last = [0, 0];
    for frame in frames {
        for node in frame["nodes"].as_array().expect("nodes") {
            let id = node["view"]["id"].as_u64().expect("an id") as usize;
            let step = node["view"]["step"].as_u64().expect("a number");
            assert!(last[id - 1] < step, "in order, and each once");
            last[id - 1] = step;
            assert!(step * 50 <= frame["at"].as_u64().expect("a time"));
        }
        for event in frame["events"].as_array().expect("events") {
            if event["at"].as_u64().expect("a time") > began {
                assert_eq!(event["text"].as_str(), events.next().as_deref(), "none is left out");
            }
        }
    }
    assert_eq!(last, [2_399, 2_398]);
    assert_eq!(events.next(), None);
    let fine = frames.iter().rev().take(30).map(|frame| frame["at"].as_u64().expect("a time"));
    assert!(fine.is_sorted_by(|one, other| one - other == 50), "the newest are as they were");
}

#[test]
fn who_went_and_came_again_is_there_in_a_frame_of_both() {
    let gone = Told::new("frame", 1, &json!({"at": 1, "nodes": [], "gone": ["a", "b"]}));
    let again = json!({"at": 2, "nodes": [{"key": "a"}], "gone": ["c"], "spans": {"kept": 1}});
    let again = Told::new("frame", 2, &again);
    let both = merged::merged(2, [&gone, &again].into_iter()).expect("they make sense");
    let both: Value = serde_json::from_str(both.json()).expect("JSON");
    let expected = json!({"at": 2, "nodes": [{"key": "a"}], "gone": ["b", "c"],
        "spans": {"kept": 1}});
    assert_eq!(both, expected);
}

#[test]
fn a_viewer_is_shown_every_frame_once_or_everything_anew() {
    let mut scene = one();
    assert!(matches!(scene.after(0), Next::Nothing));
    for step in 1..=LAG_LIMIT {
        scene.see(step, &at(1), Seen::View(format!(r#"{{"step":{step}}}"#)));
        scene.frame(step, None);
    }
    for seen in 0..LAG_LIMIT {
        let Next::Frame(frame) = scene.after(seen) else { panic!("{seen} has one after it") };
        let frame: Value = serde_json::from_str(frame.json()).expect("JSON");
        assert_eq!(frame["number"], seen + 1);
    }
    assert!(matches!(scene.after(LAG_LIMIT), Next::Nothing));
    scene.see(1_000, &at(1), Seen::Health(Health::Serving));
    scene.frame(1_000, None);
    assert!(matches!(scene.after(0), Next::Anew), "it lags too far behind");
    assert!(matches!(scene.after(1), Next::Frame(_)));
}

#[test]
fn frames_for_which_there_is_no_room_are_shown_as_everything_anew() {
    let mut scene = Scene::new(1_000);
    scene.see(1, &at(1), known("raft-node", "1", 0));
    scene.see(1, &at(1), Seen::View(format!(r#"{{"pad":"{}"}}"#, "x".repeat(2_000))));
    scene.frame(1, None);
    assert!(matches!(scene.after(0), Next::Anew));
    assert!(matches!(scene.after(1), Next::Nothing));
}

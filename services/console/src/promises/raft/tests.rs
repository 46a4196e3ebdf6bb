//! Histories of a cluster of three.

mod votes;

use serde_json::{Value, json};

use super::terms::TERMS_LIMIT;
use crate::promises::tests::{Actor, BEGIN, Stage};

/// What a server shows, as far as a history needs it.
fn view(id: u64, role: &str, term: u64, leader: Option<u64>, marks: [u64; 2]) -> Value {
    let [commit, last] = marks;
    let matched = |other: u64| (role == "leader").then_some(if other == id { last } else { 0 });
    let member = |other: u64| {
        let matched = matched(other);
        json!({"id": other, "address": "x", "standing": "voter", "matched": matched})
    };
    json!({"id": id, "role": role, "term": term, "leader": leader, "vote": leader, "first": 1,
        "last": last, "commit": commit, "applied": commit, "snapshot": 0, "log_bytes": 0,
        "members": [member(1), member(2), member(3)], "change_pending": false, "ignored": 0})
}

fn follower(id: u64, term: u64, leader: u64, marks: [u64; 2]) -> Actor {
    Actor::new(&format!("raft/{id}"), view(id, "follower", term, Some(leader), marks))
}

fn leader(id: u64, term: u64, marks: [u64; 2]) -> Actor {
    Actor::new(&format!("raft/{id}"), view(id, "leader", term, Some(id), marks))
}

fn with(mut actor: Actor, name: &str, value: Value) -> Actor {
    actor.view.as_mut().expect("it has one")[name] = value;
    actor
}

fn counting(actor: Actor, on: u64, matched: u64) -> Actor {
    let mut members = actor.view.as_ref().expect("it has one")["members"].clone();
    members[on as usize - 1]["matched"] = matched.into();
    with(actor, "members", members)
}

/// The same, of a process that has just begun.
fn restarted(mut actor: Actor, stage: &Stage) -> Actor {
    actor.started = Some(stage.at - 500);
    actor
}

/// Three elections with entries in between; what each server shows is 0 to 900 ms old.
fn play(stage: &mut Stage) {
    let mut last = 10;
    for term in 1..=3 {
        let leads = 1 + term % 3;
        for _ in 0..20 {
            last += 3;
            for id in [1, 2, 3] {
                let old = 3 * (id - 1);
                let marks: [u64; 2] = [last - old - 3, last - old];
                let counted = marks[1].saturating_sub(6);
                let actor = match id == leads {
                    true => counting(leader(id, term, marks), 1 + id % 3, counted),
                    false => follower(id, term, leads, marks),
                };
                stage.see(&actor);
                stage.pass(300);
            }
        }
        let next = 1 + (term + 1) % 3;
        let old = 3 * (next - 1);
        let stands = view(next, "candidate", term + 1, None, [last - old - 3, last - old]);
        let stands = with(Actor::new(&format!("raft/{next}"), stands), "vote", next.into());
        stage.see(&stands);
    }
}

#[test]
fn all_promises_hold_over_a_history_of_elections() {
    let mut stage = Stage::new();
    play(&mut stage);
    for promise in stage.promises.all().into_iter().filter(|it| it.system == "raft") {
        assert_eq!(promise.holds, Some(true), "{promise:?}");
        assert!(promise.checked > 20, "{promise:?}");
    }
}

#[test]
fn two_leaders_in_a_term_are_found_whenever_each_was_seen() {
    let mut stage = Stage::new();
    stage.see(&leader(2, 5, [1, 1]));
    stage.pass(30_000);
    stage.see(&leader(3, 6, [1, 2]));
    stage.assert_holds("raft/one-leader");
    stage.see(&leader(3, 5, [1, 1]));
    stage.assert_broken("raft/one-leader", &["term 5", "node 2 led at", "node 3 led at"]);
}

#[test]
fn a_leader_that_only_a_follower_names_counts() {
    let mut stage = Stage::new();
    stage.see(&follower(1, 5, 2, [1, 1]));
    stage.see(&follower(3, 5, 1, [1, 1]));
    stage.assert_broken("raft/one-leader", &["says raft/1", "says raft/3"]);
}

#[test]
fn an_old_leader_that_does_not_know_of_the_next_is_no_second() {
    let mut stage = Stage::new();
    stage.see(&leader(2, 5, [1, 4]));
    stage.see(&leader(3, 6, [1, 2]));
    stage.see(&leader(2, 5, [1, 5]));
    stage.assert_nothing_broken();
}

#[test]
fn a_cluster_that_is_made_anew_may_begin_with_its_terms_again() {
    let mut stage = Stage::new();
    for term in [1, 2] {
        stage.see(&leader(2, term, [7, 9]));
        stage.see(&follower(1, term, 2, [7, 9]));
        stage.see(&follower(3, term, 2, [7, 9]));
        stage.pass(5_000);
    }
    // Stopped, its disks emptied, started.
    for (index, commit) in [1, 2, 3].into_iter().zip(1..) {
        let actor = restarted(leader(3, index, [0, commit]), &stage);
        stage.see(&actor);
        for id in [1, 2] {
            let actor = restarted(follower(id, index, 3, [0, commit]), &stage);
            stage.see(&Actor { started: Some(BEGIN + 12_000), ..actor });
        }
        stage.pass(4_000);
    }
    stage.assert_nothing_broken();
}

#[test]
fn a_leader_after_a_restart_is_a_second_if_somebody_ran_all_the_while() {
    let mut stage = Stage::new();
    stage.see(&leader(2, 5, [1, 1]));
    stage.see(&follower(1, 5, 2, [1, 1]));
    stage.pass(10_000);
    let second = restarted(leader(3, 5, [0, 1]), &stage);
    stage.see(&second);
    stage.assert_holds("raft/one-leader");
    stage.pass(3_000);
    stage.see(&follower(1, 5, 2, [1, 2]));
    stage.assert_broken("raft/one-leader", &["term 5"]);
}

#[test]
fn marks_that_go_back_in_one_process_are_found() {
    for (name, value) in [("term", 4), ("commit", 6), ("applied", 6)] {
        let mut stage = Stage::new();
        stage.see(&follower(1, 5, 2, [7, 9]));
        stage.pass(100);
        stage.see(&follower(1, 5, 2, [8, 9]));
        stage.assert_holds("raft/forward");
        stage.see(&with(follower(1, 5, 2, [8, 9]), name, value.into()));
        let what = if name == "commit" { "committed" } else { name };
        stage.assert_broken("raft/forward", &["raft/1", what, &format!("{value} at")]);
    }
}

#[test]
fn a_restarted_node_may_show_less_until_it_has_read_its_log() {
    let mut stage = Stage::new();
    let before = follower(1, 5, 2, [7, 9]);
    stage.see(&before);
    stage.pass(100);
    stage.see(&with(before.clone(), "ignored", 1.into()));
    stage.see(&Actor { reachable: false, ..before.clone() });
    stage.pass(100);
    // It is known to have begun before it shows a view: what is there is left over.
    let left_over = with(before.clone(), "ignored", 1.into());
    stage.see(&Actor { started: Some(stage.at), ..left_over });
    let anew = with(view_of(0), "vote", 2.into());
    stage.see(&Actor { started: Some(stage.at), ..anew });
    stage.pass(100);
    stage.see(&Actor { started: Some(stage.at - 100), ..view_of(9) });
    stage.assert_nothing_broken();

    fn view_of(commit: u64) -> Actor {
        follower(1, 5, 2, [commit, 9])
    }
}

#[test]
fn a_process_too_young_to_be_told_from_the_one_before_is_not_compared() {
    let mut stage = Stage::new();
    let young = Some(stage.at - 300);
    stage.see(&Actor { started: young, ..follower(1, 5, 2, [7, 9]) });
    stage.pass(600);
    stage.see(&Actor { started: young, ..follower(1, 5, 2, [0, 9]) });
    stage.assert_unjudged("raft/forward");
}

#[test]
fn without_a_beginning_nothing_is_compared_over_time() {
    let mut stage = Stage::new();
    for commit in [7, 0, 5] {
        stage.see(&Actor { started: None, ..leader(1, 5, [commit, 9]) });
        stage.see(&Actor { started: None, ..leader(2, 5, [commit, 9]) });
        stage.pass(9_000);
    }
    stage.assert_nothing_broken();
    stage.assert_unjudged("raft/forward");
    stage.assert_holds("raft/in-order");
}

#[test]
fn marks_out_of_order_are_found() {
    let wrong = [("snapshot", 8), ("applied", 8), ("commit", 10), ("first", 9)];
    for (name, value) in wrong {
        let mut stage = Stage::new();
        let right = with(with(follower(1, 5, 2, [7, 9]), "snapshot", 6.into()), "first", 7.into());
        stage.see(&right);
        stage.assert_holds("raft/in-order");
        stage.see(&with(right, name, value.into()));
        stage.assert_broken("raft/in-order", &["raft/1", &value.to_string()]);
    }
}

#[test]
fn a_leader_without_what_was_committed_before_it_is_found() {
    let mut stage = Stage::new();
    stage.see(&leader(2, 5, [40, 50]));
    stage.pass(100);
    stage.see(&leader(2, 5, [41, 50]));
    stage.see(&leader(3, 5, [0, 39]));
    stage.see(&leader(3, 6, [0, 40]));
    stage.assert_holds("raft/leader-has-all");
    stage.see(&leader(1, 7, [0, 39]));
    let words = ["raft/1 leads in term 7", "up to 39", "40 was committed in term 5"];
    stage.assert_broken("raft/leader-has-all", &words);
}

#[test]
fn what_only_one_view_shows_committed_may_never_have_been_written() {
    let mut stage = Stage::new();
    stage.see(&leader(2, 5, [40, 50]));
    stage.pass(100);
    stage.see(&leader(3, 6, [30, 39]));
    stage.assert_nothing_broken();
}

#[test]
fn a_log_that_loses_what_its_leader_counts_on_is_found() {
    let mut stage = Stage::new();
    stage.see(&follower(1, 5, 2, [10, 20]));
    stage.see(&counting(leader(2, 5, [20, 20]), 1, 20));
    stage.pass(6_000);
    stage.see(&follower(1, 5, 2, [10, 21]));
    stage.assert_holds("raft/copies-stay");
    stage.see(&follower(1, 5, 2, [10, 19]));
    stage.assert_broken("raft/copies-stay", &["raft/1", "up to 20", "ends with 19"]);
}

#[test]
fn a_log_may_be_shown_later_than_its_leader_counts_on_it() {
    let mut stage = Stage::new();
    for last in (10..100).step_by(10) {
        stage.see(&counting(leader(2, 5, [last, last]), 1, last));
        stage.pass(900);
        stage.see(&follower(1, 5, 2, [0, last - 10]));
    }
    stage.assert_holds("raft/copies-stay");
}

#[test]
fn a_log_may_be_cut_by_a_later_leader_and_be_shorter_on_another_disk() {
    let mut stage = Stage::new();
    stage.see(&follower(1, 5, 2, [10, 20]));
    stage.see(&counting(leader(2, 5, [10, 20]), 1, 20));
    stage.pass(6_000);
    stage.see(&follower(1, 6, 3, [10, 15]));
    stage.see(&counting(leader(3, 6, [15, 15]), 1, 15));
    stage.pass(6_000);
    let empty = restarted(follower(1, 6, 3, [0, 0]), &stage);
    stage.see(&empty);
    stage.assert_nothing_broken();
}

#[test]
fn terms_are_remembered_up_to_a_limit() {
    let mut stage = Stage::new();
    let odd = |term: u64| u64::MAX - term.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for term in 0..3 * TERMS_LIMIT as u64 {
        stage.see(&leader(1 + term % 3, odd(term), [1, 1]));
    }
    assert_eq!(stage.promises.raft.terms.len(), TERMS_LIMIT);
}

#[test]
fn another_servers_view_is_not_judged() {
    let mut stage = Stage::new();
    let mut actor = leader(2, 5, [9, 1]);
    actor.key = "raft/1".into();
    stage.see(&actor);
    stage.assert_unjudged("raft/in-order");
}

#[test]
fn large_numbers_may_be_text() {
    let mut stage = Stage::new();
    let large = (1_u64 << 60).to_string();
    let actor = with(follower(1, 5, 2, [7, 9]), "last", large.into());
    stage.see(&actor);
    stage.assert_holds("raft/in-order");
}

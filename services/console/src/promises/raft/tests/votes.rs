//! Histories of votes.

use serde_json::json;

use super::{follower, restarted, with};
use crate::promises::tests::Stage;

#[test]
fn a_vote_that_changes_or_is_taken_back_is_found() {
    for vote in [json!(3), json!(null)] {
        let mut stage = Stage::new();
        stage.see(&with(follower(1, 5, 2, [1, 1]), "vote", json!(null)));
        stage.see(&follower(1, 5, 2, [1, 1]));
        stage.pass(10);
        stage.see(&follower(1, 5, 2, [1, 2]));
        stage.assert_holds("raft/one-vote");
        stage.see(&with(follower(1, 5, 2, [1, 2]), "vote", vote));
        stage.assert_broken("raft/one-vote", &["raft/1", "in term 5 for 2 at"]);
    }
}

#[test]
fn a_vote_in_another_term_is_another_vote() {
    let mut stage = Stage::new();
    stage.see(&follower(1, 5, 2, [1, 1]));
    stage.see(&with(follower(1, 6, 3, [1, 1]), "leader", json!(null)));
    stage.see(&with(follower(1, 7, 3, [1, 1]), "vote", json!(null)));
    stage.assert_nothing_broken();
}

/// Server 1 shows a vote twice or once, restarts, and shows another one.
fn vote_over_a_restart(shown: u64, ran: bool, last: u64) -> Stage {
    let mut stage = Stage::new();
    stage.see(&follower(3, 5, 2, [1, 1]));
    for number in 0..shown {
        stage.see(&with(follower(1, 5, 2, [1, 1]), "ignored", number.into()));
        stage.pass(50);
    }
    stage.pass(5_000);
    let again = with(follower(1, 5, 2, [0, last]), "vote", 3.into());
    let again = restarted(again, &stage);
    stage.see(&again);
    stage.pass(5_000);
    if ran {
        stage.see(&follower(3, 5, 2, [1, 2]));
    }
    stage.pass(1_000);
    stage
}

#[test]
fn a_vote_that_is_forgotten_over_a_restart_is_found() {
    let stage = vote_over_a_restart(2, true, 1);
    stage.assert_broken("raft/one-vote", &["raft/1: in term 5 for 2", "began anew for 3"]);
}

#[test]
fn a_vote_that_may_not_have_been_written_may_change_over_a_restart() {
    vote_over_a_restart(1, true, 1).assert_nothing_broken();
}

#[test]
fn a_vote_may_change_when_the_whole_cluster_or_the_disk_may_be_another() {
    vote_over_a_restart(2, false, 1).assert_nothing_broken();
    vote_over_a_restart(3, true, 0).assert_nothing_broken();
}

//! What the command line answers without anything running.

use crate::site::Site;

#[test]
fn a_malformed_file_is_named_with_line_and_column() {
    let site = Site::new();
    site.write("compose.yaml", "services:\n  s:\n   - [a\n  t: 1\n");
    let error = site.fail(&["up"], 1);
    assert!(error.starts_with("ensemble: "), "{error}");
    assert!(error.contains("compose.yaml: "), "{error}");
    assert!(error.contains("line 3, column 4"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_bad_expression_is_named_with_file_service_and_place() {
    let site = Site::new();
    let text = "services:\n  s:\n    environment: { A: '${B:?set B to a number}' }\n";
    site.write("compose.yaml", text);
    let error = site.fail(&[], 1);
    let expected =
        "compose.yaml: service s: environment A: `${B:?set B to a number}`: set B to a number\n";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let site = Site::new();
    let error = site.fail(&["--file", "nowhere.yaml"], 1);
    assert!(error.contains("cannot read "), "{error}");
    assert!(error.contains("nowhere.yaml"), "{error}");
}

#[test]
fn an_unknown_profile_is_refused_with_those_there_are() {
    let error = Site::new().fail(&["up", "overly"], 1);
    assert!(error.contains("has no profile overly: do you mean overlay?"), "{error}");
}

#[test]
fn usage_errors_exit_with_2() {
    let site = Site::new();
    assert!(site.fail(&["dwon"], 2).contains("'down'"));
    site.fail(&["up", "--host", "one"], 2);
    site.fail(&["certs", "--days", "0"], 2);
}

#[test]
fn roles_are_listed_and_misspelt_ones_corrected() {
    let site = Site::new();
    let list = site.succeed(&["role"]);
    for role in ["host", "overlay-leader", "overlay-team-leader", "overlay-worker"] {
        assert!(list.lines().any(|line| line.starts_with(role)), "{list}");
    }
    assert!(site.succeed(&["role", "overlay-worker", "--help"]).contains("OVERLAY_ID"));
    let error = site.fail(&["role", "overlay-wroker"], 1);
    assert!(error.contains("do you mean overlay-worker?"), "{error}");
}

#[test]
fn every_shell_gets_completions() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(site.succeed(&["completions", shell]).contains("completions"), "{shell}");
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let site = Site::new();
    let commands =
        ["up", "ps", "logs", "down", "health", "certs", "raft", "chord", "role", "completions"];
    for command in commands {
        let help = site.succeed(&[command, "--help"]);
        assert!(help.contains("Examples:\n  "), "{command}: {help}");
        assert!(help.contains(&format!("ensemble {command}")), "{command}: {help}");
    }
}

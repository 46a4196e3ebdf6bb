//! What is wrong with a file of processes, all at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocols::overlay::Role;

use crate::config::{self, Config, Process};

/// Every problem of a file, as a sentence that names the process; empty when there is none.
pub fn lint(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, process) in &config.processes {
        words(key, process, &mut problems);
        edges(key, process, config, &mut problems);
    }
    addresses(config, &mut problems);
    leaders(config, &mut problems);
    problems
}

fn words(key: &str, process: &Process, problems: &mut Vec<String>) {
    if process.id != key {
        problems.push(format!("{key}: its id is {}; make both the same", process.id));
    }
    if config::role(&process.role).is_none() {
        let role = &process.role;
        problems.push(format!("{key}: unknown role {role}; use leader, team_leader or worker"));
    }
    if config::team(&process.team).is_none() {
        problems.push(format!("{key}: unknown team {}; use green or pink", process.team));
    }
    if process.port == 0 {
        problems.push(format!("{key}: port 0 is no address that others can know"));
    }
    if process.host.trim().is_empty() {
        problems.push(format!("{key}: its host is empty"));
    }
}

fn edges(key: &str, process: &Process, config: &Config, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for neighbour in &process.neighbors {
        if neighbour == key {
            problems.push(format!("{key}: is its own neighbour"));
        } else if !seen.insert(neighbour) {
            problems.push(format!("{key}: names its neighbour {neighbour} twice"));
        } else if let Some(other) = config.processes.get(neighbour) {
            if !other.neighbors.iter().any(|name| name == key) {
                problems.push(format!(
                    "{key}: names {neighbour} as its neighbour, which does not name {key}: the \
                     edge is one-sided; add {key} to the neighbors of {neighbour}"
                ));
            }
        } else {
            problems.push(format!("{key}: its neighbour {neighbour} does not exist"));
        }
    }
}

fn addresses(config: &Config, problems: &mut Vec<String>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for (key, process) in &config.processes {
        let address = process.address();
        if let Some(other) = taken.insert(address.clone(), key) {
            problems.push(format!("{key}: has the address {address} of {other}; give it another"));
        }
    }
}

/// Whoever no leader reaches will never get work.
fn leaders(config: &Config, problems: &mut Vec<String>) {
    let is = |key: &str, role: Role| {
        config.processes.get(key).and_then(|p| config::role(&p.role)) == Some(role)
    };
    let mut queue: VecDeque<&str> =
        config.processes.keys().map(String::as_str).filter(|key| is(key, Role::Leader)).collect();
    if queue.is_empty() {
        problems.push("there is no leader: nobody has a queue".into());
        return;
    }
    let mut reached: BTreeSet<&str> = queue.iter().copied().collect();
    while let Some(key) = queue.pop_front() {
        let Some(process) = config.processes.get(key) else { continue };
        for next in process.neighbors.iter().map(String::as_str) {
            // Work flows from leaders to team leaders to workers.
            let flows = match config::role(&process.role) {
                Some(Role::Leader) => !is(next, Role::Leader),
                Some(Role::TeamLeader) => is(next, Role::Worker),
                Some(Role::Worker) | None => false,
            };
            if flows && config.processes.contains_key(next) && reached.insert(next) {
                queue.push_back(next);
            }
        }
    }
    for key in config.processes.keys().filter(|key| !reached.contains(key.as_str())) {
        problems.push(format!(
            "{key}: no leader reaches it; make it a neighbour of a team leader or a leader"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(changes: &[(&str, &str)]) -> Vec<String> {
        let mut text = crate::TWO_HOSTS.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        lint(&Config::parse(&text).unwrap())
    }

    #[test]
    fn the_documents_file_is_sound() {
        assert_eq!(problems(&[]), [""; 0]);
    }

    #[test]
    fn each_problem_is_named_with_its_process() {
        for (from, to, expected) in [
            ("[\"E\"]", "[]", "E: names F as its neighbour, which does not name E"),
            ("\"team\": \"pink\"", "\"team\": \"blue\"", "D: unknown team blue"),
            ("50056", "50055", "F: has the address 192.168.1.2:50055 of E"),
            ("\"role\": \"leader\"", "\"role\": \"worker\"", "there is no leader"),
            ("[\"B\", \"E\"]", "[\"B\", \"Z\"]", "A: its neighbour Z does not exist"),
        ] {
            let found = problems(&[(from, to)]);
            assert!(found.iter().any(|problem| problem.contains(expected)), "{found:?}");
        }
    }

    #[test]
    fn a_process_that_no_leader_reaches_is_found() {
        let found = problems(&[("[\"A\", \"F\", \"D\"]", "[\"A\", \"D\"]"), ("[\"E\"]", "[]")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("F: no leader reaches it"));
    }
}

//! The file of processes, with the document's keys: `processes.<id>.{id, role, team, host, port,
//! neighbors}`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use protocols::NodeId;
use protocols::overlay::{Place, Role, Team, Topology};
use serde::Deserialize;

/// The most processes in one file: a request names those that it has passed.
const PROCESS_LIMIT: usize = 256;
/// The longest file, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The processes by id.
    pub processes: BTreeMap<String, Process>,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its id, the same as its key.
    pub id: String,
    /// `leader`, `team_leader` or `worker`.
    pub role: String,
    /// `green` or `pink`.
    pub team: String,
    /// Where it is: an address or a name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Ids of its neighbours; their order is the order of its answers.
    pub neighbors: Vec<String>,
}

impl Process {
    /// `host:port`.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The role that a word of the file means.
pub fn role(word: &str) -> Option<Role> {
    [Role::Leader, Role::TeamLeader, Role::Worker].into_iter().find(|role| role.name() == word)
}

/// The team that a word of the file means.
pub fn team(word: &str) -> Option<Team> {
    Team::ALL.into_iter().find(|team| team.name() == word)
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Names the file, and the line and column of what is malformed.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let length = fs::metadata(path).with_context(|| format!("{name}"))?.len();
        if length > FILE_LIMIT {
            bail!("{name}: {length} bytes; a file of processes has at most {FILE_LIMIT}");
        }
        let text = fs::read_to_string(path).with_context(|| format!("{name}"))?;
        Self::parse(&text).with_context(|| format!("{name}"))
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// Names the line and column of what is malformed, and what was expected.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = serde_json::from_str(text)?;
        if config.processes.is_empty() || config.processes.len() > PROCESS_LIMIT {
            bail!("processes: {}; there must be 1 to {PROCESS_LIMIT}", config.processes.len());
        }
        Ok(config)
    }

    /// Moves processes: `A=192.168.1.1:50051,B=…`.
    ///
    /// # Errors
    ///
    /// Names the entry that is malformed or whose process is not in the file.
    pub fn relocate(&mut self, addresses: &str) -> anyhow::Result<()> {
        for entry in addresses.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let parse = || {
                let (id, address) = entry.split_once('=')?;
                let (host, port) = address.rsplit_once(':')?;
                let host = host.trim_matches(['[', ']']);
                let one = !host.is_empty() && !host.contains([' ', '=']);
                let port: u16 = port.parse().ok().filter(|&port| port > 0)?;
                one.then_some((id.trim(), host, port))
            };
            let (id, host, port) = parse().with_context(|| {
                format!("{entry}: expected ID=HOST:PORT, the port 1 to 65535, then a comma")
            })?;
            let known = self.processes.keys().cloned().collect::<Vec<_>>().join(", ");
            let process = self.processes.get_mut(id).with_context(|| {
                format!("{entry}: there is no process {id} in the file, only {known}")
            })?;
            (process.host, process.port) = (host.into(), port);
        }
        Ok(())
    }

    /// The process of this id.
    ///
    /// # Errors
    ///
    /// Lists the ids that there are.
    pub fn process(&self, id: &str) -> anyhow::Result<&Process> {
        self.processes.get(id).with_context(|| {
            let known: Vec<_> = self.processes.keys().map(String::as_str).collect();
            format!("there is no process {id}; there are {}", known.join(", "))
        })
    }

    /// What the protocol is told. Ids are numbered in their order, from 1.
    ///
    /// # Errors
    ///
    /// When a role, team or neighbour is unknown, or a key and its id differ.
    pub fn topology(&self) -> anyhow::Result<Topology> {
        let numbers: BTreeMap<&str, NodeId> =
            self.processes.keys().map(String::as_str).zip((1..).map(NodeId)).collect();
        let mut topology = Topology::default();
        for (key, process) in &self.processes {
            let at = |field: &str| format!("processes.{key}.{field}");
            if *key != process.id {
                bail!("{} is {}, not {key}", at("id"), process.id);
            }
            let role = role(&process.role).with_context(|| {
                format!("{}: {}; expected leader, team_leader or worker", at("role"), process.role)
            })?;
            let team = team(&process.team).with_context(|| {
                format!("{}: {}; expected green or pink", at("team"), process.team)
            })?;
            let number = |name: &String| {
                let number = numbers.get(name.as_str()).copied();
                let known = number.filter(|_| name != key);
                known.with_context(|| format!("{}: {name} is no other process", at("neighbors")))
            };
            let mut neighbours = Vec::new();
            for name in &process.neighbors {
                let neighbour = number(name)?;
                if neighbours.contains(&neighbour) {
                    bail!("{}: {name} twice", at("neighbors"));
                }
                neighbours.push(neighbour);
            }
            let place = Place { name: key.clone(), role, team, neighbours };
            topology.places.insert(numbers[key.as_str()], place);
        }
        Ok(topology)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let parsed = Config::parse(text).and_then(|config| config.topology());
        format!("{:#}", parsed.unwrap_err())
    }

    #[test]
    fn the_documents_file_is_the_documents_topology() {
        let config = Config::parse(crate::TWO_HOSTS).unwrap();
        assert_eq!(config.topology().unwrap(), Topology::two_hosts());
        assert_eq!(config.process("E").unwrap().address(), "192.168.1.2:50055");
    }

    #[test]
    fn malformed_files_are_refused_with_line_and_column() {
        assert!(problem("").contains("line 1 column 0"));
        assert!(problem("{\n \"processes\": {").contains("line 2 column 15"));
        assert!(problem("{}").contains("missing field `processes`"));
        assert!(problem(r#"{"processes": {}}"#).contains("1 to 256"));
        let text = crate::TWO_HOSTS.replacen("\"port\": 50051", "\"port\": 500510", 1);
        assert!(problem(&text).contains("line 8"), "{}", problem(&text));
        let text = crate::TWO_HOSTS.replacen("\"port\": 50051,", "", 1);
        assert!(problem(&text).contains("missing field `port`"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (from, to, expected) in [
            ("\"team\": \"pink\"", "\"team\": \"blue\"", "processes.D.team: blue"),
            ("\"role\": \"worker\"", "\"role\": \"boss\"", "processes.C.role: boss"),
            ("\"id\": \"A\"", "\"id\": \"Z\"", "processes.A.id is Z"),
            ("[\"B\", \"E\"]", "[\"B\", \"Z\"]", "processes.A.neighbors: Z"),
            ("[\"B\", \"E\"]", "[\"B\", \"B\"]", "processes.A.neighbors: B twice"),
        ] {
            let problem = problem(&crate::TWO_HOSTS.replacen(from, to, 1));
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn processes_are_moved_by_their_id() {
        let mut config = Config::parse(crate::TWO_HOSTS).unwrap();
        config.relocate("A=127.0.0.1:1, E=[::1]:2").unwrap();
        assert_eq!(config.process("A").unwrap().address(), "127.0.0.1:1");
        assert_eq!(config.process("E").unwrap().address(), "[::1]:2");
        assert!(config.relocate("Z=127.0.0.1:1").unwrap_err().to_string().contains("no process Z"));
        assert!(config.relocate("A=nowhere").unwrap_err().to_string().contains("ID=HOST:PORT"));
    }
}

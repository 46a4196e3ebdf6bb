//! What a container would see, as a child process on this machine sees it: hosts' addresses and
//! services' names become loopback, mounted paths become the paths of what is mounted.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What every host is when all run on one machine.
const LOOPBACK: &str = "127.0.0.1";

/// Replaces whole words only: each of `addresses`, and each of `services` where a port follows
/// (`raft-1:50071`).
pub(crate) fn to_loopback(
    value: &str,
    addresses: &BTreeSet<String>,
    services: &BTreeSet<String>,
) -> String {
    let mut result = String::with_capacity(value.len());
    let mut rest = value;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|c| !in_word(c)).unwrap_or(rest.len()));
        let port_follows = || {
            after
                .strip_prefix(':')
                .is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()))
        };
        if addresses.contains(word) || (services.contains(word) && port_follows()) {
            result.push_str(LOOPBACK);
        } else {
            result.push_str(word);
        }
        let (between, next) = after.split_at(after.find(in_word).unwrap_or(after.len()));
        result.push_str(between);
        rest = next;
    }
    result
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Replaces a path inside the container by the path on this machine: `mounts` are pairs of target
/// and source. A value is replaced when it is the target or lies below it.
pub(crate) fn to_source(value: &str, mounts: &[(String, PathBuf)]) -> String {
    let below = |target: &str| {
        let rest = value.strip_prefix(target.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    };
    let longest = mounts
        .iter()
        .filter_map(|(target, source)| Some((target.len(), source, below(target)?)))
        .max_by_key(|(length, ..)| *length);
    match longest {
        Some((_, source, rest)) => format!("{}{rest}", source.display()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_whole_words_become_loopback() {
        let addresses = set(&["192.168.1.1", "192.168.1.2"]);
        let services = set(&["raft-1", "raft-10", "console", "text"]);
        let table = [
            ("A=192.168.1.1:1, B=192.168.1.2:2", "A=127.0.0.1:1, B=127.0.0.1:2"),
            ("192.168.1.10:1 1192.168.1.1:2", "192.168.1.10:1 1192.168.1.1:2"),
            ("192.168.1.1.5", "192.168.1.1.5"),
            ("raft-1:50071,raft-10:50072", "127.0.0.1:50071,127.0.0.1:50072"),
            ("raft-1=raft-1:50071", "raft-1=127.0.0.1:50071"),
            ("http://console:4317/v1", "http://127.0.0.1:4317/v1"),
            ("my-raft-1:1 raft-1-x:1 raft-1.y:1", "my-raft-1:1 raft-1-x:1 raft-1.y:1"),
            ("a text: about raft-1", "a text: about raft-1"),
            ("", ""),
            ("ünï 192.168.1.1 cödé", "ünï 127.0.0.1 cödé"),
        ];
        for (value, expected) in table {
            assert_eq!(to_loopback(value, &addresses, &services), expected, "{value}");
        }
    }

    #[test]
    fn a_mounted_path_becomes_its_source() {
        let mounts = [
            ("/config.json".to_owned(), PathBuf::from("/home/me/c.json")),
            ("/data".to_owned(), PathBuf::from("/home/me/volumes/d")),
            ("/data/log/".to_owned(), PathBuf::from("/var/l")),
        ];
        let table = [
            ("/config.json", "/home/me/c.json"),
            ("/config.json.old", "/config.json.old"),
            ("/data", "/home/me/volumes/d"),
            ("/data/n1/wal", "/home/me/volumes/d/n1/wal"),
            ("/data/log/x", "/var/l/x"),
            ("/database", "/database"),
            ("x/data", "x/data"),
        ];
        for (value, expected) in table {
            assert_eq!(to_source(value, &mounts), expected, "{value}");
        }
    }
}

//! What a container would see, as a child process on this machine sees it: hosts' addresses and
//! services' names become loopback, mounted paths become the paths of what is mounted.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What every host is when all run on one machine.
const LOOPBACK: &str = "127.0.0.1";

/// What a container listens on that is reached by several networks.
const EVERYWHERE: &str = "0.0.0.0";

/// Replaces whole words only: each of `addresses`, each of `services` where a port follows
/// (`raft-1:50071`), and the address that stands for all of a machine's own.
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
        if word == EVERYWHERE
            || addresses.contains(word)
            || (services.contains(word) && port_follows())
        {
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

/// With certificates services speak TLS: `http://` of one of them becomes `https://`.
pub(crate) fn to_tls(value: &str, services: &BTreeSet<String>) -> String {
    let of_a_service = |rest: &&str| {
        let host = rest.split([':', '/']).next().unwrap_or_default();
        services.contains(host)
    };
    match value.strip_prefix("http://").filter(of_a_service) {
        Some(rest) => format!("https://{rest}"),
        None => value.to_owned(),
    }
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
            ("0.0.0.0:8080 10.0.0.0.0", "127.0.0.1:8080 10.0.0.0.0"),
            ("ünï 192.168.1.1 cödé", "ünï 127.0.0.1 cödé"),
        ];
        for (value, expected) in table {
            assert_eq!(to_loopback(value, &addresses, &services), expected, "{value}");
        }
    }

    #[test]
    fn with_certificates_only_services_are_spoken_to_by_tls() {
        let services = set(&["console", "raft-1"]);
        let table = [
            ("http://console:4317", "https://console:4317"),
            ("http://console/v1", "https://console/v1"),
            ("http://consoles:4317", "http://consoles:4317"),
            ("https://console:4317", "https://console:4317"),
            ("console:4317", "console:4317"),
        ];
        for (value, expected) in table {
            assert_eq!(to_tls(value, &services), expected, "{value}");
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

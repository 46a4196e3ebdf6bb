//! The founding members: the document's `config.conf`, or a variable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use consensus::{Configuration, Member, Standing};
use protocols::NodeId;

/// The longest file of members, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Members by name, each with its `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members(pub(crate) BTreeMap<NodeId, String>);

impl Members {
    /// Reads the document's file: a line `id address port` for each member.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let length = std::fs::metadata(path).with_context(|| format!("{shown}"))?.len();
        ensure!(length <= FILE_LIMIT, "{shown}: {length} bytes are too many for a file of members");
        let text = std::fs::read_to_string(path).with_context(|| format!("{shown}"))?;
        Self::parse_file(&text).with_context(|| format!("{shown}"))
    }

    fn parse_file(text: &str) -> anyhow::Result<Self> {
        let mut members = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let context = || format!("line {}", number + 1);
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => (),
                [id, address, port] => {
                    let address = match address.contains(':') {
                        true if !address.starts_with('[') => format!("[{address}]:{port}"),
                        _ => format!("{address}:{port}"),
                    };
                    members.add(id, &address).with_context(context)?;
                }
                ref words => bail!(
                    "line {}: {} words; write `id address port`, such as `1 127.0.0.1 50071`",
                    number + 1,
                    words.len()
                ),
            }
        }
        members.checked()
    }

    /// Reads `1=host:port,2=host:port`.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut members = Self::default();
        for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let (id, address) = member
                .split_once('=')
                .with_context(|| format!("{member}: write `id=host:port`"))?;
            members.add(id, address)?;
        }
        members.checked()
    }

    fn add(&mut self, id: &str, address: &str) -> anyhow::Result<()> {
        let node = parse_id(id)?;
        let (host, port) = address
            .rsplit_once(':')
            .with_context(|| format!("{address}: write a host and a port"))?;
        ensure!(!host.is_empty(), "{address}: there is no host");
        ensure!(port.parse::<u16>().is_ok_and(|port| port > 0), "{address}: {port} is no port");
        let address = address.to_owned();
        if let Some((other, _)) = self.0.iter().find(|(_, known)| **known == address) {
            bail!("{address} is that of node {other} and of node {node}: each needs its own");
        }
        if self.0.insert(node, address).is_some() {
            bail!("node {} is there twice: each id may be used once", node.0);
        }
        Ok(())
    }

    fn checked(self) -> anyhow::Result<Self> {
        ensure!(!self.0.is_empty(), "there are no members");
        let limit = consensus::MEMBERS_LIMIT;
        ensure!(self.0.len() <= limit, "{} members; {limit} at most", self.0.len());
        Ok(self)
    }

    /// All of them as voters.
    pub(crate) fn founders(&self) -> Configuration {
        let voter = |(id, address): (&NodeId, &String)| {
            let address = Arc::from(address.as_str());
            (*id, Member { address, standing: Standing::Voter })
        };
        Configuration { members: self.0.iter().map(voter).collect() }
    }
}

/// Reads a node's id: a number below 2^63, or a name that ends with one, such as `raft-3`.
pub(crate) fn parse_id(text: &str) -> anyhow::Result<NodeId> {
    let digits = text.trim_start_matches("raft-");
    let id = digits.parse::<u64>().ok().filter(|id| *id < 1 << 63);
    Ok(NodeId(id.with_context(|| format!("{text:?} is no id: write a number, such as 1"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(all: &[(u64, &str)]) -> Members {
        Members(all.iter().map(|(id, address)| (NodeId(*id), (*address).to_owned())).collect())
    }

    #[test]
    fn the_documents_file_is_read() {
        let text =
            "# id address port\n1 127.0.0.1 50071\n\n2\traft-2 50072 # the second\n3 ::1 5\n";
        let expected = members(&[(1, "127.0.0.1:50071"), (2, "raft-2:50072"), (3, "[::1]:5")]);
        assert_eq!(Members::parse_file(text).unwrap(), expected);
        assert_eq!(
            Members::parse("1=127.0.0.1:50071, 2=raft-2:50072,3=[::1]:5").unwrap(),
            expected
        );
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        for (text, said) in [
            ("", "there are no members"),
            ("1 a 1\n1 b 2", "line 2: node 1 is there twice"),
            ("1 a 1\n2 a 1", "line 2: a:1 is that of node n1 and of node n2"),
            ("1 a", "line 1: 2 words; write `id address port`"),
            ("1 a 70000", "line 1: a:70000: 70000 is no port"),
            ("x a 1", "line 1: \"x\" is no id"),
            ("18446744073709551615 a 1", "is no id"),
        ] {
            let error = format!("{:#}", Members::parse_file(text).unwrap_err());
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}

//! Settings from the environment. A role declares its own with [`settings!`](crate::settings):
//! the documentation of a field is what `--help` prints, and the default is text in the same form
//! that a user would write.

use std::collections::BTreeMap;
use std::env;
use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name in lower case, without the prefix.
    pub field: &'static str,
    /// What holds when it is unset, as a user would write it; empty for nothing.
    pub default: &'static str,
    /// What it means, with its unit.
    pub meaning: &'static str,
}

/// Settings that share a prefix.
pub trait Settings: DeserializeOwned {
    /// What the names of the variables begin with, such as `OVERLAY_`.
    const PREFIX: &'static str;
    /// The variables, in the order of `--help`.
    const VARIABLES: &'static [Variable];
}

/// Declares a struct of settings: fields with their documentation, type and default.
#[macro_export]
macro_rules! settings {
    (
        $(#[$outer:meta])*
        $visibility:vis struct $name:ident from $prefix:literal {
            $( $(#[doc = $meaning:literal])+ $field:ident: $type:ty = $default:literal, )*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $visibility struct $name {
            $( $(#[doc = $meaning])+ pub $field: $type, )*
        }

        impl $crate::Settings for $name {
            const PREFIX: &'static str = $prefix;
            const VARIABLES: &'static [$crate::Variable] = &[
                $( $crate::Variable {
                    field: stringify!($field),
                    default: $default,
                    meaning: concat!($($meaning),+),
                }, )*
            ];
        }
    };
}

/// A setting that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It holds.
    On,
    /// It does not.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For eyes.
    Pretty,
}

settings! {
    /// What all roles share.
    pub struct Common from "CHASSIS_" {
        /// Address and port to listen on, instead of the role's own.
        listen: Option<String> = "",
        /// What is logged: a level, or a filter such as `info,overlay=debug`.
        log: String = "info",
        /// `json`, `pretty`, or `auto`: pretty on a terminal, JSON elsewhere.
        log_format: LogFormat = "auto",
        /// Threads that run tasks; 1 is fastest where cores are shared.
        threads: usize = "1",
        /// Folder with `tls.crt`, `tls.key` and `ca.crt`. When set, both sides of every connection
        /// must show a certificate of this authority. They are read again when they change.
        tls_dir: Option<String> = "",
        /// `on` serves `ensemble.faults.v1.FaultService`, with which anyone who reaches the port
        /// can break this process.
        faults: Switch = "off",
        /// Time to finish what is in hand when told to stop, in milliseconds.
        grace_ms: u64 = "5000",
        /// The most connections at once; more wait to be accepted.
        connections: usize = "4096",
        /// `on` stops the process when its standard input closes: its parent is gone.
        tied: Switch = "off",
    }
}

/// Variables by name: the process's own, or those that another process will have.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        // Compose writes unset variables as empty ones.
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }
}

impl Environment {
    /// The variables of this process, without empty ones and those that are not UTF-8.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process() -> Self {
        let text = |value: std::ffi::OsString| value.into_string().ok();
        env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.into(), value);
    }

    /// All variables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads the settings of one prefix.
    ///
    /// # Errors
    ///
    /// Names the variable that is unknown, missing or malformed, and says what to do.
    pub fn read<S: Settings>(&self) -> anyhow::Result<S> {
        let named = |variable: &Variable| format!("{}{}", S::PREFIX, variable.field.to_uppercase());
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for variable in S::VARIABLES.iter().filter(|variable| !variable.default.is_empty()) {
            values.insert(named(variable), variable.default.into());
        }
        for (name, value) in self.iter().filter(|(name, _)| name.starts_with(S::PREFIX)) {
            if !S::VARIABLES.iter().any(|variable| named(variable) == name) {
                let known: Vec<_> = S::VARIABLES.iter().map(named).collect();
                bail!("{name}: no such variable; there are {}", known.join(", "));
            }
            values.insert(name.into(), value.into());
        }
        envy::prefixed(S::PREFIX).from_iter(values.clone()).map_err(|error| match error {
            envy::Error::MissingValue(field) => {
                let name = format!("{}{}", S::PREFIX, field.to_uppercase());
                anyhow::anyhow!("{name}: not set; `--help` says what it means")
            }
            envy::Error::Custom(reason) => malformed(S::PREFIX, &reason, &values),
        })
    }
}

/// Puts the variable first: envy says `WHY while parsing value 'X' provided by FIELD`, or, of an
/// enum, only `unknown variant `X`, expected …`.
fn malformed(prefix: &str, reason: &str, values: &BTreeMap<String, String>) -> anyhow::Error {
    if let Some((why, rest)) = reason.split_once(" while parsing value ")
        && let Some((value, field)) = rest.rsplit_once(" provided by ")
    {
        let field = field.trim_start_matches(prefix).to_uppercase();
        return anyhow::anyhow!(
            "{prefix}{field}={}: {why}; see `--help`",
            value.trim_matches('\'')
        );
    }
    let variant = reason.split('`').nth(1).unwrap_or_default();
    match values.iter().find(|(_, value)| *value == variant) {
        Some((name, value)) => anyhow::anyhow!("{name}={value}: {reason}; see `--help`"),
        None => anyhow::anyhow!("{prefix}…: {reason}; see `--help`"),
    }
}

/// Reads an address and port where `what` is to be found, resolving a name when it is one.
///
/// # Errors
///
/// It is malformed, or the name is not known.
pub fn resolve(address: &str, what: &str) -> anyhow::Result<SocketAddr> {
    let mut found = address.to_socket_addrs().with_context(|| {
        format!("{address}: where {what} should be; give host:port, such as 127.0.0.1:1")
    })?;
    found.next().with_context(|| format!("{address}: this name has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Common, String> {
        let owned = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Environment::from_iter(owned).read().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_unset_or_empty_has_its_default() {
        let common = read(&[("CHASSIS_LOG", "")]).unwrap();
        assert_eq!((common.log.as_str(), common.grace_ms, common.listen), ("info", 5000, None));
    }

    #[test]
    fn an_unknown_variable_is_named_with_those_there_are() {
        let error = read(&[("CHASSIS_GRACE", "1")]).unwrap_err();
        assert!(error.starts_with("CHASSIS_GRACE: no such variable"), "{error}");
        assert!(error.contains("CHASSIS_GRACE_MS"), "{error}");
    }

    #[test]
    fn a_malformed_value_is_named_with_its_variable() {
        let error = read(&[("CHASSIS_GRACE_MS", "soon")]).unwrap_err();
        assert!(error.contains("CHASSIS_GRACE_MS=soon"), "{error}");
        let error = read(&[("CHASSIS_FAULTS", "yes")]).unwrap_err();
        assert!(error.contains("CHASSIS_FAULTS=yes"), "{error}");
    }

    #[test]
    fn an_address_that_is_none_is_named_with_what_should_be_there() {
        assert_eq!(resolve("127.0.0.1:7", "node 1").unwrap().port(), 7);
        for address in ["", "127.0.0.1", "127.0.0.1:65536"] {
            let error = format!("{:#}", resolve(address, "node 1").unwrap_err());
            assert!(error.starts_with(&format!("{address}: where node 1 should be")), "{error}");
        }
    }

    #[test]
    fn another_prefix_is_not_ours() {
        assert!(read(&[("RAFT_ID", "1"), ("PATH", "/bin")]).is_ok());
    }
}

//! What every command is told that speaks with the nodes of a system, and how it answers.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use chassis::Tls;
use clap::Args;
use serde_json::Value;

use super::bytes;
use crate::paint::Palette;
use crate::state::State;

/// What such a command may be told, whatever the system.
#[derive(Debug, Args)]
pub(super) struct ClientOptions {
    /// Seconds that one call may take, with all that it repeats
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5.0)]
    timeout: f64,
    /// The folder of tls.crt, tls.key and ca.crt [default: those of what runs here]
    #[arg(long, global = true, value_name = "FOLDER")]
    certs: Option<PathBuf>,
    /// As JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// Keys, prefixes and values are given as they are printed: with \n, \t, \\ and \x00 to \xff
    #[arg(long, global = true)]
    escaped: bool,
}

impl ClientOptions {
    /// How long one call may take.
    ///
    /// # Errors
    ///
    /// If that is no time, or too long.
    pub(super) fn deadline(&self) -> Result<Duration> {
        let seconds = self.timeout;
        ensure!((0.01..=3600.0).contains(&seconds), "--timeout {seconds}: 0.01 to 3600");
        Ok(Duration::from_secs_f64(seconds))
    }

    /// The certificates that are given, or those of the topology that runs here.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(super) fn tls(&self, running: Option<&State>) -> Result<Option<Tls>> {
        let own = running.and_then(|state| state.client_certs.as_deref());
        self.certs.as_deref().or(own).map(Tls::read).transpose()
    }

    /// How the user wants to be answered.
    pub(super) fn output(&self, palette: Palette) -> Output {
        Output { palette, json: self.json, escaped: self.escaped }
    }
}

/// What went wrong with what, and what to do about it, unless these are empty.
pub(super) fn explained(what: &str, error: impl Display, remedy: &str) -> anyhow::Error {
    let what = if what.is_empty() { String::new() } else { format!("{what}: ") };
    let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    anyhow!("{what}{error}{remedy}")
}

/// How the user writes, and is answered.
pub(super) struct Output {
    pub(super) palette: Palette,
    pub(super) json: bool,
    escaped: bool,
}

impl Output {
    /// Prints what was done, for people or as JSON.
    pub(super) fn tell(&self, text: impl Display, json: &Value) -> Result<()> {
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{json}")?,
            false => writeln!(out, "{text}")?,
        }
        Ok(())
    }

    /// The bytes of a key, a prefix or a value that was given as an argument.
    pub(super) fn bytes(&self, argument: &str) -> Result<Vec<u8>> {
        match self.escaped {
            true => bytes::unescaped(argument),
            false => Ok(argument.as_bytes().to_vec()),
        }
    }
}

//! `ensemble role`: any role, in this process.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;

use crate::paint::{Palette, Table};
use crate::roles;

/// Run one role in this process, or list the roles
///
/// It takes its settings from the environment, as its own binary does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble role                         the roles there are
  ensemble role overlay-worker --help   the settings of one
  OVERLAY_ID=C ensemble role overlay-worker")]
pub(crate) struct Arguments {
    /// The role's name, and what it is told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME [ARGUMENT]")]
    words: Vec<String>,
}

impl Arguments {
    #[cfg(test)]
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }
}

/// Runs the role until it ends.
///
/// # Errors
///
/// There is no such role.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut words = arguments.words.into_iter();
    if let Some(name) = words.next() {
        return Ok(chassis::run_role(roles::find(&name)?, words.collect()));
    }
    let mut table = Table::new(Palette::plain(), ["ROLE", "WHAT IT IS"]);
    for role in roles::all() {
        table.row([role.name.into(), role.about.into()]);
    }
    write!(io::stdout(), "{table}")?;
    Ok(ExitCode::SUCCESS)
}

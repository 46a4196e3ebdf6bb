//! The command line: one file a command.

mod bytes;
mod certs;
mod chord;
mod client;
mod completions;
mod detach;
mod down;
mod health;
mod logs;
mod overlay;
mod ps;
mod raft;
mod role;
mod shell;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use chassis::Environment;
use clap::{Parser, Subcommand};

use crate::paint::Palette;
use crate::state::Folder;
use crate::topology::{Topology, state_folder};

/// Classic distributed systems as real services, on this machine.
///
/// Without a command: `up`, which runs the default profile of the nearest compose.yaml (or of the
/// one inside this binary) and follows its logs until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "ensemble", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// The compose file [default: compose.yaml here or in a folder above]
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  ensemble                     run the default profile until Ctrl-C
  ensemble up --detach         the same in the background
  ensemble ps                  what runs, where, and how it is
  ensemble logs --follow       what all of them say
  ensemble down                stop it";

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Ps(ps::Arguments),
    Logs(logs::Arguments),
    Down(down::Arguments),
    Health(health::Arguments),
    Certs(certs::Arguments),
    Overlay(overlay::Arguments),
    Raft(raft::Arguments),
    Chord(chord::Arguments),
    Role(role::Arguments),
    Completions(completions::Arguments),
}

/// What every command may need.
pub(crate) struct Context {
    pub(crate) file: Option<PathBuf>,
    pub(crate) environment: Environment,
    pub(crate) palette: Palette,
}

impl Context {
    /// The compose file.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood.
    pub(crate) fn topology(&self) -> Result<Topology> {
        Topology::load(self.file.as_deref(), &self.environment)
    }

    /// Where what runs keeps its state. The compose file need not be well formed.
    ///
    /// # Errors
    ///
    /// The current folder is gone.
    pub(crate) fn folder(&self) -> Result<Folder> {
        Ok(Folder::at(&state_folder(self.file.as_deref())?))
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// What the user is told.
    pub(crate) fn run(self) -> Result<ExitCode> {
        // A role builds a runtime of its own.
        if let Some(Command::Role(arguments)) = self.command {
            return role::run(arguments);
        }
        let environment = Environment::of_process();
        let palette = Palette::of_stdout(&environment);
        let context = Context { file: self.file, environment, palette };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let code = runtime.block_on(async {
            match self.command {
                None => up::run(up::Arguments::default(), context).await,
                Some(Command::Up(arguments)) => up::run(arguments, context).await,
                Some(Command::Ps(arguments)) => ps::run(&arguments, &context).await,
                Some(Command::Logs(arguments)) => logs::run(&arguments, &context).await,
                Some(Command::Down(arguments)) => down::run(&arguments, &context).await,
                Some(Command::Health(arguments)) => health::run(&arguments, &context).await,
                Some(Command::Certs(arguments)) => certs::run(&arguments, &context),
                Some(Command::Overlay(arguments)) => overlay::run(arguments, &context).await,
                Some(Command::Raft(arguments)) => raft::run(arguments, &context).await,
                Some(Command::Chord(arguments)) => chord::run(arguments, &context).await,
                Some(Command::Role(arguments)) => role::run(arguments),
                Some(Command::Completions(arguments)) => completions::run(&arguments),
            }
        });
        // A look-up of a name that still hangs must not keep us.
        runtime.shutdown_background();
        code
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_misspelt_command_is_answered_with_the_nearest() {
        let error = Cli::try_parse_from(["ensemble", "dwon"]).expect_err("misspelt");
        assert!(error.to_string().contains("'down'"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn what_follows_a_role_belongs_to_it() {
        let cli = Cli::try_parse_from(["ensemble", "role", "raft-node", "--help", "-f", "x"]);
        let Some(Command::Role(arguments)) = cli.expect("understood").command else {
            panic!("another command")
        };
        assert_eq!(arguments.words(), ["raft-node", "--help", "-f", "x"]);
    }
}

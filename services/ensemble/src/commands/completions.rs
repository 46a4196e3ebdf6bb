//! `ensemble completions`: what the shell completes.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble completions bash > ~/.local/share/bash-completion/completions/ensemble
  ensemble completions zsh > ~/.zfunc/_ensemble
  ensemble completions fish > ~/.config/fish/completions/ensemble.fish")]
pub(crate) struct Arguments {
    shell: Shell,
}

/// Prints them.
///
/// # Errors
///
/// Nobody reads.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "ensemble", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

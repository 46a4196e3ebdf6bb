//! A shell for one system: commands on standard input, one a line, until `quit`.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow};

use crate::nearest::nearest;

/// What a system's shell does.
pub(super) trait Shell {
    /// What is there to be said; the last ones are `help` and `quit`.
    const COMMANDS: &'static [&'static str];

    /// With whom one speaks, for the prompt.
    fn partner(&self) -> String;

    /// Does what the rest of the line says of this command.
    async fn obey(&mut self, command: &str, rest: &str) -> Result<()>;

    /// Reads and answers until the end. Fails when a command failed.
    async fn run(mut self) -> Result<ExitCode>
    where
        Self: Sized,
    {
        let is_terminal = io::stdin().is_terminal();
        let mut code = ExitCode::SUCCESS;
        loop {
            if is_terminal {
                let mut out = io::stdout().lock();
                write!(out, "{}> ", self.partner())?;
                out.flush()?;
            }
            // Elsewhere, so that connections stay alive while somebody thinks.
            let line = tokio::task::spawn_blocking(|| io::stdin().lines().next()).await?;
            let Some(line) = line.transpose()? else { break };
            let (command, rest) = split(line.trim());
            let done = match command {
                "" => Ok(()),
                "quit" => break,
                command if Self::COMMANDS.contains(&command) => self.obey(command, rest).await,
                other => {
                    let near = nearest(other, Self::COMMANDS.iter().copied()).suggestion("help");
                    Err(anyhow!("there is no command {other}{near}"))
                }
            };
            if let Err(error) = done {
                eprintln!("{error:#}");
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}

/// The first word, and what follows it.
pub(super) fn split(line: &str) -> (&str, &str) {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (first, rest.trim())
}

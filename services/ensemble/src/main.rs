//! `ensemble`: the one command line.
//!
//! It runs a topology of `compose.yaml` on this machine, each service as a child process of its
//! own, without Docker and with nothing to install; and it tells what runs, shows logs, makes
//! certificates and asks about health. What it starts does not outlive it, however it ends.
//!
//! It knows no algorithm: the roles are in the systems' packages, and what they share is in the
//! chassis.

mod child;
mod clock;
mod commands;
mod compose;
mod dotenv;
mod embedded;
mod interpolate;
mod keeper;
mod nearest;
mod output;
mod paint;
mod preflight;
mod render;
mod roles;
mod state;
mod substitute;
mod supervisor;
mod topology;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        // Whoever read our output has seen enough: `ensemble logs | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ensemble: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

//! `ensemble ps`: what runs, where, and how it is.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, test_kill_process};
use serde_json::json;

use super::Context;
use super::health::{Answer, ask_all};
use crate::clock::{now_unix_ms, rfc3339, short};
use crate::paint::{Cell, Colour, Palette, Table};
use crate::state::{Phase, ServiceState, State};

/// Show what runs, where, and how it is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble ps
  ensemble ps --json | jq '.services[].address'")]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints it.
///
/// # Errors
///
/// The state cannot be read.
pub(crate) async fn run(arguments: &Arguments, context: &Context) -> Result<ExitCode> {
    let mut out = io::stdout();
    let Some(mut state) = context.folder()?.running()? else {
        if arguments.json {
            writeln!(out, "{}", json!({ "running": false, "services": [] }))?;
        } else {
            writeln!(out, "nothing runs here: `ensemble up` starts it")?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let addresses = state.services.iter().map(|service| service.address);
    let answers = ask_all(addresses, state.client_certs.as_deref()).await;
    for service in &mut state.services {
        if service.state.runs() && !service.pid.is_some_and(is_alive) {
            service.state = Phase::Restarting;
        }
    }
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&as_json(&state, &answers))?)?;
    } else {
        write!(out, "{}", as_table(&state, &answers, context.palette))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there is such a process.
fn is_alive(pid: u32) -> bool {
    Pid::from_raw(pid.cast_signed()).is_some_and(|pid| test_kill_process(pid).is_ok())
}

fn as_json(state: &State, answers: &[Answer]) -> serde_json::Value {
    let services = state.services.iter().zip(answers).map(|(service, answer)| {
        json!({
            "service": service.service,
            "role": service.role,
            "address": service.address,
            "pid": service.pid,
            "state": service.state,
            "health": answer.name(),
            "restarts": service.restarts,
            "started": service.started_unix_ms.map(rfc3339),
        })
    });
    json!({
        "running": true,
        "pid": state.pid,
        "started": rfc3339(state.started_unix_ms),
        "profiles": state.profiles,
        "host": state.host,
        "services": services.collect::<Vec<_>>(),
    })
}

fn as_table(state: &State, answers: &[Answer], palette: Palette) -> String {
    let heading = ["SERVICE", "ROLE", "ADDRESS", "PID", "STATE", "HEALTH", "RESTARTS", "AGE"];
    let mut table = Table::new(palette, heading);
    let now = now_unix_ms();
    for (service, answer) in state.services.iter().zip(answers) {
        let ServiceState { service: name, role, address, pid, restarts, state, .. } = service;
        let since = service.started_unix_ms.map(|since| now.saturating_sub(since));
        table.row([
            name.into(),
            role.into(),
            address.into(),
            or_dash(*pid).into(),
            Cell::painted(state.name(), colour(*state)),
            answer.cell(),
            restarts.into(),
            or_dash(since.map(|ms| short(Duration::from_millis(ms)))).into(),
        ]);
    }
    table.to_string()
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn colour(state: Phase) -> Colour {
    match state {
        Phase::Healthy | Phase::Finished => Colour::Green,
        Phase::Waiting | Phase::Starting | Phase::Restarting => Colour::Yellow,
        Phase::Unhealthy | Phase::Failed => Colour::Red,
        Phase::Stopped => Colour::Grey,
    }
}

//! `ensemble raft watch`: every change as it happens.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use raft::client::{Change, Error, Event};

use super::Cluster;
use super::text::{self, shortened, shown};
use crate::paint::Colour;

/// Show every change of keys as it happens, until Ctrl-C
///
/// The watch survives the node that serves it: each change is shown once, in order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble raft watch
  ensemble raft watch users/ --json
  ensemble raft watch --after 0 --count 10    the first ten changes, if they are remembered")]
pub(super) struct Arguments {
    /// How the keys begin [default: all keys]
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Also the changes after this version [default: from this moment on]
    #[arg(long, value_name = "VERSION")]
    after: Option<u64>,
    /// End after so many changes
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Watches and prints.
pub(super) async fn run(arguments: &Arguments, cluster: &Cluster) -> Result<ExitCode> {
    let prefix = cluster.output.bytes(&arguments.prefix)?;
    let explain = |error: Error| cluster.explain("watch", &error);
    let mut watch = cluster.client.watch(prefix, arguments.after).await.map_err(explain)?;
    let mut left = arguments.count;
    while left != Some(0) {
        let event = tokio::select! {
            event = watch.next() => event,
            _ = tokio::signal::ctrl_c() => {
                // After the terminal's `^C`.
                writeln!(io::stdout())?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        match event {
            Ok(event) => {
                show(&event, cluster)?;
                left = left.map(|left| left - 1);
            }
            // It goes on where it was once a node can be reached.
            Err(error @ Error::Unavailable(_)) => eprintln!("ensemble: watch: {error}; waiting"),
            Err(error) => return Err(explain(error)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(event: &Event, cluster: &Cluster) -> Result<()> {
    let (kind, colour, item) = match &event.change {
        Change::Set(item) => ("set", Colour::Green, Some(item)),
        Change::Deleted => ("deleted", Colour::Red, None),
        Change::Expired => ("expired", Colour::Yellow, None),
    };
    let value = item.map_or_else(String::new, |item| format!(" {}", shortened(&item.value)));
    let painted = cluster.output.palette.paint(colour, kind);
    let line = format!("{} {painted} {}{value}", event.version, shown(&event.key));
    cluster.output.tell(line, &text::event(event, kind, item))?;
    io::stdout().flush()?;
    Ok(())
}

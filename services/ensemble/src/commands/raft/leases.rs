//! `ensemble raft lease`: keys that end with their owner.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use raft::client::{Error, Lease};
use serde_json::json;

use super::Cluster;

/// Begin, keep, look at and end leases
///
/// Keys that are put with a lease are deleted when it ends.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  ensemble raft lease grant 30
  ensemble raft put lock me --if-absent --lease 17
  ensemble raft lease keep 17")]
pub(super) enum Command {
    /// Begin a lease
    Grant {
        /// Its time to live, 0.1 to 86,400
        seconds: f64,
    },
    /// Keep a lease alive until Ctrl-C; exit with 1 when it ends
    Keep {
        /// The lease
        #[arg(value_name = "ID")]
        lease: u64,
        /// Give it its whole time once, and return
        #[arg(long)]
        once: bool,
    },
    /// End a lease, and delete its keys
    Revoke {
        /// The lease
        #[arg(value_name = "ID")]
        lease: u64,
    },
    /// Show what is left of a lease
    Show {
        /// The lease
        #[arg(value_name = "ID")]
        lease: u64,
    },
}

/// Does it.
pub(super) async fn run(command: &Command, cluster: &Cluster) -> Result<ExitCode> {
    match *command {
        Command::Grant { seconds } => grant(seconds, cluster).await,
        Command::Keep { lease, once: true } => {
            let kept = cluster.client.keep_lease_alive(lease).await;
            let kept = kept.map_err(|error| explain(lease, &error, cluster))?;
            let ttl = shown(kept.ttl_ms);
            cluster.output.tell(format!("lease {lease} lives for {ttl}"), &json!(kept))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keep { lease, once: false } => keep(lease, cluster).await,
        Command::Revoke { lease } => {
            let session = cluster.client.session();
            let revoked = session.revoke_lease(lease).await;
            // A session that is not closed ends by itself an hour later.
            let _ = session.close().await;
            let keys = revoked.map_err(|error| explain(lease, &error, cluster))?;
            let text = format!("lease {lease} has ended, and {keys} keys with it");
            cluster.output.tell(text, &json!({ "done": true, "keys": keys }))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { lease } => {
            let left = cluster.client.lease(lease).await;
            let left = left.map_err(|error| explain(lease, &error, cluster))?;
            let (rest, ttl) = (shown(left.left_ms), shown(left.ttl_ms));
            let text = format!("lease {lease}: {rest} of {ttl} left, {} keys", left.keys);
            cluster.output.tell(text, &json!(left))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn explain(lease: u64, error: &Error, cluster: &Cluster) -> anyhow::Error {
    match error {
        Error::NoLease(_) => anyhow::anyhow!("there is no lease {lease}: it has ended"),
        Error::Unavailable(_)
        | Error::Unknown(_)
        | Error::Invalid(_)
        | Error::Full(_)
        | Error::Refused(_)
        | Error::NoSession(_)
        | Error::Forgotten
        | Error::Compacted { .. } => cluster.explain(&format!("lease {lease}"), error),
    }
}

fn shown(milliseconds: u64) -> String {
    format!("{} s", milliseconds as f64 / 1e3)
}

async fn grant(seconds: f64, cluster: &Cluster) -> Result<ExitCode> {
    ensure!((0.1..=86_400.0).contains(&seconds), "{seconds} seconds: 0.1 to 86,400");
    let session = cluster.client.session();
    let granted = session.grant_lease(Duration::from_secs_f64(seconds)).await;
    // A session that is not closed ends by itself an hour later.
    let _ = session.close().await;
    let granted = granted.map_err(|error| cluster.explain("lease", &error))?;
    let Lease { id, ttl_ms } = granted;
    let text = format!("lease {id} lives for {}", shown(ttl_ms));
    cluster.output.tell(text, &json!(granted))?;
    Ok(ExitCode::SUCCESS)
}

async fn keep(lease: u64, cluster: &Cluster) -> Result<ExitCode> {
    let keeper = cluster.client.keep_lease(lease).await;
    let mut keeper = keeper.map_err(|error| explain(lease, &error, cluster))?;
    let ttl = shown(keeper.lease().ttl_ms);
    let text = format!("lease {lease} is kept alive, {ttl} at a time, until Ctrl-C");
    cluster.output.tell(text, &json!(keeper.lease()))?;
    tokio::select! {
        () = keeper.ended() => bail!("lease {lease} has ended"),
        _ = tokio::signal::ctrl_c() => {
            // After the terminal's `^C`.
            writeln!(io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

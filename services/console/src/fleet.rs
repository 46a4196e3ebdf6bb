//! Watches every process that there is. It is told names; whatever address a name leads to is
//! looked for a process, again and again: who comes and goes is found without being configured.

mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::channel::Connector;
use chassis::telemetry::Span;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::debug;

pub(crate) use self::watch::{Report, now, since_1970};
use crate::scene::Seen;

/// Time between two looks at which addresses a name leads to.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(2);
/// The same as long as it leads nowhere.
const FIND_INTERVAL: Duration = Duration::from_secs(1);
/// How long a name may take to be resolved.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(2);
/// Addresses of one name that are watched.
const ADDRESSES_LIMIT: usize = 256;
/// Reports that wait to be looked at: whoever has more to tell waits.
const REPORTS_LIMIT: usize = 256;

/// Where processes are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How a process is called there that does not say who it is.
    pub(crate) service: Arc<str>,
    /// `host:port`.
    pub(crate) address: Arc<str>,
}

/// Begins to watch; every report comes by the receiver.
pub(crate) fn watch(connector: &Connector, places: &[Place]) -> mpsc::Receiver<Report> {
    let (reports, receiver) = mpsc::channel(REPORTS_LIMIT);
    for place in places {
        tokio::spawn(follow(connector.clone(), place.clone(), reports.clone()));
    }
    receiver
}

/// Keeps a watcher at every address to which one place leads.
async fn follow(connector: Connector, place: Place, reports: mpsc::Sender<Report>) {
    let mut watchers = BTreeMap::<Arc<str>, JoinHandle<()>>::new();
    // An address leads to itself, whenever one looks.
    let is_name = place.address.parse::<SocketAddr>().is_err();
    loop {
        // While a name cannot be resolved, what it led to is what there is.
        let Some(addresses) = resolve(&place.address).await else {
            tokio::time::sleep(FIND_INTERVAL).await;
            continue;
        };
        let gone = watchers.extract_if(.., |address, _| !addresses.contains(address));
        for (address, watcher) in gone.collect::<Vec<_>>() {
            watcher.abort();
            if reports.send(Report { address, seen: Seen::Gone }).await.is_err() {
                return;
            }
        }
        for address in addresses {
            watchers.entry(address.clone()).or_insert_with(|| {
                let watcher = watch::Watcher::new(&connector, &place.service, address, &reports);
                // It looks again and again: nobody wants a trace of that.
                tokio::spawn(Span::quiet().scope(watcher.run()))
            });
        }
        if !is_name {
            return;
        }
        tokio::time::sleep(RESOLVE_INTERVAL).await;
    }
}

/// The addresses that a name leads to: itself if it is one.
async fn resolve(name: &str) -> Option<BTreeSet<Arc<str>>> {
    let looking = tokio::net::lookup_host(name);
    let found = match tokio::time::timeout(RESOLVE_PATIENCE, looking).await {
        Ok(Ok(found)) => found.collect::<BTreeSet<_>>(),
        Ok(Err(error)) => {
            debug!(name, %error, "cannot be resolved");
            return None;
        }
        Err(_) => return None,
    };
    // An address of the newer kind often leads to the same process.
    let some = |wanted: bool| found.iter().filter(move |it| it.is_ipv4() == wanted);
    let found = if some(true).next().is_some() { some(true) } else { some(false) };
    let addresses = found.take(ADDRESSES_LIMIT).map(|address| address.to_string().into());
    Some(addresses.collect())
}

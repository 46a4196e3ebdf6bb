//! The gRPC services of a process, and what is mounted beside them: health, reflection,
//! observation, faults, `/metrics`.

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use http::Request;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::Service;

/// The services that a role offers.
#[derive(Clone, Default)]
pub struct Services {
    pub(crate) routes: Routes,
    pub(crate) names: Vec<&'static str>,
    /// Services that are not always ready.
    pub(crate) ready: Vec<(&'static str, watch::Receiver<bool>)>,
    /// What browsers are shown on the same port.
    pub(crate) pages: Option<Router>,
    /// Services at another address, and nothing else there.
    pub(crate) beside: Option<(SocketAddr, Routes)>,
}

impl Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.names).finish()
    }
}

impl Services {
    /// Adds a service. It is listed by reflection and has a health status of its own.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes = self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// Adds a service whose health status is SERVING only while `ready` says so: the process as a
    /// whole may be well when this service is not.
    #[must_use]
    pub fn with_ready<S>(mut self, service: S, ready: watch::Receiver<bool>) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.ready.push((S::NAME, ready));
        self.with(service)
    }

    /// Shows this to browsers on the same port. They have no certificates: with TLS they are shown
    /// this, and nothing else.
    #[must_use]
    pub fn with_pages(mut self, pages: Router) -> Self {
        self.pages = Some(pages);
        self
    }

    /// Serves this at an address of its own, with nothing beside it.
    #[must_use]
    pub fn with_beside<S>(mut self, address: SocketAddr, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.beside = Some((address, Routes::new(service)));
        self
    }
}

const TIMEOUT: &str = "grpc-timeout";
/// The longest deadline that a call's `grpc-timeout` can set, whatever it says.
const DEADLINE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that a caller gives a call, by its `grpc-timeout`; nothing when it gives none, or one
/// that is malformed.
pub fn time_left(metadata: &MetadataMap) -> Option<Duration> {
    parse(metadata.get(TIMEOUT)?.to_str().ok()?)
}

/// The same, of a call whose metadata are still headers.
pub(crate) fn time_left_of(headers: &http::HeaderMap) -> Option<Duration> {
    parse(headers.get(TIMEOUT)?.to_str().ok()?)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok()?;
    let time = match unit {
        "H" => Duration::from_secs(value.saturating_mul(3600)),
        "M" => Duration::from_secs(value.saturating_mul(60)),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    };
    Some(time.min(DEADLINE_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_in_every_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(DEADLINE_LIMIT)),
            ("1", None),
            ("", None),
            ("-1S", None),
            ("ü", None),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap_or("".parse().unwrap()));
            assert_eq!(time_left(&metadata), expected, "{text}");
        }
    }
}

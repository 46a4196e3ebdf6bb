//! Asks another process how it is, by `grpc.health.v1`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::Tls;
use crate::channel::Connector;

/// How a process, or one of its services, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes requests.
    Serving,
    /// It is not ready yet, or stopping.
    NotServing,
}

/// Asks the process at `address` about one of its services, or about itself when `service` is
/// empty.
///
/// # Errors
///
/// When it cannot be reached before the deadline, refuses, or does not know the service.
pub async fn check(
    address: SocketAddr,
    tls_dir: Option<&Path>,
    service: &str,
    deadline: Duration,
) -> anyhow::Result<Status> {
    let connector = Connector::new(tls_dir.map(Tls::read).transpose()?);
    // A process that listens everywhere is asked here.
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let channel = connector.connect(&address.to_string(), deadline).await?;
    let mut request = tonic::Request::new(HealthCheckRequest { service: service.into() });
    request.set_timeout(deadline);
    let mut client = HealthClient::new(channel);
    let answer = tokio::time::timeout(deadline, client.check(request))
        .await
        .map_err(|_| anyhow::anyhow!("{address}: no answer within {deadline:?}"))?;
    match answer {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(Status::Serving),
        Ok(_) => Ok(Status::NotServing),
        Err(status) if status.code() == Code::NotFound => {
            anyhow::bail!("{address}: has no service {service}")
        }
        Err(status) => anyhow::bail!("{address}: {}", status.message()),
    }
}

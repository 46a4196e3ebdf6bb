//! A connection to one node, ours or etcd's: bare generated tonic clients on both sides.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::cluster_service_client::ClusterServiceClient;
use proto::ensemble::raft::v1::store_service_client::StoreServiceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::cluster::Kind;
use crate::etcd;
use crate::etcd::kv_client::KvClient;
use crate::etcd::maintenance_client::MaintenanceClient;

/// What every key is set to: 64 bytes.
const VALUE: &[u8] = b"sixty-four bytes that three nodes write to disk before they ack:";

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A key is set.
    Put,
    /// A key is read, linearizably.
    Get,
}

/// What a node knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knowledge {
    /// Who it is.
    pub(super) id: u64,
    /// Who leads.
    pub(super) leader: Option<u64>,
    /// The last entry that it has applied.
    pub(super) applied: u64,
}

/// A connection to one node.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    Ours { store: StoreServiceClient<Channel>, cluster: ClusterServiceClient<Channel> },
    Etcd { store: KvClient<Channel>, maintenance: MaintenanceClient<Channel> },
}

impl Asker {
    /// Connects when it is first used, and again when the connection is lost.
    pub(super) fn new(kind: Kind, address: SocketAddr) -> Self {
        Self::by(kind, Self::endpoint(address).connect_lazy())
    }

    /// Connects.
    pub(super) async fn connect(kind: Kind, address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self::by(kind, Self::endpoint(address).connect().await?))
    }

    fn endpoint(address: SocketAddr) -> Endpoint {
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.expect("an address makes a URI");
        endpoint.tcp_nodelay(true).connect_timeout(CONNECT_DEADLINE)
    }

    fn by(kind: Kind, channel: Channel) -> Self {
        match kind {
            Kind::Ours => Self::Ours {
                store: StoreServiceClient::new(channel.clone()),
                cluster: ClusterServiceClient::new(channel),
            },
            Kind::Etcd | Kind::TunedEtcd => Self::Etcd {
                store: KvClient::new(channel.clone()),
                maintenance: MaintenanceClient::new(channel),
            },
        }
    }

    /// Asks about a key, and checks the answer.
    pub(super) async fn ask(&mut self, work: Work, key: Bytes) -> Result<(), Status> {
        match work {
            Work::Put => self.put(key).await,
            Work::Get => self.get(key).await,
        }
    }

    /// Sets a key.
    pub(super) async fn put(&mut self, key: Bytes) -> Result<(), Status> {
        let value = Bytes::from_static(VALUE);
        match self {
            Self::Ours { store, .. } => {
                let request = pb::PutRequest { key, value, ..pb::PutRequest::default() };
                match store.put(request).await?.get_ref().done {
                    true => Ok(()),
                    false => Err(Status::internal("a put without a condition is not done")),
                }
            }
            Self::Etcd { store, .. } => store.put(etcd::PutRequest { key, value }).await.map(drop),
        }
    }

    async fn get(&mut self, key: Bytes) -> Result<(), Status> {
        let value = match self {
            Self::Ours { store, .. } => {
                let request = pb::GetRequest { key, ..pb::GetRequest::default() };
                store.get(request).await?.into_inner().item.map(|item| item.value)
            }
            Self::Etcd { store, .. } => {
                let answer = store.range(etcd::RangeRequest { key }).await?.into_inner();
                answer.kvs.into_iter().next().map(|pair| pair.value)
            }
        };
        match value {
            Some(value) if value == VALUE => Ok(()),
            _ => Err(Status::internal("a key that was put does not have its value")),
        }
    }

    /// Asks what the node knows.
    pub(super) async fn knowledge(&mut self) -> Result<Knowledge, Status> {
        Ok(match self {
            Self::Ours { cluster, .. } => {
                let status = cluster.get_status(pb::GetStatusRequest {}).await?.into_inner();
                Knowledge { id: status.id, leader: status.leader, applied: status.applied }
            }
            Self::Etcd { maintenance, .. } => {
                let status = maintenance.status(etcd::StatusRequest {}).await?.into_inner();
                Knowledge {
                    id: status.header.unwrap_or_default().member_id,
                    leader: Some(status.leader).filter(|&leader| leader != 0),
                    applied: status.raft_applied_index,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_as_long_as_it_says() {
        assert_eq!(VALUE.len(), 64);
    }
}

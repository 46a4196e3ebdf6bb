//! The holder of a host: it owns a network namespace with a fixed address, and does nothing until
//! told to stop. The processes of that host join its namespace.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{Chassis, Role, Services};

/// The role of a container that stands for a host.
pub static HOST: Role = Role {
    name: "host",
    about: "Holds the network address of a host whose processes run in other containers.",
    variables: ("HOST_", &[]),
    arguments: &[],
    address: |_| Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 50050))),
    beside: |_| Ok(None),
    start: |chassis: Chassis| Box::pin(chassis.serve(Services::default(), std::future::pending())),
};

//! What stands before the browser: topologies of real processes, and a console that watches them.

use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::site::{Site, eventually, free_ports};

/// The services of a profile, and the variable that moves the port of each.
pub(crate) const OVERLAY: &[(&str, &str)] = &[
    ("overlay-a", "OVERLAY_A_PORT"),
    ("overlay-b", "OVERLAY_B_PORT"),
    ("overlay-c", "OVERLAY_C_PORT"),
    ("overlay-d", "OVERLAY_D_PORT"),
    ("overlay-e", "OVERLAY_E_PORT"),
    ("overlay-f", "OVERLAY_F_PORT"),
];
/// The same for the replicated store.
pub(crate) const RAFT: &[(&str, &str)] = &[
    ("raft-1", "RAFT_1_PORT"),
    ("raft-2", "RAFT_2_PORT"),
    ("raft-3", "RAFT_3_PORT"),
    ("raft-4", "RAFT_4_PORT"),
    ("raft-5", "RAFT_5_PORT"),
];
/// The same for the hash ring.
pub(crate) const CHORD: &[(&str, &str)] = &[
    ("chord-registry", "CHORD_REGISTRY_PORT"),
    ("chord-1", "CHORD_1_PORT"),
    ("chord-2", "CHORD_2_PORT"),
    ("chord-3", "CHORD_3_PORT"),
    ("chord-4", "CHORD_4_PORT"),
    ("chord-5", "CHORD_5_PORT"),
    ("chord-6", "CHORD_6_PORT"),
];

/// Processes on ports of their own, and the console.
pub(crate) struct Stage {
    /// Ends first: what it watches ends after it.
    pub(crate) console: Console,
    pub(crate) site: Site,
    /// Where each service listens.
    pub(crate) places: Vec<(&'static str, u16)>,
}

/// A console, which ends with the test.
pub(crate) struct Console {
    child: Option<Child>,
    /// Where the page is, `host:port`.
    pub(crate) address: String,
    variables: Vec<(String, String)>,
}

impl Stage {
    /// A console that watches all of these services, none of which runs yet. Their processes may be
    /// broken, and send it their spans.
    pub(crate) fn set(
        services: &[&[(&'static str, &'static str)]],
        console: &[(&str, &str)],
    ) -> Self {
        let mut site = Site::new();
        let services = services.concat();
        let ports = free_ports(services.len() + 2);
        let [address, traces] = [0, 1].map(|at| format!("127.0.0.1:{}", ports[at]));
        let mut places = Vec::new();
        for ((service, variable), port) in services.into_iter().zip(&ports[2..]) {
            site.variables.push((variable.to_owned(), port.to_string()));
            places.push((service, *port));
        }
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        site.variables.push(set("CHASSIS_FAULTS", "on"));
        // Not to the console that comes with every topology: this one can be killed, and stays so.
        let spans = format!("http://{traces}");
        site.variables.push(set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &spans));
        let nodes = places.iter().map(|(service, port)| format!("{service}=127.0.0.1:{port}"));
        let nodes = nodes.collect::<Vec<_>>().join(",");
        let mut variables = vec![
            set("CONSOLE_ADDRESS", &address),
            set("CONSOLE_TRACES", &traces),
            set("CONSOLE_NODES", &nodes),
        ];
        variables.extend(console.iter().map(|(name, value)| set(name, value)));
        let console = Console { child: None, address, variables };
        let mut stage = Self { console, site, places };
        stage.show();
        stage
    }

    /// Starts the console, where it was before if it was.
    pub(crate) fn show(&mut self) {
        let console = &mut self.console;
        let mut command = self.site.command(&["role", "console"]);
        // What moves the other one's ports is no setting of a console.
        for other in ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "CONSOLE_PORT", "CONSOLE_TRACES_PORT"] {
            command.env_remove(other);
        }
        command.envs(console.variables.iter().map(|(name, value)| (name, value)));
        console.child = Some(command.stdout(Stdio::null()).spawn().expect("started"));
        eventually("the console serves", || TcpStream::connect(&console.address).ok());
    }

    /// Names of processes of a service with this prefix, as the command line wants them.
    pub(crate) fn endpoints(&self, prefix: &str) -> String {
        let of = self.places.iter().filter(|(service, _)| service.starts_with(prefix));
        of.map(|(_, port)| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }
}

impl Console {
    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.kill();
    }
}

//! The role raft-node: see `raft`.

fn main() -> std::process::ExitCode {
    chassis::run(&raft::NODE)
}

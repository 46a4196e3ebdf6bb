//! Holds the network address of a host whose processes run in other containers.

fn main() -> std::process::ExitCode {
    chassis::run(&chassis::HOST)
}

//! The role chord-node: see `chord`.

fn main() -> std::process::ExitCode {
    chassis::run(&chord::NODE)
}

//! The role chord-registry: see `chord`.

fn main() -> std::process::ExitCode {
    chassis::run(&chord::REGISTRY)
}

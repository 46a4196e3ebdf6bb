//! The role overlay-worker: see `overlay`.

fn main() -> std::process::ExitCode {
    chassis::run(&overlay::WORKER)
}

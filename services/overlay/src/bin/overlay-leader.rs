//! The role overlay-leader: see `overlay`.

fn main() -> std::process::ExitCode {
    chassis::run(&overlay::LEADER)
}

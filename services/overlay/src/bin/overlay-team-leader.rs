//! The role overlay-team-leader: see `overlay`.

fn main() -> std::process::ExitCode {
    chassis::run(&overlay::TEAM_LEADER)
}

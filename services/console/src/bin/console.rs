//! The role console: see `console`.

fn main() -> std::process::ExitCode {
    chassis::run(&console::CONSOLE)
}

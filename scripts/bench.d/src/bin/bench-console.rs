//! Measures the console; `scripts/bench console` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::console::main()
}

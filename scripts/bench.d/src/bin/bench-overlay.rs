//! Measures the overlay; `scripts/bench overlay` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::overlay::main()
}

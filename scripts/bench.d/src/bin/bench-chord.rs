//! Measures the hash ring; `scripts/bench chord` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::chord::main()
}

//! Measures the replicated store; `scripts/bench raft` runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::raft::main()
}

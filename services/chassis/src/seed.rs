//! Where randomness enters a process.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A seed that differs from process to process, and from call to call.
pub fn seed() -> u64 {
    // The standard library keys its hash maps from the operating system's generator.
    RandomState::new().build_hasher().finish()
}

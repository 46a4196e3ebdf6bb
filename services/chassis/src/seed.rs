//! Where randomness enters a process.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A seed that differs from process to process, and from call to call.
pub fn seed() -> u64 {
    // The standard library keys its hash maps from the operating system's generator.
    RandomState::new().build_hasher().finish()
}

/// 128 bits that nobody guesses, as 32 hexadecimal digits.
///
/// # Panics
///
/// When the operating system has no randomness to give.
pub fn secret() -> String {
    let mut bits = [0; 16];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bits).expect("the operating system has randomness");
    bits.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

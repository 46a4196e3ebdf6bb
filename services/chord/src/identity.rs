//! Where nodes and keys are on the circle, by either of two rules.
//!
//! The document's: a registry gives nodes their ids, and a key has the Adler-32 of its bytes modulo
//! 2^m. That sum has 32 bits and is small for short keys, so a wide circle is filled unevenly. The
//! paper's: the first m bits of the SHA-1 of a node's address, or of a key. Then everyone can check
//! everyone's id.

use std::fmt::{self, Display};
use std::sync::Arc;

use anyhow::ensure;
use hashring::{Circle, Id};
use sha1::{Digest as _, Sha1};

/// The longest name of a ring, in bytes.
const NAME_LIMIT: usize = 64;

/// How ids are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// As the document has it.
    Registry,
    /// As the paper has it.
    Sha1,
}

/// What all nodes of one ring must agree upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) name: Arc<str>,
    pub(crate) circle: Circle,
    pub(crate) identity: Identity,
}

/// As nodes tell each other, such as `ensemble/64/sha1`.
impl Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = match self.identity {
            Identity::Registry => "registry",
            Identity::Sha1 => "sha1",
        };
        write!(f, "{}/{}/{identity}", self.name, self.circle.bits())
    }
}

impl Ring {
    /// The place of a key.
    pub(crate) fn key(&self, key: &[u8]) -> Id {
        match self.identity {
            Identity::Registry => self.circle.after(Id(adler2::adler32_slice(key).into()), 0),
            Identity::Sha1 => self.sha1(key),
        }
    }

    /// The place of the node at an address; nothing where a registry decides.
    pub(crate) fn node(&self, address: &str) -> Option<Id> {
        match self.identity {
            Identity::Registry => None,
            Identity::Sha1 => Some(self.sha1(address.as_bytes())),
        }
    }

    fn sha1(&self, bytes: &[u8]) -> Id {
        let hash = Sha1::digest(bytes);
        let first = hash.first_chunk().expect("SHA-1 has 20 bytes");
        Id(u64::from_be_bytes(*first) >> (64 - self.circle.bits()))
    }
}

/// A circle of 2^`bits` places, if there is one.
pub(crate) fn circle(bits: u32) -> anyhow::Result<Circle> {
    ensure!((1..=64).contains(&bits), "ids have 1 to 64 bits");
    Ok(Circle::new(bits))
}

/// A name that a ring can have.
pub(crate) fn name(text: &str) -> anyhow::Result<Arc<str>> {
    ensure!(!text.is_empty(), "empty; give the ring a name");
    ensure!(text.len() <= NAME_LIMIT, "{} bytes; {NAME_LIMIT} are the most", text.len());
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    ensure!(text.bytes().all(plain), "write letters, digits and signs, but no `/` and no spaces");
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(bits: u32, identity: Identity) -> Ring {
        Ring { name: "ensemble".into(), circle: Circle::new(bits), identity }
    }

    #[test]
    fn keys_are_where_the_document_has_them() {
        let five = ring(5, Identity::Registry);
        for (key, id) in [("Kazan", 22), ("Moscow", 25), ("Minsk", 3)] {
            assert_eq!(five.key(key.as_bytes()), Id(id), "{key}");
        }
        assert_eq!(ring(64, Identity::Registry).key(b"Kazan"), Id(94_241_270));
        assert_eq!(five.node("127.0.0.1:5001"), None);
    }

    /// By Python's hashlib.
    #[test]
    fn the_first_bits_of_sha_1_are_places() {
        for (bits, node, key) in [
            (1, 1, 1),
            (5, 16, 22),
            (8, 135, 176),
            (33, 4_544_181_901, 5_925_779_588),
            (64, 9_758_556_326_337_145_092, 12_725_514_768_465_713_964),
        ] {
            let ring = ring(bits, Identity::Sha1);
            assert_eq!(ring.node("127.0.0.1:5001"), Some(Id(node)), "{bits} bits");
            assert_eq!(ring.key(b"Kazan"), Id(key), "{bits} bits");
        }
    }

    #[test]
    fn what_a_ring_is_like_is_said_in_one_word() {
        assert_eq!(ring(64, Identity::Sha1).to_string(), "ensemble/64/sha1");
        assert_eq!(ring(5, Identity::Registry).to_string(), "ensemble/5/registry");
        assert!(circle(0).is_err() && circle(65).is_err() && circle(64).is_ok());
        for wrong in ["", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        assert!(name(&"a".repeat(64)).is_ok());
    }
}

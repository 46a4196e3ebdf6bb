//! Every role there is, by name: `ensemble` links every system, so that it can start any role as a
//! child process of itself.

use anyhow::{Result, anyhow};
use chassis::Role;

use crate::nearest::nearest;

/// The role of a container that holds a network address for others; on loopback nobody needs it.
pub(crate) const HOLDER: &str = "host";

/// All roles; a system is added here with one line.
pub(crate) fn all() -> impl Iterator<Item = &'static Role> {
    std::iter::once(&chassis::HOST)
        .chain(chord::ROLES.iter().copied())
        .chain(console::ROLES.iter().copied())
        .chain(overlay::ROLES.iter().copied())
        .chain(raft::ROLES.iter().copied())
}

/// The role of this name.
///
/// # Errors
///
/// There is none: the error suggests the nearest name.
pub(crate) fn find(name: &str) -> Result<&'static Role> {
    all().find(|role| role.name == name).ok_or_else(|| {
        let names = all().map(|role| role.name);
        anyhow!("there is no role {name}{}", nearest(name, names).suggestion("ensemble role"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|role| role.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let error = find("overlay-leadr").expect_err("no such role").to_string();
        assert_eq!(error, "there is no role overlay-leadr: do you mean overlay-leader?");
        let error = find("xyzzy").expect_err("no such role").to_string();
        assert_eq!(error, "there is no role xyzzy: `ensemble role` lists what there is");
    }
}

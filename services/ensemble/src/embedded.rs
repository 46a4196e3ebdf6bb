//! The repository's topology inside the binary, for somebody who has nothing but the binary.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The compose file, what it reads and what it mounts: each with its path from the repository's
/// root. A test fails when something that a role is given is missing here.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("compose.yaml", include_str!("../../../compose.yaml")),
    (".env", include_str!("../../../.env")),
    ("services/overlay/two_hosts_config.json", include_str!("../../overlay/two_hosts_config.json")),
];

/// The text of one of the files.
pub(crate) fn text(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

/// Writes the files below `folder`.
///
/// # Errors
///
/// A file cannot be written.
pub(crate) fn write(folder: &Path) -> Result<()> {
    for (path, text) in FILES {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

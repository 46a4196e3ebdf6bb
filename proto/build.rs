//! Compiles every .proto file under this folder with protox, so that no `protoc` is needed, and
//! keeps the descriptor set for reflection.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=ensemble");
    println!("cargo:rerun-if-changed=documents");
    let mut files = Vec::new();
    for root in ["ensemble", "documents"] {
        collect(Path::new(root), &mut files)?;
    }
    files.sort();
    let descriptors = protox::compile(&files, ["."])?;
    // The build script is told its output folder this way and no other.
    #[allow(clippy::disallowed_methods)]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

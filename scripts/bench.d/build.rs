//! Compiles the part of etcd's interface that the benchmark speaks, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=etcd.proto");
    let descriptors = protox::compile(["etcd.proto"], ["."])?;
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}

//! Every `.proto` file of Ensemble, compiled, and the descriptors that reflection serves.
//!
//! Generated types stop at a system's `service.rs` and `client.rs`; protocols never see them.

/// Services that the documents themselves name, with their own names and numbers.
#[allow(missing_docs, clippy::all)]
pub mod documents {
    include!(concat!(env!("OUT_DIR"), "/_.rs"));
}

/// `ensemble.*`: our own services.
pub mod ensemble {
    /// The overlay of processes A to F.
    pub mod overlay {
        /// Version 1.
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/ensemble.overlay.v1.rs"));
        }
    }
    /// A replicated store.
    pub mod raft {
        /// Version 1.
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/ensemble.raft.v1.rs"));
        }
    }
    /// A hash ring.
    pub mod chord {
        /// Version 1.
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/ensemble.chord.v1.rs"));
        }
    }
    /// How an onlooker sees a process think.
    pub mod observe {
        /// Version 1.
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/ensemble.observe.v1.rs"));
        }
    }
    /// Faults, switched on while a process runs.
    pub mod faults {
        /// Version 1.
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/ensemble.faults.v1.rs"));
        }
    }
}

/// Every file's descriptor, encoded as a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

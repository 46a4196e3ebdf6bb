//! Mutual TLS from a folder of certificates, read again when they change.

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use anyhow::{Context as _, bail};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{error, info};

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The certificates of one process: its own, its key, and the authority that everybody shares.
/// Clones share one state.
#[derive(Clone)]
pub struct Tls {
    folder: PathBuf,
    pair: Arc<RwLock<Pair>>,
    /// When the files that were read first had changed last.
    read: [Option<SystemTime>; 3],
}

#[derive(Clone)]
struct Pair {
    server: Arc<ServerConfig>,
    /// The same, for whoever shows no certificate too.
    open: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads `tls.crt`, `tls.key` and `ca.crt` in a folder.
    ///
    /// # Errors
    ///
    /// Names the file that is missing, empty or malformed.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = modified(folder);
        let pair = read_pair(folder)?;
        Ok(Self { folder: folder.into(), pair: Arc::new(RwLock::new(pair)), read })
    }

    /// For connections that are accepted from this moment on.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.pair.read().expect("no writer panics").server.clone()
    }

    /// For connections that are accepted from this moment on, of browsers too, which have no
    /// certificate to show. One that is shown must be of the authority.
    pub(crate) fn open_server(&self) -> Arc<ServerConfig> {
        self.pair.read().expect("no writer panics").open.clone()
    }

    /// For connections that are made from this moment on.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.pair.read().expect("no writer panics").client.clone()
    }

    /// Reads the files again whenever one of them changes; what cannot be read leaves the old
    /// ones in force. Connections that are open keep theirs.
    pub(crate) async fn keep_fresh(self) {
        let mut seen = self.read;
        let mut interval = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            interval.tick().await;
            let found = modified(&self.folder);
            if found == seen {
                continue;
            }
            match read_pair(&self.folder) {
                Ok(pair) => {
                    *self.pair.write().expect("no writer panics") = pair;
                    seen = found;
                    info!(folder = %self.folder.display(), "certificates read again");
                }
                // Half of them may be written: look again at the next tick.
                Err(reason) => {
                    error!(reason = format!("{reason:#}"), "the old certificates stay in force");
                }
            }
        }
    }
}

fn modified(folder: &Path) -> [Option<SystemTime>; 3] {
    let time = |name| fs::metadata(folder.join(name)).and_then(|data| data.modified()).ok();
    ["tls.crt", "tls.key", "ca.crt"].map(time)
}

fn read_pair(folder: &Path) -> anyhow::Result<Pair> {
    // The first caller wins, and all ask for the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = certificates(&folder.join("tls.crt"))?;
    let path = folder.join("tls.key");
    let pem = read(&path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| anyhow::anyhow!("{}: not a private key: {error}", path.display()))?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&folder.join("ca.crt"))? {
        let path = folder.join("ca.crt");
        roots.add(authority).with_context(|| format!("{}: not an authority", path.display()))?;
    }
    let roots = Arc::new(roots);
    let verified = WebPkiClientVerifier::builder(roots.clone());
    let optional = verified.clone().allow_unauthenticated();
    let [verified, optional] = [verified.build(), optional.build()].map(|verifier| {
        verifier.with_context(|| format!("{}: no authority to verify with", folder.display()))
    });
    let mismatch = || format!("{}: tls.key does not belong to tls.crt", folder.display());
    let server = |verifier| -> anyhow::Result<Arc<ServerConfig>> {
        let mut server = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .with_context(mismatch)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(server))
    };
    let (server, open) = (server(verified?)?, server(optional?)?);
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .with_context(mismatch)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Pair { server, open, client: Arc::new(client) })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let remedy = if error.kind() == io::ErrorKind::NotFound {
            "; `ensemble certs` makes it"
        } else {
            ""
        };
        anyhow::anyhow!("{}: {error}{remedy}", path.display())
    })
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| anyhow::anyhow!("{}: malformed: {error}", path.display()))?;
    if certificates.is_empty() {
        bail!("{}: no certificate in it", path.display());
    }
    Ok(certificates)
}

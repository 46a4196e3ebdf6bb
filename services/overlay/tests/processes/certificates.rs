//! Mutual TLS: who is let in, and new certificates without a restart.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chassis::Tls;
use chassis::channel::Connector;
use overlay::client::Client;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::cluster::{Cluster, PATIENCE, process};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Writes the three files for one process.
    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        fs::write(folder.join("tls.crt"), leaf.pem()).unwrap();
        fs::write(folder.join("ca.crt"), &self.pem).unwrap();
    }

    fn write_all(&self, folder: &Path) {
        for id in 'A'..='F' {
            self.write(&folder.join(id.to_string()));
        }
        self.write(&folder.join("client"));
    }
}

async fn asks(connector: &Connector, address: &str) -> bool {
    let second = Duration::from_secs(1);
    match Client::connect(connector, address, second).await {
        Ok(client) => process(&client, b"x", second).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn only_certificates_of_the_authority_are_let_in() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new().write_all(folder.path());
    let cluster = Cluster::start_secured(&[], Some(folder.path())).await;
    let address = cluster.address('A');
    assert!(asks(&cluster.connector(), address).await);
    assert!(!asks(&Connector::new(None), address).await, "clear text");
    let stranger = folder.path().join("stranger");
    Authority::new().write(&stranger);
    // It would trust the server, but the server must not trust it.
    fs::copy(folder.path().join("client/ca.crt"), stranger.join("ca.crt")).unwrap();
    let stranger = Connector::new(Some(Tls::read(&stranger).unwrap()));
    assert!(!asks(&stranger, address).await, "another authority");
    assert!(asks(&cluster.connector(), address).await, "everyone else is served on");
}

#[tokio::test]
async fn new_certificates_are_taken_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new().write_all(folder.path());
    let cluster = Cluster::start_secured(&[], Some(folder.path())).await;
    let old = cluster.connector();
    // Everything anew, the authority too: old clients are shut out, new ones let in.
    Authority::new().write_all(folder.path());
    let started = Instant::now();
    while asks(&old, cluster.address('A')).await
        || !asks(&cluster.connector(), cluster.address('A')).await
    {
        assert!(started.elapsed() < PATIENCE, "the new certificates are not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.whole_again().await;
}

#[tokio::test]
async fn unusable_certificates_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = |result: anyhow::Result<Tls>| format!("{:#}", result.unwrap_err());
    assert!(text(Tls::read(folder.path())).contains("tls.crt"));
    let (one, other) = (folder.path().join("1"), folder.path().join("2"));
    Authority::new().write(&one);
    Authority::new().write(&other);
    fs::copy(other.join("tls.key"), one.join("tls.key")).unwrap();
    assert!(text(Tls::read(&one)).contains("tls.key does not belong to tls.crt"));
    fs::write(one.join("tls.key"), "garbage").unwrap();
    assert!(text(Tls::read(&one)).contains("tls.key: not a private key"));
    fs::write(one.join("tls.crt"), "").unwrap();
    assert!(text(Tls::read(&one)).contains("tls.crt: no certificate"));
}

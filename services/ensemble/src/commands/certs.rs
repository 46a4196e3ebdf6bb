//! `ensemble certs`: an authority and a certificate for every service.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::Context;

/// The folder of certificates beside the compose file.
pub(crate) const FOLDER: &str = "certs";
/// The leaf of whoever asks services.
pub(crate) const CLIENT: &str = "client";

/// What our authorities are called: leaves name their issuer so.
const AUTHORITY: &str = "Ensemble authority";
/// How long an authority lasts: ten years.
const AUTHORITY_DAYS: u64 = 3650;
/// A machine whose clock is behind by less accepts a certificate that was just made.
const LEEWAY: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Make an authority and a certificate for every service of compose.yaml
///
/// Writes ca.crt and ca.key, and for every service (and `client`, for whoever asks them) a folder
/// with tls.crt, tls.key and ca.crt: what CHASSIS_TLS_DIR is to name. An authority that is there
/// already signs the leaves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ensemble certs && ensemble up --tls
  ensemble certs --out /etc/ensemble gateway.example.org 10.0.0.7
  ensemble certs --days 30          new leaves by the same authority")]
pub(crate) struct Arguments {
    /// More names and addresses by which the services are reached
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// The folder to write to [default: `certs` beside compose.yaml]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// How many days the services' certificates last
    #[arg(long, default_value_t = 825, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Replace the authority: what the old one has signed is trusted no more
    #[arg(long)]
    force: bool,
}

/// Makes them.
///
/// # Errors
///
/// A name is malformed, a file cannot be written, or the authority that is there is not ours.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<ExitCode> {
    let topology = context.topology()?;
    let out = arguments.out.clone().unwrap_or_else(|| topology.home().join(FOLDER));
    let existed = out.join("ca.crt").exists() && !arguments.force;
    let authority = if existed { Authority::read(&out)? } else { Authority::make(&out)? };
    let mut services: Vec<&str> = topology.role_services().collect();
    services.push(CLIENT);
    for service in &services {
        let mut names = topology.names_of(service);
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        names.extend_from_slice(&arguments.hosts);
        names.sort();
        names.dedup();
        let leaf = authority.leaf(&out.join(service), names, arguments.days);
        leaf.with_context(|| format!("certificate of {service}"))?;
    }
    let (count, days, out) = (services.len(), arguments.days, out.display());
    let whose = if existed { "the authority that was there" } else { "a new authority" };
    let mut screen = io::stdout();
    writeln!(screen, "{count} certificates for {days} days, by {whose}, in {out}")?;
    writeln!(screen, "`ensemble up --certs {out}` uses them; keep {out}/ca.key to yourself")?;
    Ok(ExitCode::SUCCESS)
}

/// Who signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one and writes it.
    fn make(out: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = authority_params()?;
        lasts(&mut params, AUTHORITY_DAYS);
        let pem = params.self_signed(&key)?.pem();
        make_folder(out)?;
        write(&out.join("ca.key"), &key.serialize_pem(), Secrecy::Secret)?;
        write(&out.join("ca.crt"), &pem, Secrecy::Public)?;
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Takes up one that was made by an earlier run.
    fn read(out: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = out.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (pem, key) = (read("ca.crt")?, read("ca.key")?);
        let key = KeyPair::from_pem(&key).with_context(|| format!("{}/ca.key", out.display()))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .with_context(|| format!("{}/ca.crt", out.display()))?;
        // Leaves name their issuer, so it must bear the name that we would write into them.
        let remedy = "choose another folder by --out, or replace it by --force";
        let holds = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
        let file = out.join("ca.crt");
        let file = file.display();
        ensure!(holds(AUTHORITY.as_bytes()), "{file} is no authority of ensemble's: {remedy}");
        ensure!(holds(key.public_key_raw()), "ca.key does not belong to {file}: {remedy}");
        Ok(Self { pem, issuer: Issuer::new(authority_params()?, key) })
    }

    /// Makes a leaf for these names and addresses.
    fn leaf(&self, folder: &Path, names: Vec<String>, days: u64) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        let name = folder.file_name().map_or_else(String::new, |name| name.display().to_string());
        params.distinguished_name = named(&name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Everybody is both: peers call each other.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        lasts(&mut params, days);
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        make_folder(folder)?;
        write(&folder.join("ca.crt"), &self.pem, Secrecy::Public)?;
        write(&folder.join("tls.key"), &key.serialize_pem(), Secrecy::Secret)?;
        write(&folder.join("tls.crt"), &pem, Secrecy::Public)
    }
}

fn authority_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = named(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn lasts(params: &mut CertificateParams, days: u64) {
    let now = SystemTime::now();
    params.not_before = (now - LEEWAY).into();
    params.not_after = (now + DAY * u32::try_from(days).unwrap_or(u32::MAX)).into();
}

fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Who may read a file.
#[derive(Clone, Copy)]
enum Secrecy {
    Public,
    Secret,
}

/// Writes a file so that a reader sees the old or the new one, never half of it.
fn write(path: &Path, text: &str, secrecy: Secrecy) -> Result<()> {
    let mode = match secrecy {
        Secrecy::Public => 0o644,
        Secrecy::Secret => 0o600,
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        // What an earlier run left behind may have another mode.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_that_was_made_before_signs_again() {
        let out = tempfile::tempdir().expect("a folder");
        let authority = Authority::make(out.path()).expect("made");
        let again = Authority::read(out.path()).expect("read");
        assert_eq!(authority.pem, again.pem);
        let folder = out.path().join("a");
        again.leaf(&folder, vec!["a".to_owned(), "127.0.0.1".to_owned()], 1).expect("a leaf");
        assert_eq!(fs::read_to_string(folder.join("ca.crt")).expect("there"), authority.pem);
        let mode = |name: &str| {
            let metadata = fs::metadata(folder.join(name)).expect("there");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode("tls.key"), mode("tls.crt")), (0o600, 0o644));
    }

    #[test]
    fn a_key_of_another_authority_is_refused() {
        let (one, other) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, other) = (one.expect("a folder"), other.expect("a folder"));
        Authority::make(one.path()).expect("made");
        Authority::make(other.path()).expect("made");
        fs::copy(other.path().join("ca.key"), one.path().join("ca.key")).expect("copied");
        let error = Authority::read(one.path()).err().expect("refused").to_string();
        assert!(error.starts_with("ca.key does not belong to "), "{error}");
    }

    #[test]
    fn an_authority_of_another_origin_is_refused() {
        let out = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let stranger = CertificateParams::new(["x".to_owned()]).expect("well formed");
        let pem = stranger.self_signed(&key).expect("signed").pem();
        fs::write(out.path().join("ca.crt"), pem).expect("written");
        fs::write(out.path().join("ca.key"), key.serialize_pem()).expect("written");
        let error = Authority::read(out.path()).err().expect("refused").to_string();
        assert!(error.contains("is no authority of ensemble's"), "{error}");
    }
}

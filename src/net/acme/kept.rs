//! What is kept between runs: the account with the authority, and the certificate with its key. In and out: files
//! that nobody but the relay's user may read, each written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, Error};

use crate::config;
use crate::net::tls::{TlsError, provider};

const ACCOUNT: &str = "account.json";

const CERTIFICATE: &str = "certificate.json";

/// The folder of what is kept.
pub(super) struct Kept {
    folder: PathBuf,
}

/// An account, and the directory of the authority that knows it.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    directory: String,
    credentials: AccountCredentials,
}

/// A certificate with those between it and its authority, its key, and what it was got for.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptCertificate {
    directory: String,
    domains: Vec<String>,
    /// PEM.
    certificate: String,
    /// PEM.
    key: String,
}

impl KeptCertificate {
    pub(super) fn new(settings: &config::Acme, certificate: String, key: String) -> KeptCertificate {
        let config::Acme { directory, domains, .. } = settings.clone();
        KeptCertificate { directory, domains, certificate, key }
    }

    /// Whether it is what these settings ask for.
    pub(super) fn is_for(&self, settings: &config::Acme) -> bool {
        self.directory == settings.directory && self.domains == settings.domains
    }

    /// What handshakes need.
    ///
    /// # Errors
    /// When it is no certificate, or not the key's.
    pub(super) fn read(&self) -> Result<CertifiedKey, TlsError> {
        let wrong = |_| Error::General("no certificate and key in PEM".to_owned());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(wrong)?;
        let chain = chain.map_err(wrong)?;
        if chain.is_empty() {
            return Err(rustls::Error::NoCertificatesPresented.into());
        }
        Ok(CertifiedKey::from_der(chain, key, &provider())?)
    }
}

impl Kept {
    pub(super) fn new(folder: PathBuf) -> Kept {
        Kept { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The account with the authority of this directory.
    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        let kept: KeptAccount = self.read(ACCOUNT)?;
        (kept.directory == directory).then_some(kept.credentials)
    }

    /// Keeps an account in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep_account(&self, directory: &str, credentials: AccountCredentials) -> io::Result<()> {
        self.write(ACCOUNT, &KeptAccount { directory: directory.to_owned(), credentials })
    }

    /// Keeps no account any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(self.folder.join(ACCOUNT));
    }

    /// The certificate that was kept last.
    pub(super) fn certificate(&self) -> Option<KeptCertificate> {
        self.read(CERTIFICATE)
    }

    /// Keeps a certificate in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep_certificate(&self, certificate: &KeptCertificate) -> io::Result<()> {
        self.write(CERTIFICATE, certificate)
    }

    /// What a file holds; a file that was damaged counts as none, and is written anew.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.folder.join(name);
        let bytes = fs::read(&path).ok()?;
        let read = serde_json::from_slice(&bytes);
        // Not what it says: it is secret.
        read.inspect_err(|_| tracing::warn!("{}: cannot be understood and is passed over", path.display()))
            .ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        // One that a crash has left may have been for more eyes.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(value)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

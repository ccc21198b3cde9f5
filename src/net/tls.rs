//! Encrypted connections: the relay's certificate, and handshakes. In: an accepted socket, and files of a
//! certificate and its key, or what `acme` gets. Out: a stream. A pair of files that is wrong never takes the
//! place of one that is right.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use super::acme::Acme;
use super::server::Stop;
use super::stream::Stream;
use crate::clock::Clock;
use crate::config::{self, Config, Current};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A larger file is no certificate.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What is spoken inside: WebSocket begins with HTTP/1.1.
const HTTP: &[u8] = b"http/1.1";

/// Why there can be no encrypted connections.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {reason}; let the relay's user read it, or name another file in [tls]", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A file holds something else.
    #[error("{}: there is no {wanted} in it (PEM); name the file of the {wanted} in {setting}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// The setting that names it.
        setting: &'static str,
    },
    /// The certificate is not the key's, or of a kind that is not spoken here.
    #[error("{} and {}: {reason}; name a certificate and its own private key", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with the two.
        reason: rustls::Error,
    },
    /// The machine has no randomness to spare, or the like.
    #[error("cannot prepare encrypted connections: {0}")]
    Prepare(#[from] rustls::Error),
}

/// What an authority speaks that looks at the proof of a name (RFC 8737), and nobody else.
const ACME: &[u8] = b"acme-tls/1";

/// What the relay proves its name with at the moment.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// Proofs for an authority, by name.
    proofs: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Shows the proof of a name to the authority that asks for it.
    pub(super) fn lay_out_proof(&self, domain: &str, proof: CertifiedKey) {
        let mut proofs = self.proofs.write().unwrap_or_else(PoisonError::into_inner);
        proofs.insert(domain.to_owned(), Arc::new(proof));
    }

    /// Shows no proofs any more.
    pub(super) fn forget_proofs(&self) {
        self.proofs.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Handshakes that begin from now on get this one.
    pub(super) fn replace(&self, certified: CertifiedKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut protocols| protocols.all(|protocol| protocol == ACME)) {
            let proofs = self.proofs.read().unwrap_or_else(PoisonError::into_inner);
            return proofs.get(hello.server_name()?).cloned();
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All that encrypted connections need: what makes them, and what keeps the certificate fresh.
pub(super) struct Encryption {
    tls: Tls,
    certificates: Arc<Certificates>,
    source: Source,
}

/// Where the certificate comes from.
enum Source {
    Files(Files),
    Acme(Acme),
}

impl Encryption {
    /// What the settings ask for, if they do.
    ///
    /// # Errors
    /// When the certificate is of no use.
    pub(super) fn prepare(config: &Config) -> Result<Option<Encryption>, TlsError> {
        if config.tls.listen.is_none() {
            return Ok(None);
        }
        let certificates = Arc::<Certificates>::default();
        let source = match (Files::of(&config.tls), Acme::of(config)) {
            (Some(mut files), _) => {
                certificates.replace(files.read()?);
                Source::Files(files)
            }
            (None, Some(acme)) => {
                // Without one handshakes fail until it has come.
                acme.kept().into_iter().for_each(|kept| certificates.replace(kept));
                Source::Acme(acme)
            }
            (None, None) => return Ok(None),
        };
        let handshake_time = Duration::from_secs(config.server.http_header_seconds_max);
        let tls = Tls::new(Arc::clone(&certificates), handshake_time)?;
        Ok(Some(Encryption { tls, certificates, source }))
    }

    /// What makes encrypted connections.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Keeps the certificate fresh until the relay stops.
    pub(super) async fn keep(self, clock: Clock, current: Arc<Current>, stop: Arc<Stop>) {
        let Encryption { certificates, source, .. } = self;
        let keeping = async {
            match source {
                Source::Files(files) => files.watch(certificates, current).await,
                Source::Acme(acme) => acme.renew(certificates, clock).await,
            }
        };
        tokio::select! {
            () = keeping => {}
            () = stop.wait() => {}
        }
    }
}

/// Makes encrypted connections of accepted sockets.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    handshake_time: Duration,
}

impl Tls {
    /// With the certificates of the moment, TLS 1.2 and 1.3.
    pub(super) fn new(certificates: Arc<Certificates>, handshake_time: Duration) -> Result<Tls, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![HTTP.to_vec(), ACME.to_vec()];
        // Who comes back resumes with what it kept itself, so nothing is kept here.
        config.ticketer = ring::Ticketer::new()?;
        Ok(Tls { acceptor: Arc::new(config).into(), handshake_time })
    }

    /// The stream after the handshake, unless that fails or takes too long.
    pub(super) async fn accept(&self, stream: TcpStream) -> Option<Stream> {
        let handshake = tokio::time::timeout(self.handshake_time, self.acceptor.accept(stream));
        match handshake.await {
            // The proof was in the certificate, and there is nothing else to say.
            Ok(Ok(mut stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME) => {
                let _ = stream.shutdown().await;
                None
            }
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::debug!("a TLS handshake failed: {error}");
                None
            }
            Err(_) => None,
        }
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate and its key in two files.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// How they looked when they were last read.
    seen: [Stamp; 2],
}

/// A file's number, time and length: what changes a file changes one of these.
type Stamp = Option<(u64, i64, i64, u64)>;

impl Files {
    /// Those that the settings name.
    pub(super) fn of(settings: &config::Tls) -> Option<Files> {
        let (certificate, key) = settings.files()?;
        Some(Files { certificate: certificate.clone(), key: key.clone(), seen: [None; 2] })
    }

    /// What is in them now.
    ///
    /// # Errors
    /// Why that is of no use.
    pub(super) fn read(&mut self) -> Result<CertifiedKey, TlsError> {
        // What changes while it is read will look changed afterwards.
        self.seen = self.stamps();
        let Files { certificate, key, .. } = self;
        let missing =
            |path: &Path, wanted, setting| TlsError::Missing { path: path.to_owned(), wanted, setting };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes_of(certificate)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| missing(certificate, "certificate", "tls.certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(&bytes_of(key)?)
            .map_err(|_| missing(key, "private key", "tls.key"))?;
        CertifiedKey::from_der(chain, private, &provider()).map_err(|reason| TlsError::Pair {
            certificate: certificate.clone(),
            key: key.clone(),
            reason,
        })
    }

    fn stamps(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
        })
    }

    /// Takes up what is in the files whenever they change, or others are named.
    async fn watch(self, certificates: Arc<Certificates>, current: Arc<Current>) {
        let mut files = self;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            files.follow(&current.get().tls);
            let certificates = Arc::clone(&certificates);
            // A disk may keep one waiting.
            let looked = tokio::task::spawn_blocking(move || {
                files.look(&certificates);
                files
            });
            match looked.await {
                Ok(looked) => files = looked,
                Err(_) => return,
            }
        }
    }

    /// Looks at the files that the settings name from now on.
    fn follow(&mut self, settings: &config::Tls) {
        let named = Files::of(settings);
        if let Some(named) =
            named.filter(|named| (&named.certificate, &named.key) != (&self.certificate, &self.key))
        {
            *self = named;
        }
    }

    fn look(&mut self, certificates: &Certificates) {
        if self.stamps() == self.seen {
            return;
        }
        match self.read() {
            Ok(certified) => {
                certificates.replace(certified);
                tracing::info!("{}: the new certificate is in use", self.certificate.display());
            }
            Err(error) => tracing::warn!("{error}; until then the certificate of before stays in use"),
        }
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(reason) => Err(TlsError::Unreadable { path: path.to_owned(), reason }),
    }
}

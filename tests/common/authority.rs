//! A certificate authority of tests, and clients that trust nobody else.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    SupportedProtocolVersion,
};

use super::{Client, PATIENCE};

/// The name that certificates are for, unless others are asked for.
pub const NAME: &str = "relay.example";

/// An encrypted connection to a relay.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Makes certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    pub root: String,
}

/// A certificate and its key, PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// Writes both into a folder as `cert.pem` and `key.pem`, each in one piece.
    pub fn write(&self, folder: &Path) {
        for (name, text) in [("cert.pem", &self.certificate), ("key.pem", &self.key)] {
            let new = folder.join(format!("{name}.new"));
            std::fs::write(&new, text).expect("a file");
            std::fs::rename(new, folder.join(name)).expect("a file");
        }
    }

    /// The certificate as it is sent.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }

    /// What a server needs that has it.
    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(ALL_VERSIONS)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key);
        Arc::new(config.expect("a certificate and its key"))
    }
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), root }
    }

    /// A certificate for some names.
    pub fn issue(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// What a client needs that trusts this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        trusting(&self.root)
    }

    /// The same with these versions of TLS and these protocols (ALPN).
    pub fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Arc<ClientConfig> {
        client(&self.root, versions, protocols)
    }

    /// A Nostr client over an encrypted connection.
    pub fn connect(&self, address: SocketAddr) -> Client {
        connect(&self.client(), address, NAME)
    }
}

/// What a client needs that trusts who has this certificate (PEM).
pub fn trusting(root: &str) -> Arc<ClientConfig> {
    client(root, ALL_VERSIONS, &[])
}

fn client(
    root: &str,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("a certificate")).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// An encrypted connection, after its handshake.
///
/// # Errors
/// Why there is none.
pub fn handshake(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> Result<TlsStream, std::io::Error> {
    handshake_on(TcpStream::connect(address)?, config, name)
}

/// The same over a connection that there is.
///
/// # Errors
/// Why the handshake failed.
pub fn handshake_on(
    mut stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<TlsStream, std::io::Error> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// A Nostr client over an encrypted connection.
pub fn connect(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> Client {
    let stream = handshake(config, address, name).expect("a handshake");
    Client::over(Box::new(stream), &format!("wss://{name}:{}", address.port()))
}

//! Requests over HTTP and HTTPS to others: to a certificate authority, and to a relay from `plaza admin`. In: a request
//! with an absolute address. Out: a whole answer. A connection for each: they are few and far between. Follows nothing
//! to elsewhere.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::tls::provider;

/// What went wrong on the way, as a sentence.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTrust {
    /// The file says nothing of use.
    #[error("there is no certificate in it (PEM)")]
    File,
    /// The machine knows no authority.
    #[error("this machine trusts no authority; install its package ca-certificates")]
    System,
    /// TLS cannot be prepared.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What a client of TLS goes by that trusts the authority in a file (PEM), or, without one, those that the system
/// trusts.
///
/// # Errors
/// When there is none.
pub(crate) fn trusting(file: Option<&Path>) -> Result<ClientConfig, NoTrust> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            roots.add_parsable_certificates(read.unwrap_or_default())
        }
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if roots.is_empty() {
        return Err(if file.is_some() { NoTrust::File } else { NoTrust::System });
    }
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The same for those that the system trusts, read from files where nobody waits.
///
/// # Errors
/// When there is none.
pub(crate) async fn trusting_system() -> Result<Arc<ClientConfig>, BoxError> {
    Ok(Arc::new(tokio::task::spawn_blocking(|| trusting(None)).await??))
}

/// Speaks to those whom it trusts.
#[derive(Clone)]
pub(crate) struct Client {
    /// `None`: it speaks without encryption alone.
    connector: Option<TlsConnector>,
    /// How long one request may take.
    pub(crate) time_max: Duration,
    /// Bytes of the longest answer that is read.
    pub(crate) answer_bytes_max: usize,
}

impl Client {
    /// Trusts the authority in a file (PEM), or, without one, those that the system trusts.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn trusting(
        file: Option<&Path>,
        time_max: Duration,
        answer_bytes_max: usize,
    ) -> Result<Client, NoTrust> {
        Ok(Client::by(Arc::new(trusting(file)?), time_max, answer_bytes_max))
    }

    /// Trusts whom this says.
    pub(crate) fn by(config: Arc<ClientConfig>, time_max: Duration, answer_bytes_max: usize) -> Client {
        Client { connector: Some(config.into()), time_max, answer_bytes_max }
    }

    /// Speaks without encryption alone, and trusts nobody.
    pub(crate) fn plain(time_max: Duration, answer_bytes_max: usize) -> Client {
        Client { connector: None, time_max, answer_bytes_max }
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// What went wrong on the way, naming whom it was about.
    pub(crate) async fn ask<B>(&self, request: Request<B>) -> Result<Response<Bytes>, BoxError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let whom = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = tokio::time::timeout(self.time_max, self.exchange(request)).await;
        answer.unwrap_or_else(|_| {
            Err(format!("{whom} gave no answer within {} s", self.time_max.as_secs()).into())
        })
    }

    async fn exchange<B>(&self, request: Request<B>) -> Result<Response<Bytes>, BoxError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let uri = request.uri().clone();
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if self.connector.is_none() => false,
            _ => return Err(format!("{uri} is no https address").into()),
        };
        let authority = uri.authority().ok_or_else(|| format!("{uri} names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let tcp = TcpStream::connect((host, port)).await;
        let tcp = tcp.map_err(|error| format!("no connection to {authority}: {error}"))?;
        let Some(connector) = self.connector.as_ref().filter(|_| is_encrypted) else {
            return match is_encrypted {
                true => Err(format!("{uri} asks for encryption, for which nobody is trusted").into()),
                false => self.send(tcp, request).await,
            };
        };
        let tls = connector.connect(ServerName::try_from(host.to_owned())?, tcp).await;
        self.send(tls.map_err(|error| format!("no TLS with {authority}: {error}"))?, request).await
    }

    async fn send<B>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        mut request: Request<B>,
    ) -> Result<Response<Bytes>, BoxError>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped, at the latest; what breaks it is told by the request.
        tokio::spawn(connection);
        let uri = request.uri().clone();
        let host = uri.authority().map_or("", |authority| authority.as_str());
        request.headers_mut().insert(header::HOST, HeaderValue::try_from(host)?);
        *request.uri_mut() = uri
            .path_and_query()
            .cloned()
            .map_or_else(|| Uri::from_static("/"), |path: PathAndQuery| path.into());
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, self.answer_bytes_max).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

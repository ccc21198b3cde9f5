//! Requests to a certificate authority over HTTPS. In: requests of the ACME client. Out: whole answers. A
//! connection for each: they are few and far between. Follows nothing to elsewhere.

use std::error::Error;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::AcmeError;
use crate::net::tls::provider;

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(60);

/// Bytes of the longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// Speaks to those whom it trusts.
pub(super) struct Https {
    connector: TlsConnector,
}

impl Https {
    /// Trusts the authority in a file (PEM), or, without one, those that the system trusts.
    pub(super) fn trusting(file: Option<&Path>) -> Result<Https, AcmeError> {
        let mut roots = RootCertStore::empty();
        let remedy = match file {
            Some(file) => {
                let read =
                    CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                roots.add_parsable_certificates(read.unwrap_or_default());
                format!("{}: there is no certificate in it (PEM); set acme.directory_ca", file.display())
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                "this system trusts no authority; install its package ca-certificates".to_owned()
            }
        };
        if roots.is_empty() {
            return Err(AcmeError::NoTrust(remedy));
        }
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| AcmeError::NoTrust(error.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Https { connector: Arc::new(config).into() })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;

impl HttpClient for Https {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let connector = self.connector.clone();
        Box::pin(async move {
            let exchanged = tokio::time::timeout(REQUEST_MAX, exchange(connector, request)).await;
            match exchanged.unwrap_or_else(|_| Err("there was no answer in time".into())) {
                Ok(answer) => {
                    let (parts, body) = answer.into_parts();
                    Ok(BytesResponse { parts, body: Box::new(body) })
                }
                Err(error) => Err(instant_acme::Error::Other(error)),
            }
        })
    }
}

async fn exchange(
    connector: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Bytes>, BoxError> {
    let uri = request.uri().clone();
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"));
    let authority = authority.ok_or_else(|| format!("{uri} is no https address"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await;
    let tcp = tcp.map_err(|error| format!("no connection to {authority}: {error}"))?;
    let tls = connector.connect(ServerName::try_from(host.to_owned())?, tcp).await;
    let tls = tls.map_err(|error| format!("no TLS with {authority}: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    // Ends when the sender is dropped, at the latest.
    tokio::spawn(connection);
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(authority.as_str())?);
    *request.uri_mut() =
        uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), |path: PathAndQuery| path.into());
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

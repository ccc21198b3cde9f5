//! The ACME client's way to its authority. In: its requests. Out: whole answers, by `src/net/https.rs`.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};

use super::AcmeError;
use crate::net::https::{Client, NoTrust};

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(60);

/// Bytes of the longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Speaks to an authority.
pub(super) struct Https(Client);

impl Https {
    /// Trusts the authority in a file (PEM), or, without one, those that the system trusts.
    pub(super) fn trusting(file: Option<&Path>) -> Result<Https, AcmeError> {
        let client =
            Client::trusting(file, REQUEST_MAX, ANSWER_BYTES_MAX).map_err(|why| match (why, file) {
                (NoTrust::File, Some(file)) => AcmeError::NoTrust(format!(
                    "{}: {}; set acme.directory_ca",
                    file.display(),
                    NoTrust::File
                )),
                (why, _) => AcmeError::NoTrust(why.to_string()),
            })?;
        Ok(Https(client))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;

impl HttpClient for Https {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = client.ask(request).await.map_err(instant_acme::Error::Other)?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

//! The way to a service: by POST over HTTP, or by a request to a NATS server. In: a body, signed. Out: what the service
//! answered, or why the batch is not taken. What is dear to make is kept until something fails.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{ConnectOptions, Event, HeaderMap};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use tokio_rustls::rustls::ClientConfig;

use super::Trouble;
use super::wire::{SIGNATURE, TIMESTAMP};
use crate::config::ModerationService;
use crate::nats::Keys;
use crate::net::https::{self, BoxError, Client};

/// Bytes of the longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long it may take to connect to a NATS server.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How often a connection to a NATS server is tried in its client, once it was lost: then it is made anew by the next
/// request.
const RECONNECTS_MAX: usize = 10;

/// A header of an answer that says that the service failed, as services of NATS send it.
const SERVICE_ERROR: &str = "Nats-Service-Error-Code";

/// What is sent.
pub(super) struct Signed {
    pub(super) body: Vec<u8>,
    pub(super) timestamp: u64,
    pub(super) signature: String,
}

/// What is kept from one request to the next.
#[derive(Default)]
pub(super) struct Way {
    /// Whom this machine trusts: to read that takes a while.
    trusted: Option<Arc<ClientConfig>>,
    /// A connection to a NATS server, and by which settings it was made.
    nats: Option<(ModerationService, async_nats::Client)>,
}

impl Way {
    /// Asks, and gives the answer's body.
    ///
    /// # Errors
    /// Why the batch is not taken; [`Trouble::TooLarge`] if it never will be.
    pub(super) async fn ask(
        &mut self,
        settings: &ModerationService,
        url: &str,
        signed: Signed,
    ) -> Result<Bytes, Trouble> {
        match (settings.is_by_nats(), settings.subject.as_deref()) {
            (true, Some(subject)) => self.ask_by_nats(settings, url, subject, signed).await,
            _ => self.ask_by_http(settings, url, signed).await,
        }
    }

    async fn ask_by_http(
        &mut self,
        settings: &ModerationService,
        url: &str,
        signed: Signed,
    ) -> Result<Bytes, Trouble> {
        let request = |error: BoxError| Trouble::Request(error);
        let time_max = Duration::from_millis(settings.timeout_milliseconds);
        let client = match (url.starts_with("https:"), &self.trusted) {
            (false, _) => Client::plain(time_max, ANSWER_BYTES_MAX),
            (true, Some(trusted)) => Client::by(Arc::clone(trusted), time_max, ANSWER_BYTES_MAX),
            (true, None) => {
                let trusted = self.trusted.insert(https::trusting_system().await.map_err(request)?);
                Client::by(Arc::clone(trusted), time_max, ANSWER_BYTES_MAX)
            }
        };
        let asked = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(TIMESTAMP, signed.timestamp)
            .header(SIGNATURE, signed.signature)
            .body(Full::new(Bytes::from(signed.body)))
            .map_err(|error| request(error.into()))?;
        let answer = client.ask(asked).await.map_err(request)?;
        match answer.status().is_success() {
            true => Ok(answer.into_body()),
            false => Err(Trouble::Status(answer.status())),
        }
    }

    async fn ask_by_nats(
        &mut self,
        settings: &ModerationService,
        url: &str,
        subject: &str,
        signed: Signed,
    ) -> Result<Bytes, Trouble> {
        let client = self.connected(settings, url).await?;
        let mut headers = HeaderMap::new();
        headers.insert(TIMESTAMP, signed.timestamp.to_string());
        headers.insert(SIGNATURE, signed.signature);
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(signed.body.into())
            .timeout(Some(Duration::from_millis(settings.timeout_milliseconds)));
        let answer =
            client.send_request(subject.to_owned(), request).await.map_err(|error| match error.kind() {
                RequestErrorKind::MaxPayloadExceeded => Trouble::TooLarge(client.max_payload()),
                RequestErrorKind::NoResponders => Trouble::Nobody(subject.to_owned()),
                RequestErrorKind::TimedOut => Trouble::Late(settings.timeout_milliseconds),
                _ => Trouble::Request(error.into()),
            })?;
        let code = answer.headers.as_ref().and_then(|headers| headers.get(SERVICE_ERROR));
        if let Some(code) = code {
            return Err(Trouble::Failed(code.as_str().escape_debug().to_string()));
        }
        if answer.payload.len() > ANSWER_BYTES_MAX {
            return Err(Trouble::Long(answer.payload.len()));
        }
        Ok(answer.payload)
    }

    /// The connection that there is, if it is by these settings, or a new one.
    async fn connected(
        &mut self,
        settings: &ModerationService,
        url: &str,
    ) -> Result<async_nats::Client, Trouble> {
        if let Some((by, client)) = &self.nats
            && by == settings
            && client.connection_state() == State::Connected
        {
            return Ok(client.clone());
        }
        self.nats = None;
        let files = [&settings.password_file, &settings.tls_ca, &settings.tls_certificate, &settings.tls_key];
        let keys = Keys { user: &settings.user, files: files.map(Option::as_deref) };
        let options = ConnectOptions::new()
            .name("plaza moderation_service")
            .connection_timeout(CONNECT_TIME)
            .max_reconnects(RECONNECTS_MAX)
            .event_callback(|event| async move {
                match event {
                    // Such as that it may not publish there.
                    Event::ServerError(error) => {
                        tracing::warn!("the NATS server of a moderation service says: {error}");
                    }
                    event => tracing::debug!("the NATS server of a moderation service: {event}"),
                }
            });
        let options = keys.add_to(options).await.map_err(|error| Trouble::Request(error.into()))?;
        let client = options.connect(url).await.map_err(|error| Trouble::Request(error.into()))?;
        self.nats = Some((settings.clone(), client.clone()));
        Ok(client)
    }
}

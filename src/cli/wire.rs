//! A relay elsewhere, over its WebSocket, encrypted or not: connecting, logging in, messages. In: an address, and a key
//! where there is one to log in with. Out: JSON arrays. Knows no verb but AUTH and NOTICE.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use secp256k1::Keypair;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::{Failure, key};
use crate::event::{Event, Kind};
use crate::net::https;

/// How long a relay may be silent before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long it may take to ask who we are, where it asks at once.
const CHALLENGE_WAIT: Duration = Duration::from_secs(2);

/// What a WebSocket goes over.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A relay on the other side of a WebSocket.
pub(super) struct Remote {
    socket: WebSocket<Box<dyn Stream>>,
    /// The same socket, for its time-outs.
    tcp: TcpStream,
    url: String,
    key: Option<Keypair>,
    /// Whether the key was shown to it.
    pub(super) is_logged_in: bool,
    /// What it had to say beside answers: why it hangs up, often.
    notice: Option<String>,
}

impl Remote {
    /// Connects, and logs in if there is a key and the relay asks for one at once. `option` is what names the address
    /// on the command line.
    pub(super) fn connect(option: &str, url: &str, key: Option<Keypair>) -> Result<Remote, Failure> {
        let uri: Uri = url.parse().map_err(|error| format!("{option}: {url} is no address: {error}"))?;
        let (is_encrypted, host) = match (uri.scheme_str(), uri.host()) {
            (Some("ws"), Some(host)) => (false, host),
            (Some("wss"), Some(host)) => (true, host),
            _ => return Err(format!("{option}: {url} does not begin with ws:// or wss://").into()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = (host, uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }));
        let tcp = TcpStream::connect(address).map_err(|error| format!("cannot reach {url}: {error}"))?;
        tcp.set_read_timeout(Some(SILENCE_MAX))?;
        tcp.set_write_timeout(Some(SILENCE_MAX))?;
        tcp.set_nodelay(true)?;
        let plain = tcp.try_clone()?;
        let stream: Box<dyn Stream> = match is_encrypted {
            false => Box::new(plain),
            true => {
                let config = Arc::new(https::trusting(None)?);
                let tls = ClientConnection::new(config, ServerName::try_from(host.to_owned())?)?;
                Box::new(StreamOwned::new(tls, plain))
            }
        };
        let (socket, _) = tungstenite::client(url, stream)
            .map_err(|error| format!("{url} does not speak WebSocket: {error}"))?;
        let (url, is_logged_in, notice) = (url.to_owned(), false, None);
        let mut remote = Remote { socket, tcp, url, key, is_logged_in, notice };
        if remote.key.is_some() {
            remote.await_challenge()?;
        }
        Ok(remote)
    }

    /// Waits a moment for the relay to ask for a key. Others ask when something needs one.
    fn await_challenge(&mut self) -> Result<(), Failure> {
        self.tcp.set_read_timeout(Some(CHALLENGE_WAIT))?;
        let read = self.socket.read();
        self.tcp.set_read_timeout(Some(SILENCE_MAX))?;
        match read {
            Ok(message) => self.understand(&message).map(drop),
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Ok(())
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// What a broken connection means to the user.
    fn lost(&self, error: &tungstenite::Error) -> Failure {
        let notice = self.notice.as_ref().map(|notice| format!("; it said: {notice}"));
        format!("the connection to {} ended: {error}{}", self.url, notice.unwrap_or_default()).into()
    }

    /// Sends a message.
    pub(super) fn send(&mut self, text: String) -> Result<(), Failure> {
        self.socket.send(Message::text(text)).map_err(|error| self.lost(&error))
    }

    /// Sends an event.
    pub(super) fn send_event(&mut self, event: &Event) -> Result<(), Failure> {
        let json = String::from_utf8(event.to_json())?;
        self.send(format!("[\"EVENT\",{json}]"))
    }

    /// The next message that is a JSON array.
    pub(super) fn receive(&mut self) -> Result<Value, Failure> {
        loop {
            let message = self.socket.read().map_err(|error| self.lost(&error))?;
            if let Some(message) = self.understand(&message)? {
                return Ok(message);
            }
        }
    }

    /// A message's JSON. A question for a key is answered here.
    fn understand(&mut self, message: &Message) -> Result<Option<Value>, Failure> {
        let Message::Text(text) = message else { return Ok(None) };
        let Ok(message) = serde_json::from_str::<Value>(text) else { return Ok(None) };
        match (message[0].as_str(), message[1].as_str()) {
            (Some("NOTICE"), notice) => self.notice = notice.map(str::to_owned),
            (Some("AUTH"), Some(challenge)) => self.log_in(challenge)?,
            _ => {}
        }
        Ok(Some(message))
    }

    /// Answers a question for a key, if there is one.
    fn log_in(&mut self, challenge: &str) -> Result<(), Failure> {
        let Some(key) = &self.key else { return Ok(()) };
        let tags = [&["relay", &self.url][..], &["challenge", challenge]].into_iter().collect();
        let event = key::sign(key, Kind::AUTH, tags, String::new())?;
        let json: Value = serde_json::from_slice(&event.to_json())?;
        self.is_logged_in = true;
        self.send(json!(["AUTH", json]).to_string())
    }
}

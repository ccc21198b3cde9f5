//! `plaza admin`: managing a community of a relay that runs, here or elsewhere, without a browser's extension. In: a
//! secret key (`key.rs`). Out: a token to log in with, or the answer to a call. Never opens the store.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http_body_util::Full;
use hyper::{Request, Uri, header};
use secp256k1::Keypair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Failure, key};
use crate::event::Kind;
use crate::net::https::Client;
use crate::nips::{nip86, nip98};

/// How long a call may take: a reload of many settings may wait for the disk.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// Bytes of an answer: a thousand entries of the record are far less.
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a token for logging in at /admin; it is good for one minute, once
    Token(Target),
    /// Call a method of the management API, and write what it answers as JSON
    ///
    /// supportedmethods lists the methods that the key may call; the page nips/86.md says what each takes.
    Call(Call),
}

#[derive(Debug, Args)]
struct Target {
    /// Address of the community, such as https://your.name/berlin
    #[arg(long)]
    url: String,
    /// File with the secret key, as nsec1… or 64 hexadecimal digits; - reads standard input
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Debug, Args)]
struct Call {
    /// The method, such as banpubkey
    method: String,
    /// Its parameters in order: whole numbers, JSON where one begins with {, [ or ", else texts
    #[arg(value_name = "PARAM")]
    params: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// A community's address over HTTP.
struct Address {
    url: String,
    is_encrypted: bool,
}

impl Admin {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match self.command {
            Command::Token(target) => {
                let address = Address::parse(&target.url)?;
                let body = json!({"method": "login", "params": []}).to_string();
                writeln!(out, "{}", token(&key::keypair(&target.key)?, &address.url, body.as_bytes())?)?;
            }
            Command::Call(call) => {
                let address = Address::parse(&call.target.url)?;
                let params = call.params.iter().map(|param| value(param)).collect::<Result<Vec<_>, _>>()?;
                let body = json!({"method": call.method, "params": params}).to_string();
                let token = token(&key::keypair(&call.target.key)?, &address.url, body.as_bytes())?;
                serde_json::to_writer_pretty(&mut out, &answer(&address, token, body)?)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }
}

/// A parameter as the API takes it.
fn value(text: &str) -> Result<Value, Failure> {
    if text.starts_with(['{', '[', '"']) {
        return serde_json::from_str(text)
            .map_err(|error| format!("the parameter {text} begins like JSON and is none: {error}").into());
    }
    // Keys and ids of digits alone are longer than numbers can be.
    Ok(text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from))
}

/// A token for one request with this body.
fn token(keypair: &Keypair, url: &str, body: &[u8]) -> Result<String, Failure> {
    // Two tokens of one second differ.
    let content = hex::encode(secp256k1::rand::random::<[u8; 8]>());
    let tags = nip98::tags(url, "POST", Sha256::digest(body).into());
    let event = key::sign(keypair, Kind::HTTP_AUTH, tags, content)?;
    Ok(nip98::header(&event))
}

impl Address {
    /// Reads what people copy: the address of the relay or of its page, for HTTP or WebSocket.
    fn parse(text: &str) -> Result<Address, Failure> {
        let bare = text.trim().trim_end_matches('/');
        let bare = bare.strip_suffix("/admin").unwrap_or(bare);
        let wrong = || format!("--url: {text} is no address; write for example https://your.name/berlin");
        let (scheme, rest) = bare.split_once("://").ok_or_else(wrong)?;
        let is_encrypted = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(wrong().into()),
        };
        let url = format!("{}://{rest}", if is_encrypted { "https" } else { "http" });
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        uri.host().ok_or_else(wrong)?;
        Ok(Address { url, is_encrypted })
    }
}

/// What the relay answers: the result, or its error as a failure.
fn answer(address: &Address, token: String, body: String) -> Result<Value, Failure> {
    let client = match address.is_encrypted {
        true => Client::trusting(None, CALL_TIME_MAX, ANSWER_BYTES_MAX)?,
        false => Client::plain(CALL_TIME_MAX, ANSWER_BYTES_MAX),
    };
    let request = Request::post(&address.url)
        .header(header::CONTENT_TYPE, nip86::MEDIA_TYPE)
        .header(header::AUTHORIZATION, token)
        .body(Full::new(Bytes::from(body)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(client.ask(request));
    let text = answer.map_err(|error| format!("cannot reach {}: {error}", address.url))?.into_body();
    let not_spoken = || format!("{} does not speak NIP-86", address.url);
    let mut answer: Value = serde_json::from_slice(&text).map_err(|_| not_spoken())?;
    match answer["error"].as_str() {
        Some(sentence) => Err(sentence.to_owned().into()),
        None if answer.get("result").is_some() => Ok(answer["result"].take()),
        None => Err(not_spoken().into()),
    }
}

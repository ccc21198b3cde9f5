//! Plain HTTP on a relay's port, and calls of the management API.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use data_encoding::BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{PATIENCE, Person, TestRelay, json_of};

/// What a relay answers.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// One request on a connection of its own.
pub fn http(relay: &TestRelay, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    ask(relay.relay().address(), method, path, headers, body)
}

/// The same of a relay at an address.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    try_ask(address, method, path, headers, body).expect("the relay accepts, answers and closes")
}

/// The same of one that may not be there at this moment.
pub fn try_ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: relay.example\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(cut)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Answer { status, headers, body: body.to_owned() })
}

/// The tags of a token for a request with this body (NIP-98).
pub fn token_tags(url: &str, method: &str, body: &str) -> [[String; 2]; 3] {
    let payload = hex::encode(Sha256::digest(body.as_bytes()));
    [["u", url], ["method", method], ["payload", &payload]].map(|tag| tag.map(str::to_owned))
}

/// An `Authorization` header of a person.
pub fn authorization(person: &Person, kind: u16, created_at: u64, tags: &[[String; 2]]) -> String {
    let tags: Vec<Vec<&str>> = tags.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
    let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
    // Two requests for the same, in one second, have tokens of their own.
    let nonce = format!("{:x}", secp256k1::rand::random::<u64>());
    let event = person.event(kind, created_at, &tags, &nonce);
    format!("Nostr {}", BASE64.encode(json_of(&event).to_string().as_bytes()))
}

impl TestRelay {
    /// Calls a method of the management API of the community at a path, with a token of now: the status and the
    /// answer.
    pub fn call_at(&self, path: &str, person: &Person, method: &str, params: Value) -> (u16, Value) {
        let body = json!({"method": method, "params": params}).to_string();
        let community = self.relay().communities().at(path).expect("a community");
        let named = community.settings().relay.urls.first().cloned();
        let url = named.unwrap_or_else(|| self.url_at(path)).replacen("ws", "http", 1);
        let tags = token_tags(&url, "POST", &body);
        let header = authorization(person, 27_235, self.clock.now(), &tags);
        let headers = [("Content-Type", "application/nostr+json+rpc"), ("Authorization", &header)];
        let answer = http(self, "POST", path, &headers, &body);
        (answer.status, answer.json())
    }

    /// Calls a method that must be carried out; its result.
    pub fn call_ok(&self, person: &Person, method: &str, params: Value) -> Value {
        let (status, mut answer) = self.call_at("/", person, method, params);
        assert!(status == 200 && answer.get("error").is_none(), "{method}: {status} {answer}");
        answer["result"].take()
    }

    /// Calls a method that must not be carried out: the status and why.
    pub fn call_refused(&self, person: &Person, method: &str, params: Value) -> (u16, String) {
        let (status, answer) = self.call_at("/", person, method, params);
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{method}: {status} {answer}"));
        (status, error.to_owned())
    }
}

/// What a GET at an address answers.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], "")
}

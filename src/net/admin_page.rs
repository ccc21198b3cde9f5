//! The page for those who manage a community, at `/admin` below its path: the files of `src/admin/web/`, which this
//! binary holds. In: GET requests. Out: files, with headers that let the page run its own scripts and nobody else's.
//! Knows no secrets and decides nothing: what the page does goes through the management API.

use std::sync::{Arc, LazyLock};

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use sha2::{Digest, Sha256};

use super::http::{Answer, Connection, HTML, address, empty, redirection, typed};
use super::page::escape;
use crate::community::Community;

const CSS: &str = "text/css; charset=utf-8";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page that is the same for every community.
struct File {
    name: &'static str,
    media: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($name:literal, $media:expr) => {
        File { name: $name, media: $media, text: include_str!(concat!("../admin/web/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("style.css", CSS),
    file!("icon.svg", "image/svg+xml"),
    file!("app.js", JAVASCRIPT),
    file!("api.js", JAVASCRIPT),
    file!("dom.js", JAVASCRIPT),
    file!("groups.js", JAVASCRIPT),
    file!("keys.js", JAVASCRIPT),
    file!("lists.js", JAVASCRIPT),
    file!("login.js", JAVASCRIPT),
    file!("mirrors.js", JAVASCRIPT),
    file!("now.js", JAVASCRIPT),
    file!("people.js", JAVASCRIPT),
    file!("queue.js", JAVASCRIPT),
    file!("record.js", JAVASCRIPT),
    file!("rules.js", JAVASCRIPT),
    file!("settings.js", JAVASCRIPT),
];

const PAGE: &str = include_str!("../admin/web/index.html");

const CLOSED: &str = include_str!("../admin/web/closed.html");

/// What the page may load: its own files, and pictures and films of events once somebody asks to see one.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' https:; media-src https:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Tags of the files, in their order: what a browser asks with whether it has this one.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(|file| tag(file.text)).collect());

fn tag(text: &str) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(text.as_bytes())[..16]))
}

/// Answers a request for the page of some community or for one of its files; `None` when it is for neither.
pub(super) fn serve(
    connection: &Connection,
    host: Option<&str>,
    request: &Request<Incoming>,
) -> Option<Answer> {
    let path = request.uri().path();
    let (above, file) = path.rsplit_once("/admin")?;
    let above = if above.is_empty() { "/" } else { above };
    let community = connection.shared.communities.find(host, above)?;
    if let Some(answer) = redirection(connection, &community, request) {
        return Some(answer);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = typed(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "This page answers GET.\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(answer);
    }
    let answer = match file.strip_prefix('/') {
        None if !file.is_empty() => return None,
        None => {
            let text = page(connection, &community);
            tagged(request.headers(), HTML, &tag(&text), text)
        }
        // Its links lead to files below this path, so it has no slash at the end.
        Some("") => {
            let mut answer = empty(StatusCode::PERMANENT_REDIRECT);
            answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("../admin"));
            answer
        }
        Some(name) => {
            let at = FILES.iter().position(|file| file.name == name)?;
            tagged(request.headers(), FILES[at].media, &TAGS[at], FILES[at].text)
        }
    };
    Some(guarded(answer))
}

/// The page of a community; without owners, how to name one.
fn page(connection: &Connection, community: &Arc<Community>) -> String {
    let settings = community.settings();
    let name = escape(&settings.relay.name);
    if settings.admin.owners.is_empty() {
        let section = if community.path() == "/" { "[admin]" } else { "[community.admin]" };
        return CLOSED.replace("{{name}}", &name).replace("{{section}}", section);
    }
    let address = address(connection, community);
    let http = address.strip_prefix("ws").map_or(address.clone(), |rest| format!("http{rest}"));
    PAGE.replace("{{name}}", &name).replace("{{address}}", &escape(&http))
}

/// A file, or word that the browser has it already.
fn tagged(asked: &HeaderMap, media: &'static str, tag: &str, text: impl Into<bytes::Bytes>) -> Answer {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let mut answer =
        if is_known { empty(StatusCode::NOT_MODIFIED) } else { typed(StatusCode::OK, media, text) };
    let headers = answer.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    // Asked again each time, so that a page never runs with files of another release.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Headers that keep others away from the page.
fn guarded(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    let all = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

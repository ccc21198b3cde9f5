//! HTTP on the relay's port: the information document (NIP-11), pages for people, and the upgrade to
//! WebSocket. In: requests. Out: responses, and sessions. Bodies are read of calls of the management API alone.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::deflate::{self, Deflate};
use super::page::{self, Numbers};
use super::server::{Guard, Shared};
use super::session::{self, Session};
use super::stream::Stream;
use super::{admin_page, manage, monitor, redirect};
use crate::community::Community;
use crate::config;
use crate::memory::Charge;
use crate::nips::{nip05, nip11};
use crate::policy::restricts_writes;
use crate::rule::moderation::Standing;

pub(super) type Answer = Response<Full<Bytes>>;

const NOSTR_JSON: &str = "application/nostr+json";

pub(super) const HTML: &str = "text/html; charset=utf-8";

/// One accepted connection.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: SocketAddr,
    pub(super) local: Option<SocketAddr>,
    /// Whether it is encrypted up to this process.
    pub(super) is_encrypted: bool,
    /// Counts the connection until all that holds it is gone.
    pub(super) guard: Arc<Guard>,
    /// What it takes besides while it speaks HTTP; given back at the upgrade.
    pub(super) _charge: Charge,
}

/// Answers one request.
pub(super) async fn serve(connection: &Connection, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let shared = &connection.shared;
    if let Some(sentence) = ambiguous(&request) {
        let mut answer = text(StatusCode::BAD_REQUEST, sentence);
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(answer);
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if let Some(answer) = monitor::probe(shared, request.uri().path()).await {
        return Ok(answer);
    }
    // Names are those of the host.
    let path = if request.uri().path() == nip05::PATH { "/" } else { request.uri().path() };
    let Some(community) = shared.communities.find(host, path) else {
        let page = admin_page::serve(connection, host, &request);
        return Ok(
            page.unwrap_or_else(|| text(StatusCode::NOT_FOUND, "There is no community at this path.\n"))
        );
    };
    if request.uri().path() == nip05::PATH {
        return Ok(names(&community, &request));
    }
    let upgrades = has_token(request.headers(), header::CONNECTION, "upgrade")
        && has_token(request.headers(), header::UPGRADE, "websocket");
    if upgrades {
        return Ok(upgrade(connection, community, request).unwrap_or_else(|refusal| *refusal));
    }
    if let Some(answer) = redirection(connection, &community, &request) {
        return Ok(answer);
    }
    Ok(match *request.method() {
        Method::OPTIONS => with_cors(empty(StatusCode::NO_CONTENT)),
        Method::POST if manage::is_call(&request) => manage::serve(connection, community, request).await,
        Method::GET | Method::HEAD => page(connection, &community, &request),
        _ => {
            let mut answer = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "This relay answers GET, WebSocket, and calls of NIP-86.\n",
            );
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS, POST"));
            answer
        }
    })
}

/// Why it is not clear for which relay a request is (RFC 9112, section 3.2): proxies and this relay might take it
/// for different ones.
fn ambiguous(request: &Request<Incoming>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), request.uri().authority()) {
        (None, ..) if request.version() == Version::HTTP_11 => Some("A request of HTTP/1.1 has a Host.\n"),
        (Some(_), Some(_), _) => Some("A request has one Host.\n"),
        (Some(host), None, Some(named))
            if !host.as_bytes().eq_ignore_ascii_case(named.as_str().as_bytes()) =>
        {
            Some("The request is for one host, and its Host is another.\n")
        }
        _ => None,
    }
}

/// Sends a plain request to https, where that is so set. Not a preflight (OPTIONS), which browsers do not let be
/// sent elsewhere.
pub(super) fn redirection(
    connection: &Connection,
    community: &Community,
    request: &Request<Incoming>,
) -> Option<Answer> {
    let shared = &connection.shared;
    let tls_port =
        shared.tls_port.filter(|_| shared.current.get().tls.redirect_http && !connection.is_encrypted)?;
    if request.method() == Method::OPTIONS || shared.is_proxy(connection.peer.ip()) {
        return None;
    }
    let urls = &community.settings().relay.urls;
    let location = redirect::to_https(request.headers(), request.uri(), urls, tls_port)?;
    let mut answer = text(StatusCode::PERMANENT_REDIRECT, "This relay is at https.\n");
    answer.headers_mut().insert(header::LOCATION, HeaderValue::try_from(location).ok()?);
    // Scripts of other pages may follow it to the information document.
    Some(with_cors(answer))
}

/// Whose a name at the community's domain is (NIP-05).
fn names(community: &Community, request: &Request<Incoming>) -> Answer {
    let rules = community.rules();
    let moderation = &rules.known.moderation;
    let name = nip05::asked(request.uri().query());
    let key = moderation.names.get(&name).or_else(|| rules.settings.nip05.names.get(&name));
    let key = key.filter(|key| moderation.author(key) != Some(Standing::Banned));
    let document = nip05::document(&name, key, &rules.settings.relay.urls);
    with_cors(typed(StatusCode::OK, "application/json", document.to_string()))
}

/// What a community says of itself: its information document, its rules (`?rules`), or a page for people.
fn page(connection: &Connection, community: &Community, request: &Request<Incoming>) -> Answer {
    let settings = &*community.settings();
    let headers = request.headers();
    let wants =
        |what: &str| request.uri().query().is_some_and(|query| query.split('&').any(|one| one == what));
    let numbers = Numbers { events: community.index().len(), connections: community.connected.len() };
    if wants("numbers") {
        return with_cors(typed(StatusCode::OK, "application/json", numbers.json()));
    }
    if wants("script") {
        return typed(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT);
    }
    let wants_rules = wants("rules");
    if wants_rules && accepts(headers, "application/json") {
        return with_cors(typed(StatusCode::OK, "application/json", page::rules_json(settings)));
    }
    if wants_rules {
        return typed(StatusCode::OK, HTML, page::rules(settings));
    }
    if accepts(headers, NOSTR_JSON) {
        let document = nip11::document(settings, restricts_writes(settings)).to_string();
        return with_cors(typed(StatusCode::OK, NOSTR_JSON, document));
    }
    let address = address(connection, community);
    typed(
        StatusCode::OK,
        HTML,
        page::landing(settings, &address, &connection.shared.picture(community), numbers),
    )
}

/// The community's address: the first one that the settings name, else where it was reached.
pub(super) fn address(connection: &Connection, community: &Community) -> String {
    match (community.settings().relay.urls.first(), connection.local) {
        (Some(url), _) => url.clone(),
        (None, Some(local)) => {
            let scheme = if connection.is_encrypted { "wss" } else { "ws" };
            // A socket for both families calls 127.0.0.1 by a name of IPv6.
            let local = SocketAddr::new(local.ip().to_canonical(), local.port());
            format!("{scheme}://{local}{}", community.path().trim_end_matches('/'))
        }
        (None, None) => community.path().to_owned(),
    }
}

/// Checks a WebSocket handshake (RFC 6455, section 4.2) and starts a session.
fn upgrade(
    connection: &Connection,
    community: Arc<Community>,
    mut request: Request<Incoming>,
) -> Result<Answer, Box<Answer>> {
    let bad = |status, sentence: &'static str| Err(Box::new(text(status, sentence)));
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return bad(StatusCode::BAD_REQUEST, "A WebSocket handshake is a GET of HTTP/1.1.\n");
    }
    if !request.body().is_end_stream() {
        return bad(StatusCode::BAD_REQUEST, "A WebSocket handshake has no body.\n");
    }
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "This relay speaks WebSocket version 13.\n");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(answer));
    }
    // The key is 16 bytes in base64: 22 digits and two signs of padding.
    let is_key = |key: &&HeaderValue| {
        let digits = key.as_bytes().strip_suffix(b"==").unwrap_or_default();
        digits.len() == 22
            && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || b"+/".contains(digit))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(is_key);
    let accept = key.and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        return bad(StatusCode::BAD_REQUEST, "The handshake has no valid Sec-WebSocket-Key.\n");
    };
    let shared = &connection.shared;
    let address = client_address(connection, headers);
    let charged = charged_address(connection, headers);
    // Others were counted when they came.
    let address_guard = shared.is_proxy(connection.peer.ip()).then(|| shared.count_address(charged));
    if matches!(address_guard, Some(None)) {
        shared.pipeline.meter.connections_refused.inc();
        return bad(StatusCode::TOO_MANY_REQUESTS, "Too many connections from this address.\n");
    }
    let relay = shared.names(&community, connection.local);
    let session = Session::new(Arc::clone(shared), Arc::clone(&community), relay, address, charged);
    // Asked when it counts as connected: who is turned away from now on is found among those.
    if community.rules().known.moderation.blocks(address) {
        shared.pipeline.meter.connections_refused.inc();
        return bad(StatusCode::FORBIDDEN, "Connections from this address are not taken here.\n");
    }
    tracing::debug!(community = community.path(), address = shared.logged(address), "connected");
    let (deflate, agreed) = compression(shared, headers).unzip();
    let guard = Arc::clone(&connection.guard);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _guards = (guard, address_guard);
        if let Some((stream, ahead)) = Box::pin(unwrapped(upgraded)).await {
            session::run(session, stream, ahead, deflate).await;
        }
    });
    let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(agreed) = agreed {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    Ok(answer)
}

/// What is agreed on of the compression that a client offers, and the header that says so. Contexts are for those who
/// come while there is memory for them.
fn compression(shared: &Shared, headers: &HeaderMap) -> Option<(Box<Deflate>, HeaderValue)> {
    let config = shared.current.get();
    let settings = &config.compression;
    if !settings.enabled {
        return None;
    }
    let values = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    let texts: Option<Vec<&str>> = values.map(|value| value.to_str().ok()).collect();
    let offer = *deflate::offers::offers(texts?.into_iter()).first()?;
    let (mut agreed, mut charges) = (offer.agree(None), None);
    if settings.context_bytes_max > 0 {
        let wanted = offer.agree(Some(settings.context_window_bits));
        charges = shared.take_context(wanted.context_bytes(), settings.context_bytes_max);
        if charges.is_some() {
            agreed = wanted;
        }
    }
    let header = HeaderValue::try_from(agreed.to_string()).ok()?;
    Some((Deflate::new(agreed, settings, charges), header))
}

/// The stream of an upgraded connection, out of hyper's wrapping, and what was already read of it. Nothing of
/// hyper's must outlive this: its buffer is 8 KiB.
async fn unwrapped(upgraded: OnUpgrade) -> Option<(Stream, Vec<u8>)> {
    let parts = upgraded.await.ok()?.downcast::<TokioIo<Stream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}

/// Whom rates are charged to.
pub(super) fn charged_address(connection: &Connection, headers: &HeaderMap) -> IpAddr {
    connection.shared.pipeline.rates.address(client_address(connection, headers))
}

/// Whose connection this is.
fn client_address(connection: &Connection, headers: &HeaderMap) -> IpAddr {
    stated_address(connection.peer.ip(), headers, &connection.shared.current.get().server)
}

/// Whose a connection of this peer is: the peer's, or what a trusted proxy says. Proxies append to the header, so
/// the last address that is not a trusted proxy's own is the client's.
pub(super) fn stated_address(peer: IpAddr, headers: &HeaderMap, server: &config::Server) -> IpAddr {
    let is_trusted = |ip: &IpAddr| server.trusted_proxies.iter().any(|network| network.contains(ip));
    let mut address = peer.to_canonical();
    let Ok(name) = HeaderName::try_from(&server.client_address_header) else { return address };
    let stated = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let stated: Vec<&str> = stated.flat_map(|value| value.split(',')).map(str::trim).collect();
    for text in stated.into_iter().rev() {
        if !is_trusted(&address) {
            break;
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip())) {
            Ok(stated) => address = stated.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|one| one.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(wanted)))
}

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

pub(super) fn typed(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}

fn text(status: StatusCode, sentence: &'static str) -> Answer {
    typed(status, "text/plain; charset=utf-8", sentence)
}

/// NIP-11 asks for these three headers; a star alone does not stand for `Authorization`, which NIP-86 needs.
pub(super) fn with_cors(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, Authorization"));
    headers
        .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS, POST"));
    answer
}

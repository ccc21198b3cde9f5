//! The management API over HTTP (nips/86.md): reads the request, checks whose it is (nips/98.md, or a session), hands the call over.
//! In: POST requests. Out: JSON. Never decides who may do what; `src/admin/` does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::http::{Answer, Connection, charged_address, typed, with_cors};
use crate::admin::{Admin, Caller, Denied, SessionId};
use crate::community::Community;
use crate::event::PublicKey;
use crate::memory::CLIENTS_FULL;
use crate::nips::{nip86, nip98};

/// Bytes of a request's body: the largest holds an event to be explained.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What a call takes: its body, what is read of it, and its answer.
const CALL_BYTES: usize = 4 * BODY_BYTES_MAX;

/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(10);

fn answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = typed(status, "application/json", body.to_string());
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Nostr"));
    }
    with_cors(answer)
}

fn error(status: StatusCode, sentence: &str) -> Answer {
    answer(status, &json!({"error": sentence}))
}

/// Whether a request is a call of the management API.
pub(super) fn is_call(request: &Request<Incoming>) -> bool {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
    media
        .and_then(|media| media.split(';').next())
        .is_some_and(|media| media.trim().eq_ignore_ascii_case(nip86::MEDIA_TYPE))
}

/// Answers one call.
pub(super) async fn serve(
    connection: &Connection,
    community: Arc<Community>,
    request: Request<Incoming>,
) -> Answer {
    let shared = Arc::clone(&connection.shared);
    let charged = charged_address(connection, request.headers());
    if let Err(refusal) = shared.pipeline.rates.address_request(&charged) {
        return error(StatusCode::TOO_MANY_REQUESTS, &refusal.to_string());
    }
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|header| header.to_str().ok()).map(str::to_owned);
    let Some(_room) = shared.memory().take(CALL_BYTES) else {
        return error(StatusCode::SERVICE_UNAVAILABLE, CLIENTS_FULL);
    };
    let body = match read(request).await {
        Ok(body) => body,
        Err(answer) => return *answer,
    };
    let relay = shared.names(&community, connection.local);
    // Signatures take the CPU and changes wait for the disk: neither may hold up other connections.
    let called = tokio::task::spawn_blocking(move || {
        let now = shared.pipeline.clock.now();
        let payload = Sha256::digest(&body).into();
        let requested = nip98::Requested { method: "POST", payload, relay: &relay, now };
        let (key, session) = match whose(&shared.admin, &community, authorization.as_deref(), &requested) {
            Ok(whose) => whose,
            Err(sentence) => return error(StatusCode::UNAUTHORIZED, &sentence),
        };
        let (name, method) = match nip86::read(&body) {
            Ok(call) => call,
            Err(unreadable) => return error(StatusCode::BAD_REQUEST, &unreadable.to_string()),
        };
        let caller = Caller { community: &community, key, session, relay: &relay };
        match shared.admin.call(&caller, &name, &method, now) {
            Ok(result) => answer(StatusCode::OK, &json!({"result": result})),
            Err(Denied::Forbidden(sentence)) => error(StatusCode::FORBIDDEN, &sentence),
            Err(Denied::Refused(sentence)) => error(StatusCode::OK, &sentence),
            Err(Denied::Failed(sentence)) => error(StatusCode::INTERNAL_SERVER_ERROR, &sentence),
        }
    });
    called.await.unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "the call failed"))
}

/// Whose a call is: of who signed its token, or who opened the session that it names.
fn whose(
    admin: &Admin,
    community: &Community,
    authorization: Option<&str>,
    requested: &nip98::Requested<'_>,
) -> Result<(PublicKey, Option<SessionId>), String> {
    if let Some(bearer) = authorization.and_then(|header| header.strip_prefix("Bearer ")) {
        let (key, session) = admin.session(community, bearer, requested.now)?;
        return Ok((key, Some(session)));
    }
    let token = nip98::authorize(authorization, requested)?;
    admin.take_token(&token, requested.now)?;
    Ok((token.key, None))
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Box<Answer>> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(reason)) if reason.is::<LengthLimitError>() => {
            let sentence = format!("a body has at most {BODY_BYTES_MAX} bytes");
            Err(Box::new(error(StatusCode::PAYLOAD_TOO_LARGE, &sentence)))
        }
        Ok(Err(_)) => Err(Box::new(error(StatusCode::BAD_REQUEST, "the body cannot be read to its end"))),
        Err(_) => Err(Box::new(error(StatusCode::REQUEST_TIMEOUT, "the body took too long"))),
    }
}

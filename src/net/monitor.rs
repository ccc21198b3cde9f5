//! For those who watch the relay: whether it lives and serves (`/health`, `/ready`), and its numbers (`/metrics`, on an
//! address of its own). In: GET requests. Out: texts. Never tells who is connected.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::http::{Answer, typed};
use super::server::Shared;
use crate::metrics::{MEDIA_TYPE, Metrics};

/// How long the writer may take to say that it moves.
const WRITER_TIME: Duration = Duration::from_secs(5);

/// How long a request may take to arrive.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// Connections at once to the address of the numbers.
const CONNECTIONS_MAX: usize = 32;

/// How long accepting rests when the machine has nothing left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn text(status: StatusCode, sentence: &'static str) -> Answer {
    let mut answer = typed(status, "text/plain; charset=utf-8", sentence);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The answer to a probe, if the path is one.
pub(super) async fn probe(shared: &Shared, path: &str) -> Option<Answer> {
    match path {
        "/health" => Some(text(StatusCode::OK, "alive\n")),
        "/ready" => Some(match unready(shared).await {
            None => text(StatusCode::OK, "ready\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
        }),
        _ => None,
    }
}

/// Why events are not taken, if they are not.
async fn unready(shared: &Shared) -> Option<&'static str> {
    if shared.stop.is_set() {
        return Some("the relay is stopping\n");
    }
    if shared.pipeline.has_failed() {
        return Some(
            "the store has failed and takes no events until the disk takes writes again; see the log\n",
        );
    }
    if let Some(why) = shared.pipeline.log.as_ref().and_then(|log| log.unready()) {
        return Some(why);
    }
    match tokio::time::timeout(WRITER_TIME, shared.pipeline.writer_moves()).await {
        Ok(true) => None,
        _ => Some("the writer does not move\n"),
    }
}

/// Serves the numbers until the relay stops.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, metrics: Arc<Metrics>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = shared.stop.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((stream, _)), Ok(permit)) = (accepted, Arc::clone(&room).try_acquire_owned()) else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (shared, metrics) = (Arc::clone(&shared), Arc::clone(&metrics));
        tokio::spawn(async move {
            let _permit = permit;
            let stop = Arc::clone(&shared.stop);
            tokio::select! {
                () = connection(stream, shared, metrics) => {}
                () = stop.wait() => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, metrics: Arc<Metrics>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, metrics) = (Arc::clone(&shared), Arc::clone(&metrics));
        async move { Ok::<_, Infallible>(answer(request.uri().path(), &shared, metrics).await) }
    });
    // Who speaks no HTTP is gone, or has been answered.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(path: &str, shared: &Shared, metrics: Arc<Metrics>) -> Answer {
    if let Some(answer) = probe(shared, path).await {
        return answer;
    }
    if path != "/metrics" {
        return text(StatusCode::NOT_FOUND, "There are /metrics, /health and /ready here.\n");
    }
    // Files are looked at for their lengths.
    match tokio::task::spawn_blocking(move || metrics.text()).await {
        Ok(Ok(numbers)) => typed(StatusCode::OK, MEDIA_TYPE, numbers),
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "The numbers cannot be written.\n"),
    }
}

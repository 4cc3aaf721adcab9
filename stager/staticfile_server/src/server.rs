//! Connections: how many, how long, and how they end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::responder::Responder;
use crate::stall::Impatient;

/// What clients may ask of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at a time; others wait in the kernel's queue. With some 64 KiB each they
    /// bound the memory.
    pub connections: usize,
    /// How long a request's head may take, and how long a connection may idle between requests.
    pub head_within: Duration,
    /// How long a client may take nothing of an answer.
    pub write_within: Duration,
    /// How long requests may go on after the server was asked to stop.
    pub grace: Duration,
}

/// Buffer per connection for reading and for writing, in bytes; also the largest request head.
const BUFFER_BYTES: usize = 16 * 1024;
/// Pause after an accept that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            head_within: Duration::from_secs(75),
            write_within: Duration::from_secs(60),
            grace: Duration::from_secs(8),
        }
    }
}

/// Serves `listener` until `stop`, then lets the requests in flight end.
pub async fn serve(
    listener: TcpListener,
    responder: Arc<Responder>,
    limits: Limits,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    while let Some((stream, place)) = accept(&listener, &room, &stop).await {
        let (responder, stop) = (Arc::clone(&responder), stop.clone());
        connections.spawn(async move {
            converse(stream, responder, limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    // Whoever is not done by then is cut off by the end of the process.
    let _ = tokio::time::timeout(limits.grace, connections.wait()).await;
}

/// The next connection and its place among the limited number; `None` when it is time to stop.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = tokio::select! {
        () = stop.cancelled() => return None,
        place = Arc::clone(room).acquire_owned() => place.ok()?,
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => return Some((stream, place)),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse(
    stream: TcpStream,
    responder: Arc<Responder>,
    limits: Limits,
    stop: CancellationToken,
) {
    // A connection without it works too, only slower.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let responder = Arc::clone(&responder);
        async move { Ok::<_, Infallible>(responder.answer(&request)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(
            TokioIo::new(Impatient::new(stream, limits.write_within)),
            answer,
        );
    tokio::pin!(connection);
    tokio::select! {
        // A connection ends in an error when its client goes away: nobody is left to tell.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

//! A connection to an endpoint.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::request_body::RequestBody;
use crate::config::Config;
use crate::failure::Cause;
use crate::registry::{Address, Endpoint, Standing};
use crate::watch::Watch;

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    client: http1::Builder,
    within: Duration,
}

/// A connection to an endpoint, driven by whoever holds it.
pub(super) struct Upstream {
    sender: SendRequest<RequestBody>,
    driver: Connection<TokioIo<TcpStream>, RequestBody>,
    socket: RawFd,
    standing: Arc<Standing>,
    ended: bool,
    pub(super) parked_at: Instant,
}

/// Why an endpoint gave no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// It did something wrong. The request comes back when none of it was sent.
    Endpoint(Cause, Option<Box<Request<RequestBody>>>),
    /// It took too long.
    Timeout,
    /// The client broke off, or broke the rules, in the middle of its body.
    Client,
}

// === impl Dialer ===

impl Dialer {
    pub(super) fn new(config: &Config) -> Self {
        let mut client = http1::Builder::new();
        client
            .preserve_header_case(true)
            .title_case_headers(true)
            .max_buf_size(config.max_answer_head_bytes);
        Self {
            client,
            within: config.dial_timeout,
        }
    }

    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Box<Upstream>, Cause> {
        let connect = async {
            match &endpoint.address {
                Address::Ip(socket) => TcpStream::connect(socket).await,
                Address::Name(host, port) => TcpStream::connect((&**host, *port)).await,
            }
        };
        let stream = timeout(self.within, connect)
            .await
            .map_err(|_| Cause::DialTimeout)?
            .map_err(|_| Cause::Dial)?;
        let _ = stream.set_nodelay(true); // a hint: nothing is wrong without it
        let socket = stream.as_raw_fd();
        let (sender, driver) = self
            .client
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Cause::Dial)?;
        Ok(Box::new(Upstream {
            sender,
            driver,
            socket,
            standing: Arc::clone(&endpoint.standing),
            ended: false,
            parked_at: Instant::now(),
        }))
    }
}

// === impl Upstream ===

impl Upstream {
    /// Whose it is.
    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Lets the connection read and write what it can. Ready when it has ended.
    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ended && Pin::new(&mut self.driver).poll(cx).is_ready() {
            // An error has reached the exchange by its own way.
            self.ended = true;
        }
        if self.ended {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether another request can be sent on it: the last exchange is over in both directions, and
    /// the endpoint is still who it was.
    pub(super) fn is_reusable(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_drive(cx).is_pending() && self.sender.is_ready() && !self.standing.retired()
    }

    /// Asks the kernel whether the other side has closed, which the event loop may not have seen yet.
    pub(super) fn is_quiet(&self) -> bool {
        // The descriptor is this connection's own for as long as `driver` lives.
        let peeked = recv(
            self.socket,
            &mut [0],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        );
        peeked == Err(Errno::EAGAIN)
    }

    /// Sends `request` and waits for the head of the answer. Dropping the future leaves the connection
    /// in the middle of the exchange: drop it, too.
    pub(super) async fn ask(
        &mut self,
        request: Request<RequestBody>,
        watch: &Watch,
    ) -> Result<Response<Incoming>, Lost> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            let _ = self.poll_drive(cx);
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if watch.expired() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match answered.await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(mut failed)) => {
                let unsent = failed.take_message();
                Err(lost(failed.error(), unsent))
            }
            None => Err(Lost::Timeout),
        }
    }

    /// Takes the socket back after a 101, with what was read beyond it.
    pub(super) async fn into_socket(mut self: Box<Self>) -> Option<(TcpStream, bytes::Bytes)> {
        // hyper ends its part as soon as it has seen the 101; it never waits for the network here.
        let ended = poll_fn(|cx| Poll::Ready(self.poll_drive(cx).is_ready())).await;
        ended.then(|| {
            let parts = self.driver.into_parts();
            (parts.io.into_inner(), parts.read_buf)
        })
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("endpoint", &self.standing.id())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

fn lost(error: &hyper::Error, unsent: Option<Request<RequestBody>>) -> Lost {
    if error.is_user() || error.is_body_write_aborted() {
        return Lost::Client;
    }
    let cause = if error.is_parse_too_large() {
        Cause::TooLarge
    } else if error.is_parse() {
        Cause::Malformed
    } else if is_reset(error) {
        Cause::Reset
    } else {
        Cause::Closed
    };
    Lost::Endpoint(cause, unsent.map(Box::new))
}

fn is_reset(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            );
        }
        source = error.source();
    }
    false
}

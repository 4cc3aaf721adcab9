//! HTTP/1 on hyper.
//!
//! Client and endpoint connection of one exchange are polled by one task: the endpoint's connection
//! future lives in the answer's body ([`relay`]). So an answer of many small chunks goes out in a few
//! large writes, where a task of its own would hand over, and flush, one frame at a time.

mod client_io;
mod exchange;
mod forward;
mod idle;
mod relay;
mod reply;
mod request_body;
mod tunnel;
mod upstream;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::client_io::ClientIo;
use self::idle::IdlePool;
use self::relay::AnswerBody;
use self::tunnel::Tunnel;
use self::upstream::Dialer;
use super::Engine;
use crate::core::{Core, Stage};
use crate::headers::peer_value;
use crate::watch::{Phase, Watch};

/// How long, and for how many bytes, to hear out a client whose request was answered before it was
/// read: closing at once would reset the connection and take the answer with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// The engine of one core.
#[derive(Debug)]
pub(crate) struct HyperEngine {
    core: Rc<Core>,
    server: http1::Builder,
    dialer: Dialer,
    idle: Rc<IdlePool>,
}

/// What a connection's exchanges share.
#[derive(Debug)]
struct Link {
    peer: SocketAddr,
    /// The peer's address as `X-Forwarded-For` shows it.
    peer_value: HeaderValue,
    watch: Rc<Watch>,
    /// An endpoint that agreed to an upgrade, until the 101 has been written.
    tunnel: RefCell<Option<Tunnel>>,
    /// Whether the body of the last request has not been read to its end.
    request_open: Rc<Cell<bool>>,
}

/// How the HTTP part of a connection ended.
enum Ended {
    /// By the protocol's rules.
    Closed,
    /// By a breach of them, or the network's fault.
    Failed,
    /// By our deadline.
    Expired,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>>>>;

// === impl HyperEngine ===

impl Engine for HyperEngine {
    fn new(core: Rc<Core>) -> Self {
        let config = &core.config;
        let mut server = http1::Builder::new();
        server
            .header_read_timeout(None) // the watch does it, without a timer per request
            .max_buf_size(config.max_request_head_bytes)
            .preserve_header_case(true)
            .title_case_headers(true)
            .auto_date_header(false);
        let idle = IdlePool::new(config.max_idle_per_endpoint, config.endpoint_idle);
        Self {
            server,
            dialer: Dialer::new(config),
            idle: Rc::new(idle),
            core,
        }
    }

    async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let watched = self.core.watches.enlist();
        let watch = watched.watch();
        let link = Rc::new(Link {
            peer,
            peer_value: peer_value(peer.ip()),
            watch: Rc::clone(watch),
            tunnel: RefCell::new(None),
            request_open: Rc::default(),
        });
        let service = service_fn({
            let (engine, link) = (Rc::clone(&self), Rc::clone(&link));
            move |request: Request<Incoming>| -> Answering {
                let (engine, link) = (Rc::clone(&engine), Rc::clone(&link));
                // Boxed, so that an idle connection holds no request's state.
                Box::pin(async move { Ok(engine.answer(&link, request).await) })
            }
        });
        let io = TokioIo::new(ClientIo::new(stream, Rc::clone(watch)));
        let mut connection = self.server.serve_connection(io, service);
        let mut draining = false;
        let ended = poll_fn(|cx| {
            watch.heed(cx);
            // While an endpoint is waited for, the exchange itself answers for the delay.
            if watch.expired() && watch.phase() != Phase::Waiting {
                return Poll::Ready(Ended::Expired);
            }
            if !draining && self.core.stage.get() == Stage::Closing {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Pin::new(&mut connection).poll(cx).map(|ended| {
                if ended.is_ok() {
                    Ended::Closed
                } else {
                    Ended::Failed
                }
            })
        })
        .await;
        let tunnel = link.tunnel.take();
        let refused = matches!(ended, Ended::Failed) || link.request_open.get();
        match (ended, tunnel) {
            (Ended::Expired, _) => {}
            (_, Some(tunnel)) => {
                let parts = connection.into_parts();
                watch.enter(Phase::Tunnel);
                tunnel.run(parts.io.into_inner(), parts.read_buf).await;
            }
            (_, None) if refused => linger(connection.into_parts().io.into_inner()).await,
            (_, None) => {}
        }
    }

    fn tidy(&self) {
        self.idle.tidy();
    }
}

/// Reads what the client still sends, so that it gets to read our last answer.
async fn linger(mut io: ClientIo) {
    let drain = async {
        let _ = io.shutdown().await;
        let mut rest = [0; 4096];
        let mut heard = 0;
        while heard < LINGER_BYTES {
            match io.read(&mut rest).await {
                Ok(0) | Err(_) => return,
                Ok(n) => heard += n,
            }
        }
    };
    let _ = timeout(LINGER, drain).await;
}

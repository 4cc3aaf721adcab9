//! A client's body on its way to an endpoint.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

/// How long an endpoint may think about `Expect: 100-continue` before it is sent the body unasked.
const EXPECT_WAIT: Duration = Duration::from_secs(1);

/// A client's body; counted, and held back until an endpoint wants it.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Option<Incoming>,
    gate: Option<Gate>,
    received: Rc<Cell<u64>>,
    /// Whether there is more to come.
    open: Rc<Cell<bool>>,
}

/// Holds the body back until the endpoint says 100. Reading the body is what makes the server say
/// 100 to the client in turn.
#[derive(Debug)]
pub(super) struct Gate {
    latch: Arc<Latch>,
    patience: Pin<Box<Sleep>>,
}

/// Opened by the endpoint's 100.
#[derive(Debug, Default)]
pub(super) struct Latch {
    open: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

// === impl RequestBody ===

impl RequestBody {
    pub(super) fn new(
        inner: Incoming,
        gate: Option<Gate>,
        received: Rc<Cell<u64>>,
        open: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            inner: Some(inner),
            gate,
            received,
            open,
        }
    }

    /// Nothing, for a request that is repeated.
    pub(super) fn empty() -> Self {
        Self {
            inner: None,
            gate: None,
            received: Rc::default(),
            open: Rc::default(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let body = &mut *self;
        let Some(inner) = &mut body.inner else {
            return Poll::Ready(None);
        };
        if let Some(gate) = &mut body.gate {
            if gate.poll_open(cx).is_pending() {
                return Poll::Pending;
            }
            body.gate = None;
        }
        let frame = std::task::ready!(Pin::new(&mut *inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    body.received.set(body.received.get() + data.len() as u64);
                }
                body.open.set(!inner.is_end_stream());
            }
            Some(Err(_)) => {}
            None => body.open.set(false),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(latch: Arc<Latch>) -> Self {
        Self {
            latch,
            patience: Box::pin(sleep(EXPECT_WAIT)),
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.latch.is_open() {
            return Poll::Ready(());
        }
        *self.latch.waiting.lock() = Some(cx.waker().clone());
        if self.latch.is_open() {
            return Poll::Ready(());
        }
        self.patience.as_mut().poll(cx)
    }
}

// === impl Latch ===

impl Latch {
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
        if let Some(waker) = self.waiting.lock().take() {
            waker.wake();
        }
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

//! The body of an answer.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::exchange::Exchange;
use super::idle::IdlePool;
use super::upstream::Upstream;

/// What a client is sent.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// Nothing.
    Empty,
    /// A few words of ours.
    Text(Option<Bytes>),
    /// An endpoint's body.
    Relay(Box<Relay>),
}

/// An endpoint's body, with the connection that it comes from: whoever asks for a frame drives it.
#[derive(Debug)]
pub(super) struct Relay {
    body: Incoming,
    upstream: Option<Box<Upstream>>,
    exchange: Option<Exchange>,
    idle: Rc<IdlePool>,
    /// Why the body broke off, until the engine has sent what came before.
    broken: Option<hyper::Error>,
}

// === impl AnswerBody ===

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.is_none(),
            Self::Relay(relay) => relay.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Relay(relay) => relay.body.size_hint(),
        }
    }
}

// === impl Relay ===

impl Relay {
    /// The body to send on. When there is none, the exchange is over and its connection free.
    pub(super) fn begin(
        body: Incoming,
        upstream: Box<Upstream>,
        exchange: Exchange,
        idle: &Rc<IdlePool>,
    ) -> AnswerBody {
        let mut relay = Self {
            body,
            upstream: Some(upstream),
            exchange: Some(exchange),
            idle: Rc::clone(idle),
            broken: None,
        };
        if relay.body.is_end_stream() {
            relay.finish(&mut Context::from_waker(Waker::noop()));
            return AnswerBody::Empty;
        }
        AnswerBody::Relay(Box::new(relay))
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                // Nothing handed over yet: read on, or write what is left of the request.
                if let Some(upstream) = &mut self.upstream {
                    let _ = upstream.poll_drive(cx);
                }
                std::task::ready!(Pin::new(&mut self.body).poll_frame(cx))
            }
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(exchange), Some(data)) = (&mut self.exchange, frame.data_ref()) {
                    exchange.sent(data.len());
                }
                if self.body.is_end_stream() {
                    self.finish(cx);
                }
            }
            Some(Err(_)) => {
                self.upstream = None;
                if let Some(mut exchange) = self.exchange.take() {
                    exchange.cut_off();
                }
            }
            None => self.finish(cx),
        }
        if let Some(Err(error)) = frame {
            // The client is to see a body that breaks off: there is no other way to tell it now. An
            // error makes the engine drop what it has not sent, so let it send first.
            self.broken = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.exchange = None; // says so
        if let Some(mut upstream) = self.upstream.take()
            && upstream.is_reusable(cx)
        {
            self.idle.park(upstream);
        }
    }
}

//! Typed places on the bus.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A payload could not be turned into its message, or the other way round.
#[derive(Debug, thiserror::Error)]
#[error("payload is not a {message}")]
pub struct PayloadError {
    /// The type that was expected.
    pub message: &'static str,
    /// What the JSON parser says.
    #[source]
    pub source: serde_json::Error,
}

/// Something that travels on the bus: one JSON object, or nothing at all.
pub trait Message: Sized {
    /// The bytes to send.
    ///
    /// # Errors
    /// When the value has no JSON form; for the messages of this crate that does not happen.
    fn encode(&self) -> Result<Vec<u8>, PayloadError>;

    /// The message in `payload`.
    ///
    /// # Errors
    /// When the payload is not JSON of this message's shape.
    fn decode(payload: &[u8]) -> Result<Self, PayloadError>;
}

/// A message without content, such as `dea.locate`. Any payload is accepted and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nothing;

/// Where messages of type `M` are published.
pub struct Topic<M> {
    subject: Cow<'static, str>,
    payload: PhantomData<fn() -> M>,
}

/// Where a question `Q` is asked and answered by `A`.
pub struct Call<Q, A> {
    subject: Cow<'static, str>,
    payload: PhantomData<fn(Q) -> A>,
}

/// Implements [`Message`] as JSON.
macro_rules! json_messages {
    ($($name:ident),+ $(,)?) => {$(
        impl $crate::Message for $name {
            fn encode(&self) -> Result<Vec<u8>, $crate::PayloadError> {
                serde_json::to_vec(self)
                    .map_err(|source| $crate::PayloadError { message: stringify!($name), source })
            }

            fn decode(payload: &[u8]) -> Result<Self, $crate::PayloadError> {
                serde_json::from_slice(payload)
                    .map_err(|source| $crate::PayloadError { message: stringify!($name), source })
            }
        }
    )+};
}
pub(crate) use json_messages;

// === impl Nothing ===

impl Message for Nothing {
    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        Ok(Vec::new())
    }

    fn decode(_payload: &[u8]) -> Result<Self, PayloadError> {
        Ok(Nothing)
    }
}

// === impl Topic ===

impl<M> Topic<M> {
    /// A topic whose subject never varies.
    pub(crate) const fn literal(subject: &'static str) -> Self {
        Self {
            subject: Cow::Borrowed(subject),
            payload: PhantomData,
        }
    }

    /// A topic whose subject carries an id.
    pub(crate) fn of(subject: String) -> Self {
        Self {
            subject: Cow::Owned(subject),
            payload: PhantomData,
        }
    }

    /// The subject, as the broker sees it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl<M> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            payload: PhantomData,
        }
    }
}

impl<M> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.subject)
    }
}

// === impl Call ===

impl<Q, A> Call<Q, A> {
    /// A call whose subject never varies.
    pub(crate) const fn literal(subject: &'static str) -> Self {
        Self {
            subject: Cow::Borrowed(subject),
            payload: PhantomData,
        }
    }

    /// A call whose subject carries an id.
    pub(crate) fn of(subject: String) -> Self {
        Self {
            subject: Cow::Owned(subject),
            payload: PhantomData,
        }
    }

    /// The subject, as the broker sees it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl<Q, A> Clone for Call<Q, A> {
    fn clone(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            payload: PhantomData,
        }
    }
}

impl<Q, A> fmt::Debug for Call<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.subject)
    }
}

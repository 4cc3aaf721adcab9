//! Following a process.

use std::time::Duration;

use crate::{Event, Exit, Result, client::Conversation};

/// The output and the fate of one process, in order.
///
/// Dropping it detaches; the process goes on. Attach again with the position after the last byte
/// that was handled, and nothing is heard twice.
#[derive(Debug)]
pub struct Events {
    talk: Conversation,
    done: bool,
}

// === impl Events ===

impl Events {
    pub(crate) fn new(talk: Conversation) -> Self {
        Self { talk, done: false }
    }

    /// The next event, or `None` after [`Event::Exited`].
    ///
    /// # Errors
    /// [`crate::WardenError::Deadline`] when nothing happened `within`; call again to go on.
    /// [`crate::WardenError::Lost`] when the supervisor died, and the container with it.
    pub fn next(&mut self, within: Duration) -> Result<Option<Event>> {
        if self.done {
            return Ok(None);
        }
        let event = self
            .talk
            .hear("tell about a process", within)?
            .into_event()
            .map_err(|answer| self.talk.unexpected(&format!("{answer:?}")))?;
        self.done = matches!(event, Event::Exited(_));
        Ok(Some(event))
    }

    /// Collects output until the process is gone: both streams together, at most `limit` bytes of
    /// it (the rest is read and dropped), and how it went.
    ///
    /// # Errors
    /// As [`Events::next`]; `within` is for the whole.
    pub fn collect(mut self, limit: usize, within: Duration) -> Result<(Vec<u8>, Exit)> {
        let deadline = std::time::Instant::now() + within;
        let mut all = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match self.next(left)? {
                Some(Event::Output { bytes, .. }) => {
                    let room = limit.saturating_sub(all.len()).min(bytes.len());
                    all.extend_from_slice(&bytes[..room]);
                }
                Some(Event::Exited(exit)) => return Ok((all, exit)),
                Some(_) => {}
                None => return Err(self.talk.unexpected("end")),
            }
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn into_talk(self) -> Conversation {
        self.talk
    }
}

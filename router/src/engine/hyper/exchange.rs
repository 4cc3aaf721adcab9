//! The account of one request: what is counted and logged when it ends, however it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::access_log::{AccessLine, Ending, RequestNote};
use crate::core::Core;
use crate::failure::{Cause, Failure};
use crate::registry::{Endpoint, Lease};
use crate::watch::{Phase, Watch};

/// The status that the log shows when the client went away before there was an answer.
const CLIENT_GONE: u16 = 499;

/// One request from its head to the last byte of its answer. Dropping it closes the account.
#[derive(Debug)]
pub(super) struct Exchange {
    core: Rc<Core>,
    watch: Rc<Watch>,
    began: Instant,
    /// What the log wants to know; nothing when it is off.
    pub(super) note: Option<Box<RequestNote>>,
    /// Who answers.
    lease: Option<Lease>,
    asked: Option<Instant>,
    answered: Option<Instant>,
    status: u16,
    received: Rc<Cell<u64>>,
    sent: u64,
    router_error: Option<String>,
}

// === impl Exchange ===

impl Exchange {
    pub(super) fn begin(core: &Rc<Core>, watch: &Rc<Watch>) -> Self {
        core.stats.requests.count();
        watch.enter(Phase::Waiting);
        Self {
            core: Rc::clone(core),
            watch: Rc::clone(watch),
            began: Instant::now(),
            note: None,
            lease: None,
            asked: None,
            answered: None,
            status: 0,
            received: Rc::default(),
            sent: 0,
            router_error: None,
        }
    }

    /// Where the bytes of the client's body are counted.
    pub(super) fn received(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.received)
    }

    /// An endpoint is about to be asked.
    pub(super) fn asks(&mut self, lease: Lease) {
        self.lease = Some(lease);
        self.asked = Some(Instant::now());
    }

    /// Who was asked last.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.lease.as_ref().map(|lease| &**lease.endpoint())
    }

    /// An endpoint's head is there.
    pub(super) fn answers(&mut self, status: u16) {
        self.answered = Some(Instant::now());
        self.status = status;
        self.watch.enter(Phase::Answering);
    }

    /// Bytes of the answer's body were handed on.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.watch.moved();
    }

    /// The endpoint broke off in the middle of its answer.
    pub(super) fn cut_off(&mut self) {
        self.router_error = Some(Failure::Endpoint(Cause::Closed).error());
        self.core.stats.bad_gateways.count();
    }

    /// The router answers itself.
    pub(super) fn fails(&mut self, failure: &Failure, body_length: usize) {
        let stats = &self.core.stats;
        match failure {
            Failure::Endpoint(_) | Failure::Timeout { .. } | Failure::RouteService { .. } => {
                stats.bad_gateways.count();
            }
            Failure::Overloaded => stats.overloaded.count(),
            _ => stats.rejected.count(),
        }
        self.status = failure.status().as_u16();
        self.sent = body_length as u64;
        self.router_error = Some(failure.error());
        self.watch.enter(Phase::Answering);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let stats = &self.core.stats;
        if self.status == 0 {
            self.status = CLIENT_GONE;
            stats.clients_gone.count();
        }
        stats.answered(self.status, took);
        stats.bytes_in.add(self.received.get());
        stats.bytes_out.add(self.sent);
        self.watch.enter(Phase::Idle);
        let (Some(note), Some(lease)) = (&self.note, &self.lease) else {
            return;
        };
        let endpoint = lease.endpoint();
        if endpoint.identity.app.is_empty() {
            return;
        }
        let ending = Ending {
            status: self.status,
            bytes_in: self.received.get(),
            bytes_out: self.sent,
            took,
            endpoint_took: self
                .asked
                .zip(self.answered)
                .map(|(asked, answered)| answered - asked),
            router_error: self.router_error.as_deref(),
        };
        let line = AccessLine {
            text: note.line(endpoint, &ending),
            at: note.began + took,
            endpoint: endpoint.clone(),
            status: self.status,
            took,
        };
        self.core.access_log.push(line, stats);
    }
}

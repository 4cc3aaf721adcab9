//! Joining the cluster, and letting clients in.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::{Broker, BuildError};
use crate::doors::{self, Door};
use crate::worker;

/// How long clients are kept waiting. Usually it takes a millisecond; a peer that is down says so at once,
/// and one that cannot be reached should not be waited for.
const PATIENCE: Duration = Duration::from_millis(250);

// === impl Broker ===

impl Broker {
    /// Joins the cluster, if there is one, and opens the doors for clients; [`Broker::run`] does so itself
    /// when it has not been done. Clients wait until every configured peer knows this server and has told
    /// what its clients listen to, or cannot be reached, but no longer than a quarter of a second: so the
    /// first to come find the whole cluster, and lose no message.
    ///
    /// # Errors
    /// A door cannot be opened after all.
    pub async fn open(&mut self) -> Result<(), BuildError> {
        if !std::mem::replace(&mut self.joined, true) {
            self.join().await;
        }
        for gate in std::iter::once(&mut self.clients).chain(&mut self.websocket) {
            gate.open()?;
        }
        Ok(())
    }

    async fn join(&mut self) {
        let Some(node) = self.hub.cluster() else {
            return;
        };
        tracing::info!("Cluster name is {}", node.name());
        if node.is_name_dynamic() {
            tracing::warn!("Cluster name was dynamically generated, consider setting one");
        }
        tracing::info!("Listening for route connections on {}", node.listen);
        let (workers, hub, stop) = (&self.workers, &self.hub, self.stop.token());
        if let Some(routes) = self.routes.take().and_then(Gate::into_listener) {
            doors::spawn_accept(routes, Door::Routes, workers, hub, stop.clone());
        }
        let joining = TaskTracker::new();
        worker::spawn_dialler(workers, hub, &joining, stop.clone());
        joining.close();
        if tokio::time::timeout(PATIENCE, joining.wait())
            .await
            .is_err()
        {
            tracing::debug!("not every configured route is there yet");
        }
    }
}

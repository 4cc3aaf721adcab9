//! What every handler and every background task of the controller works with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;
use cupola_blobstore::{Blobstore, Bucket};
use cupola_component::{AppLog, Bus};
use cupola_db::{Conn, Db};
use cupola_http::signed_url::UrlSigner;
use cupola_messages::logs::LogStream;
use cupola_types::AppGuid;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::KnownUsers;
use crate::config::Config;
use crate::dispatch::Dispatcher;
use crate::error::Fail;
use crate::model::order::{self, Order};
use crate::sealed::Sealer;
use crate::uaa::UaaClient;

/// A handle on the room's parts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Controller {
    parts: Arc<Parts>,
}

/// The parts.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) blobs: Blobstore,
    pub(crate) sealer: Sealer,
    pub(crate) signer: UrlSigner,
    pub(crate) bus: Bus,
    pub(crate) log: AppLog,
    pub(crate) uaa: UaaClient,
    pub(crate) known_users: KnownUsers,
    pub(crate) dispatcher: Dispatcher,
    /// This controller's id: owner of the orders and jobs that it writes.
    pub(crate) owner: String,
    /// When this controller was built: an order that is older may have been carried out in part.
    pub(crate) since: NaiveDateTime,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
    /// Packages that are unpacked at the same time.
    pub(crate) unpacking: Semaphore,
}

impl Controller {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Reads rows.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Fail>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, Fail> + Send + 'static,
    {
        self.db.read(work).await
    }

    /// Changes rows, all or none.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Fail>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, Fail> + Send + 'static,
    {
        self.db.write(work).await
    }

    /// Changes rows and gives orders in the same transaction, which go out at once.
    pub(crate) async fn decide<T, F>(&self, work: F) -> Result<T, Fail>
    where
        T: Send + 'static,
        F: Fn(&mut Conn, &mut Orders) -> Result<T, Fail> + Send + 'static,
    {
        let owner = self.owner.clone();
        let decided = self
            .db
            .write::<_, Fail, _>(move |c| {
                let mut orders = Orders::default();
                let decided = work(c, &mut orders)?;
                for (app, order) in &orders.given {
                    order::give(c, &owner, app, order)?;
                }
                Ok(decided)
            })
            .await?;
        self.dispatcher.nudge();
        Ok(decided)
    }

    /// Waits for so long, or until the controller stops.
    pub(crate) async fn pause(&self, duration: Duration) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = tokio::time::sleep(duration) => {}
        }
    }

    /// Says a line in an app's log stream.
    pub(crate) fn say(&self, app_guid: &str, text: &str) {
        self.log
            .line(&AppGuid::new(app_guid), LogStream::Out, "0", text);
    }
}

impl std::ops::Deref for Controller {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controller({})", self.owner)
    }
}

/// The orders that one decision brings about.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    given: Vec<(String, Order)>,
}

impl Orders {
    /// Adds an order about an app.
    pub(crate) fn give(&mut self, app_guid: &str, order: Order) {
        self.given.push((app_guid.to_owned(), order));
    }

    /// Adds the order to remove a blob, if there is one.
    pub(crate) fn drop_blob(&mut self, app_guid: &str, bucket: Bucket, key: Option<&str>) {
        if let Some(key) = key {
            let order = Order::DropBlob {
                bucket: bucket.as_str().to_owned(),
                key: key.to_owned(),
            };
            self.give(app_guid, order);
        }
    }
}

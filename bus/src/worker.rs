//! Worker threads: each a single-threaded runtime with its own desk, serving its share of connections.
//!
//! A connection lives on one worker, so its reads, its parsing and its deliveries do not change threads; only
//! the appended bytes cross over, in the receiver's queue. Between two turns it may [move](crate::place).

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::RouteSession;
use crate::cluster::dialler;
use crate::config::Config;
use crate::delivery::Desk;
use crate::doors::{Arrival, Door};
use crate::hub::Hub;
use crate::lookout::{Rest, Spell};
use crate::session::Session;
use crate::watch::{Attendant, Watch};

/// How often outdated cache entries and spare buffers are let go.
const SWEEP: Duration = Duration::from_secs(10);
/// Polls of tasks between two looks at the sockets: low, as one poll can be a 64 KiB read.
const EVENT_INTERVAL: u32 = 8;

/// One worker thread.
#[derive(Debug)]
pub(crate) struct Worker {
    berth: Berth,
    /// Connections it serves.
    load: Arc<AtomicUsize>,
    stop: CancellationToken,
    /// Resolves when the thread has nothing left to do.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// A worker, as one who lives there.
#[derive(Clone, Debug)]
pub(crate) struct Berth {
    handle: Handle,
    pub(crate) desk: Arc<Mutex<Desk>>,
    pub(crate) watch: Arc<Watch>,
}

/// One connection of those that a worker has been given, wherever it lives.
#[derive(Debug)]
struct Ticket(Arc<AtomicUsize>);

// === impl Worker ===

impl Worker {
    /// Starts worker number `index`.
    ///
    /// # Errors
    /// The system gives no thread, or no means to wait for sockets.
    pub(crate) async fn start(index: usize, hub: Arc<Hub>) -> io::Result<Self> {
        let watch = Arc::new(Watch::new()?);
        let desk = Arc::new(Mutex::new(Desk::new(Arc::clone(&hub))));
        let stop = CancellationToken::new();
        let (to_starter, from_thread) = oneshot::channel();
        let (at_end, ended) = oneshot::channel();
        let (own_desk, own_stop) = (Arc::clone(&desk), stop.clone());
        let (own_watch, watched) = (Arc::clone(&watch), Arc::clone(&watch));
        let (resting, resuming) = (Arc::clone(&desk), Arc::clone(&desk));
        thread::Builder::new()
            .name(format!("bus-{index}"))
            .spawn(move || {
                let _at_end: oneshot::Sender<()> = at_end;
                let built = Builder::new_current_thread()
                    .enable_all()
                    .event_interval(EVENT_INTERVAL)
                    .on_thread_park(move || rest(&resting, &watched))
                    .on_thread_unpark(move || resuming.lock().lookout.resume(Instant::now))
                    .build();
                let built = built.and_then(|runtime| {
                    let _entered = runtime.enter();
                    let attendant = Attendant::new(Arc::clone(&own_watch))?;
                    Ok((runtime, attendant))
                });
                match built {
                    Ok((runtime, attendant)) => {
                        let _ = to_starter.send(Ok(runtime.handle().clone()));
                        runtime.spawn(attend(attendant, Arc::clone(&own_desk)));
                        runtime.block_on(keep_tidy(index, &own_desk, &hub, &own_stop));
                        own_desk.lock().lookout.leave_post();
                        own_watch.end();
                    }
                    Err(error) => {
                        let _ = to_starter.send(Err(error));
                    }
                }
            })?;
        let handle = from_thread.await.map_err(io::Error::other)??;
        Ok(Worker {
            berth: Berth {
                handle,
                desk,
                watch,
            },
            load: Arc::default(),
            stop,
            ended: Mutex::new(Some(ended)),
        })
    }

    /// Runs a task on its thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.berth.handle.spawn(task)
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.berth.watch
    }

    /// Sends what its turns have kept back.
    pub(crate) fn flush(&self) {
        self.berth.desk.lock().flush();
    }

    /// Gives it a connection to serve.
    fn serve(&self, hub: &Arc<Hub>, arrival: Arrival) {
        self.load.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket(Arc::clone(&self.load));
        let (hub, berth) = (Arc::clone(hub), self.berth.clone());
        let tracker = hub.sessions.clone();
        let task = tracker.track_future(async move {
            let peer = arrival.peer;
            if let Err(error) = converse(hub, berth, arrival, ticket).await {
                tracing::warn!(client.peer = %peer, %error, "cannot take a connection over");
            }
        });
        self.spawn(task);
    }

    /// Ends the threads of all of them and what is left there. All are told before the first is waited for,
    /// and no thread is made to wait: whoever has lost the connection to a server should find it gone.
    pub(crate) async fn stop_all(workers: &[Worker]) {
        for worker in workers {
            worker.stop.cancel();
        }
        for worker in workers {
            let ended = worker.ended.lock().take();
            if let Some(ended) = ended {
                // Nothing is ever sent: that the sender is gone is the message.
                let _ = ended.await;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Berth {
    /// Has a connection live here from now on.
    fn lodge(self, session: Box<Session>, ticket: Ticket) {
        let tracker = session.hub().sessions.clone();
        let handle = self.handle.clone();
        let stay = async move { stay(session, Some(self), ticket).await };
        handle.spawn(tracker.track_future(stay));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection from its first word to its last. What is long about it lies apart.
async fn converse(hub: Arc<Hub>, berth: Berth, arrival: Arrival, ticket: Ticket) -> io::Result<()> {
    if let (Door::Routes, Some(node)) = (arrival.door, hub.cluster().cloned()) {
        let session = RouteSession::new(hub, node, &berth, arrival)?;
        Box::pin(session.run()).await;
    } else {
        let session = Box::new(Session::new(hub, berth, arrival)?);
        stay(session, None, ticket).await;
    }
    Ok(())
}

/// Serves a client where it has come to live, until it ends or moves.
async fn stay(session: Box<Session>, moved_to: Option<Berth>, ticket: Ticket) {
    if let Some((session, berth)) = session.run(moved_to).await {
        berth.lodge(session, ticket);
    }
}

/// Whether workers [look out](crate::lookout): on a single core, those who are waited for need it.
pub(crate) fn may_stay_awake(config: &Config) -> bool {
    config.stay_awake.unwrap_or_else(|| cores() > 1)
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// A worker has nothing to do: what turns have kept back goes out.
fn rest(desk: &Arc<Mutex<Desk>>, watch: &Arc<Watch>) {
    let rest = {
        let mut own = desk.lock();
        own.flush();
        own.lookout.rest(Instant::now, || Berth {
            handle: Handle::current(),
            desk: Arc::clone(desk),
            watch: Arc::clone(watch),
        })
    };
    if rest == Rest::Look {
        // A thread does not go to sleep while a task of its has something to do.
        watch.rouse();
    }
}

/// Wakes those for whom something has come, and looks out for it when that is told.
async fn attend(attendant: Attendant, desk: Arc<Mutex<Desk>>) {
    let look_out = |watch: &Watch| {
        let spell = desk.lock().lookout.spell();
        spell.into_iter().flat_map(Spell::looks).any(|gives_way| {
            if gives_way {
                thread::yield_now();
            }
            watch.look() > 0
        })
    };
    attendant.attend(look_out).await;
}

/// What a worker's thread does besides its connections, until it is stopped.
async fn keep_tidy(index: usize, desk: &Mutex<Desk>, hub: &Hub, stop: &CancellationToken) {
    let mut every = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                let caches = desk.lock().tidy(&hub.accounts.all());
                hub.monitor.report_caches(index, caches);
            }
        }
    }
}

/// Gives a connection to the least busy worker.
pub(crate) fn assign(workers: &[Worker], hub: &Arc<Hub>, arrival: Arrival) {
    let least = workers
        .iter()
        .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
    if let Some(worker) = least {
        worker.serve(hub, arrival);
    }
}

/// Dials the other servers of the cluster, from the first worker, until `stop`. The first attempts are
/// tracked by `joining`.
pub(crate) fn spawn_dialler(
    workers: &Arc<Vec<Worker>>,
    hub: &Arc<Hub>,
    joining: &TaskTracker,
    stop: CancellationToken,
) {
    let (own, hub) = (Arc::clone(workers), Arc::clone(hub));
    if let (Some(first), Some(node)) = (workers.first(), hub.cluster().cloned()) {
        let joining = joining.token();
        first.spawn(dialler::run(node, hub, own, joining, stop));
    }
}

//! Which of a worker's sockets have something to tell, and whose task is woken for it.
//!
//! The runtime could watch them, but a worker that [stays awake](crate::lookout) asks every few hundred
//! nanoseconds, and a turn of the runtime, with its timers and its books, takes three times as long as the
//! question. So every worker watches its sockets itself, and the runtime watches the watch: it wakes who sleeps.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;
use tokio::task::coop;

/// What is told at once; of more, the rest at the next look.
const BATCH: usize = 256;

/// What a socket can be ready for: to be read from, or to be written to.
pub(crate) const READABLE: u8 = 1;
pub(crate) const WRITABLE: u8 = 1 << 1;
/// So far to the left is what says that this has ended: it remains.
const CLOSED: u32 = 2;

/// The sockets of one worker.
#[derive(Debug)]
pub(crate) struct Watch {
    registry: Registry,
    queue: Mutex<Queue>,
    /// By descriptor.
    sockets: Mutex<Vec<Option<Arc<Readiness>>>>,
    attendant: Mutex<Option<Waker>>,
}

/// What makes a worker's runtime see to its watch.
#[derive(Debug)]
pub(crate) struct Attendant(AsyncFd<Arc<Watch>>);

#[derive(Debug)]
struct Queue {
    poll: mio::Poll,
    events: Events,
}

/// A socket that is watched, until this is dropped. The descriptor must stay open until then.
#[derive(Debug)]
pub(crate) struct Watched {
    watch: Arc<Watch>,
    readiness: Arc<Readiness>,
    descriptor: RawFd,
}

/// What is known of one socket.
#[derive(Debug, Default)]
struct Readiness {
    state: AtomicU8,
    waker: AtomicWaker,
}

// === impl Watch ===

impl Watch {
    /// # Errors
    /// The system has no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        Ok(Watch {
            registry: poll.registry().try_clone()?,
            queue: Mutex::new(Queue {
                poll,
                events: Events::with_capacity(BATCH),
            }),
            sockets: Mutex::default(),
            attendant: Mutex::default(),
        })
    }

    /// Wakes those whose sockets have something to tell; says how many.
    pub(crate) fn look(&self) -> usize {
        let Queue { poll, events } = &mut *self.queue.lock();
        while let Err(error) = poll.poll(events, Some(Duration::ZERO)) {
            if error.kind() != io::ErrorKind::Interrupted {
                tracing::error!(%error, "cannot ask which sockets are ready");
                return 0;
            }
        }
        let sockets = self.sockets.lock();
        let mut count = 0;
        for event in events.iter() {
            count += 1;
            if let Some(Some(readiness)) = sockets.get(event.token().0) {
                readiness.note(event);
            }
        }
        count
    }

    /// Has the [`Attendant`] attend at once.
    pub(crate) fn rouse(&self) {
        if let Some(attendant) = &*self.attendant.lock() {
            attendant.wake_by_ref();
        }
    }

    /// The attendant's runtime ends; it would not while it can be roused.
    pub(crate) fn end(&self) {
        *self.attendant.lock() = None;
    }

    /// # Errors
    /// The system cannot watch it.
    pub(crate) fn add(self: &Arc<Self>, socket: &impl AsRawFd) -> io::Result<Watched> {
        let descriptor = socket.as_raw_fd();
        let index = usize::try_from(descriptor).map_err(io::Error::other)?;
        let readiness = Arc::<Readiness>::default();
        {
            let mut sockets = self.sockets.lock();
            if sockets.len() <= index {
                sockets.resize(index + 1, None);
            }
            sockets[index] = Some(Arc::clone(&readiness));
        }
        let watched = Watched {
            watch: Arc::clone(self),
            readiness,
            descriptor,
        };
        let both = Interest::READABLE.add(Interest::WRITABLE);
        self.registry
            .register(&mut SourceFd(&descriptor), Token(index), both)?;
        Ok(watched)
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.registry.as_raw_fd()
    }
}

// === impl Attendant ===

impl Attendant {
    /// For the runtime in whose context this is called.
    ///
    /// # Errors
    /// The system cannot watch the watch.
    #[expect(
        deprecated,
        reason = "sound for what keeps one descriptor open for as long as it lives; to say so takes `unsafe`"
    )]
    pub(crate) fn new(watch: Arc<Watch>) -> io::Result<Self> {
        AsyncFd::with_interest(watch, tokio::io::Interest::READABLE).map(Attendant)
    }

    /// Looks whenever the runtime says that there is something to see. Before it comes to that, `eager` may look
    /// for itself, and says whether it has seen something. Ends with the runtime.
    pub(crate) async fn attend(self, mut eager: impl FnMut(&Watch) -> bool) {
        poll_fn(|cx| {
            let watch = self.0.get_ref();
            watch
                .attendant
                .lock()
                .get_or_insert_with(|| cx.waker().clone());
            if eager(watch) {
                // First those it was for. The runtime may have had something to say as well.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            loop {
                let Ok(mut ready) = ready!(self.0.poll_read_ready(cx)) else {
                    return Poll::Ready(());
                };
                if watch.look() < BATCH {
                    ready.clear_ready();
                }
            }
        })
        .await;
    }
}

// === impl Watched ===

impl Watched {
    /// Waits until the socket is ready for something: [`READABLE`] or [`WRITABLE`]. It is taken for ready until
    /// that is [cleared](Self::clear).
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, what: u8) -> Poll<()> {
        let turn = ready!(coop::poll_proceed(cx));
        if !self.readiness.is_ready(what) {
            self.readiness.waker.register(cx.waker());
            if !self.readiness.is_ready(what) {
                return Poll::Pending;
            }
        }
        turn.made_progress();
        Poll::Ready(())
    }

    /// Does it as soon as the socket is ready for it. `act` is asked again when it would have had to wait.
    ///
    /// # Errors
    /// Those of `act`.
    pub(crate) fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        what: u8,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_ready(cx, what));
            match act() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clear(what),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// It turned out not to be ready for this, or not to be any longer: the system tells when it is again.
    pub(crate) fn clear(&self, what: u8) {
        self.readiness.state.fetch_and(!what, Ordering::AcqRel);
    }

    /// Has another worker's watch see to it, if it is another.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub(crate) fn move_to(&mut self, watch: &Arc<Watch>) -> io::Result<()> {
        if !Arc::ptr_eq(&self.watch, watch) {
            *self = watch.add(&self.descriptor)?;
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let watch = &self.watch;
        // Of a descriptor that is not watched nothing is told.
        let _ = watch.registry.deregister(&mut SourceFd(&self.descriptor));
        let mut sockets = watch.sockets.lock();
        let readiness = usize::try_from(self.descriptor)
            .ok()
            .and_then(|index| sockets.get_mut(index));
        if let Some(readiness) = readiness {
            *readiness = None;
        }
    }
}

// === impl Readiness ===

impl Readiness {
    fn is_ready(&self, what: u8) -> bool {
        self.state.load(Ordering::Acquire) & (what | what << CLOSED) != 0
    }

    fn note(&self, event: &Event) {
        let news = [
            (event.is_readable() || event.is_error(), READABLE),
            (event.is_writable() || event.is_error(), WRITABLE),
            (event.is_read_closed(), READABLE << CLOSED),
            (event.is_write_closed(), WRITABLE << CLOSED),
        ];
        let state = news.iter().filter(|(is, _)| *is).map(|(_, bit)| bit);
        self.state.fetch_or(state.sum(), Ordering::AcqRel);
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::AtomicBool;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn watched(watch: &Arc<Watch>) -> (UnixStream, UnixStream, Watched) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let watched = watch.add(&ours).unwrap();
        (ours, theirs, watched)
    }

    fn is_ready(watched: &Watched, what: u8) -> bool {
        poll_fn(|cx| watched.poll_ready(cx, what))
            .now_or_never()
            .is_some()
    }

    #[test]
    fn a_socket_is_ready_until_that_is_cleared_and_again_when_more_comes() {
        let watch = Arc::new(Watch::new().unwrap());
        let (_ours, mut theirs, watched) = watched(&watch);
        assert!(!is_ready(&watched, WRITABLE), "nobody has looked");
        assert_eq!(watch.look(), 1);
        assert!(is_ready(&watched, WRITABLE) && !is_ready(&watched, READABLE));
        for _ in 0..3 {
            theirs.write_all(b"x").unwrap();
            assert_eq!(watch.look(), 1);
            assert!(is_ready(&watched, READABLE) && is_ready(&watched, WRITABLE));
            watched.clear(READABLE);
            assert!(!is_ready(&watched, READABLE) && is_ready(&watched, WRITABLE));
            assert_eq!(watch.look(), 0, "it is told once");
        }
    }

    #[test]
    fn an_end_remains() {
        let watch = Arc::new(Watch::new().unwrap());
        let (mut ours, theirs, watched) = watched(&watch);
        drop(theirs);
        watch.look();
        for _ in 0..2 {
            assert!(is_ready(&watched, READABLE) && is_ready(&watched, WRITABLE));
            assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
            watched.clear(READABLE | WRITABLE);
        }
    }

    #[test]
    fn nothing_is_left_of_one_that_has_gone() {
        let watch = Arc::new(Watch::new().unwrap());
        let (ours, mut theirs, watched) = watched(&watch);
        let index = usize::try_from(ours.as_raw_fd()).unwrap();
        theirs.write_all(b"x").unwrap();
        drop(watched);
        assert!(watch.sockets.lock()[index].is_none());
        assert_eq!(watch.look(), 0);
        // The descriptor is still open, and may be watched again.
        let again = watch.add(&ours).unwrap();
        assert_eq!(watch.look(), 1);
        assert!(is_ready(&again, READABLE));
    }

    #[test]
    fn one_that_has_moved_reports_to_the_other() {
        let [one, other] = [(); 2].map(|()| Arc::new(Watch::new().unwrap()));
        let (_ours, mut theirs, mut watched) = watched(&one);
        theirs.write_all(b"x").unwrap();
        assert_eq!(one.look(), 1);
        for to in [&other, &other, &one] {
            watched.move_to(to).unwrap();
        }
        assert_eq!((one.look(), other.look()), (1, 0));
        assert!(is_ready(&watched, READABLE), "what had come is still there");
    }

    #[test]
    fn what_the_runtime_says_while_the_attendant_looks_for_itself_is_not_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // So that it asks the system between being roused and looking.
            .event_interval(1)
            .build();
        runtime.unwrap().block_on(async {
            let watch = Arc::new(Watch::new().unwrap());
            let is_eager = Arc::new(AtomicBool::new(false));
            let eager = Arc::clone(&is_eager);
            let attendant = Attendant::new(Arc::clone(&watch)).unwrap();
            tokio::spawn(
                attendant
                    .attend(move |watch| eager.swap(false, Ordering::Relaxed) && watch.look() > 0),
            );
            let (mut ours, mut theirs, watched) = watched(&watch);
            for round in 0..20 {
                if round % 2 == 0 {
                    is_eager.store(true, Ordering::Relaxed);
                    watch.rouse();
                }
                theirs.write_all(b"x").unwrap();
                let come = poll_fn(|cx| watched.poll_ready(cx, READABLE));
                let come = tokio::time::timeout(PATIENCE, come).await;
                come.unwrap_or_else(|_| panic!("forgotten in round {round}"));
                ours.read_exact(&mut [0]).unwrap();
                watched.clear(READABLE);
            }
        });
    }

    #[tokio::test]
    async fn who_sleeps_is_woken_for_any_number_of_sockets() {
        const COUNT: usize = 2 * BATCH + 7;
        let watch = Arc::new(Watch::new().unwrap());
        tokio::spawn(
            Attendant::new(Arc::clone(&watch))
                .unwrap()
                .attend(|_| false),
        );
        let mut sockets: Vec<_> = (0..COUNT).map(|_| watched(&watch)).collect();
        for round in 0..3_u8 {
            let writers: Vec<_> = sockets
                .iter()
                .map(|(_, theirs, _)| theirs.try_clone())
                .collect();
            let writing = std::thread::spawn(move || {
                for writer in writers {
                    writer.unwrap().write_all(&[round]).unwrap();
                }
            });
            let all = join_all(sockets.iter_mut().map(|(ours, _, watched)| async move {
                poll_fn(|cx| watched.poll_ready(cx, READABLE)).await;
                let mut got = [9];
                ours.read_exact(&mut got).unwrap();
                assert_eq!(got, [round]);
                watched.clear(READABLE);
            }));
            tokio::time::timeout(PATIENCE, all)
                .await
                .expect("all hear of it");
            writing.join().unwrap();
        }
    }
}

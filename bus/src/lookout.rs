//! Whether a worker that has nothing to do stays awake for a moment.
//!
//! To be woken takes a thread many times as long as to look at its sockets once more, and whoever asks and waits
//! for the answer waits for that as well. So a worker whose work comes in quick succession, little at a time,
//! looks out for more before it sleeps. One at a time does, and whoever else wants its core gets it. Where much
//! comes at a time, to sleep is better: what gathers meanwhile is handled at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A worker looks so often before it sees to what else there may be, and so often that before it gives up: for
/// some 30 µs.
const LOOKS: u32 = 32;
const SPELLS: u32 = 2;
/// It gives way to others at the first looks, before anything can have come, and at every so manieth.
const COURTEOUS: (u32, u32) = (2, 8);
/// A pause asleep that would have been about as short as those looks, had it not taken to be woken.
const SOON: Duration = Duration::from_micros(80);
/// What is certain.
const CERTAIN: u32 = 1 << 16;
/// What one pause tells about the next: a part of so many of what is expected. To have been woken soon tells
/// little, as nobody knows how much sooner it would have been.
const AWAKE_TELLS: u32 = 8;
const ASLEEP_TELLS: u32 = 64;
/// What comes at once, in bytes, when it is little.
const LITTLE: usize = 4 << 10;
/// Turns without a pause after which a worker has enough to do.
const PRESSED: u32 = 32;

/// From where to look out. There is one for all workers; `B` is how to get to the one who is on it.
#[derive(Debug)]
pub(crate) struct Post<B> {
    is_open: AtomicBool,
    taken: AtomicBool,
    by: Mutex<Option<B>>,
}

/// What one worker knows of its pauses.
#[derive(Debug)]
pub(crate) struct Lookout<B> {
    post: Arc<Post<B>>,
    on_post: bool,
    /// How likely it is that the next pause is short, of [`CERTAIN`].
    chance: u32,
    /// The last one, if it did nothing since.
    pause: Option<Pause>,
    /// Turns since.
    unrested: u32,
    /// Whether it was woken for the last turn.
    roused: bool,
}

#[derive(Debug)]
enum Pause {
    Asleep {
        since: Instant,
    },
    /// It was woken from it, soon or not.
    Ended {
        soon: bool,
    },
    /// How many spells it has looked out for, or been told to.
    Awake {
        spells: u32,
        is_told: bool,
    },
}

/// What to do when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Sleep,
    /// Look at the sockets for a [`Spell`].
    Look,
}

/// A few looks at the sockets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    is_first: bool,
}

// === impl Post ===

impl<B: Clone> Post<B> {
    /// Nobody ever takes one that is not open.
    pub(crate) fn new(is_open: bool) -> Self {
        Post {
            is_open: AtomicBool::new(is_open),
            taken: AtomicBool::new(false),
            by: Mutex::new(None),
        }
    }

    /// Opens it, or closes it; who is on it then leaves.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// The worker who is on it.
    pub(crate) fn holder(&self) -> Option<B> {
        self.by.lock().clone()
    }

    fn take(&self, by: impl FnOnce() -> B) -> bool {
        let is_open = self.is_open.load(Ordering::Relaxed);
        let taken = is_open && !self.taken.swap(true, Ordering::Relaxed);
        if taken {
            *self.by.lock() = Some(by());
        }
        taken
    }

    fn leave(&self) {
        *self.by.lock() = None;
        self.taken.store(false, Ordering::Relaxed);
    }
}

// === impl Lookout ===

impl<B: Clone> Lookout<B> {
    pub(crate) fn new(post: Arc<Post<B>>) -> Self {
        Lookout {
            post,
            on_post: false,
            chance: 0,
            pause: None,
            unrested: 0,
            roused: false,
        }
    }

    /// A turn has ended, in which `read` bytes came.
    #[inline]
    pub(crate) fn end_turn(&mut self, read: usize) {
        self.unrested += 1;
        let pause = self.pause.take();
        self.roused = matches!(pause, Some(Pause::Ended { .. }));
        match pause {
            Some(Pause::Awake { .. }) => self.learn(read <= LITTLE, AWAKE_TELLS),
            Some(Pause::Ended { soon }) => self.learn(soon && read <= LITTLE, ASLEEP_TELLS),
            Some(Pause::Asleep { .. }) | None => {}
        }
        if self.unrested == PRESSED {
            self.leave_post();
        }
    }

    /// Whether the last turn was the one that was looked out for, and probably all there is to do.
    #[inline]
    pub(crate) fn was_expected(&self) -> bool {
        self.on_post && self.unrested == 1
    }

    /// Whether the worker had to be woken for the last turn, while another one was awake.
    #[inline]
    pub(crate) fn was_roused_in_vain(&self) -> bool {
        self.roused && !self.on_post && self.post.taken.load(Ordering::Relaxed)
    }

    /// Whether it has enough to do.
    #[inline]
    pub(crate) fn is_pressed(&self) -> bool {
        self.unrested >= PRESSED
    }

    /// There is nothing to do. `own` is how to get to this worker.
    pub(crate) fn rest(&mut self, now: impl FnOnce() -> Instant, own: impl FnOnce() -> B) -> Rest {
        self.unrested = 0;
        if let Some(Pause::Awake { spells, is_told }) = &mut self.pause {
            if *spells < SPELLS {
                *spells += 1;
                *is_told = true;
                return Rest::Look;
            }
            self.learn(false, AWAKE_TELLS);
            self.leave_post();
            // How long it sleeps from here on tells nothing about a pause as a whole.
            self.pause = None;
            return Rest::Sleep;
        }
        if self.chance >= CERTAIN / 2 && self.holds_post(own) {
            self.on_post = true;
            self.pause = Some(Pause::Awake {
                spells: 1,
                is_told: true,
            });
            Rest::Look
        } else {
            self.leave_post();
            self.pause = Some(Pause::Asleep { since: now() });
            Rest::Sleep
        }
    }

    /// For how long to look now, if it was told to.
    pub(crate) fn spell(&mut self) -> Option<Spell> {
        let Some(Pause::Awake { spells, is_told }) = &mut self.pause else {
            return None;
        };
        let is_first = *spells == 1;
        std::mem::take(is_told).then_some(Spell { is_first })
    }

    /// It goes on: woken, or to look again.
    pub(crate) fn resume(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(Pause::Asleep { since }) = self.pause {
            let soon = now().duration_since(since) <= SOON;
            self.pause = Some(Pause::Ended { soon });
        }
    }

    /// Others may look out.
    pub(crate) fn leave_post(&mut self) {
        if std::mem::take(&mut self.on_post) {
            self.post.leave();
        }
    }

    fn holds_post(&mut self, own: impl FnOnce() -> B) -> bool {
        if self.on_post {
            self.post.is_open.load(Ordering::Relaxed)
        } else {
            self.post.take(own)
        }
    }

    fn learn(&mut self, was_short: bool, tells: u32) {
        if was_short {
            self.chance += (CERTAIN - self.chance) / tells;
        } else {
            self.chance -= self.chance / AWAKE_TELLS;
        }
    }
}

// === impl Spell ===

impl Spell {
    /// For each look whether to give way to others before it.
    pub(crate) fn looks(self) -> impl Iterator<Item = bool> {
        let first = if self.is_first { COURTEOUS.0 } else { 0 };
        (0..LOOKS).map(move |look| look < first || look % COURTEOUS.1 == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers, and how long they sleep.
    struct Shift {
        begun: Instant,
        micros: u64,
    }

    impl Shift {
        fn new() -> Self {
            Shift {
                begun: Instant::now(),
                micros: 0,
            }
        }

        fn now(&self) -> Instant {
            self.begun + Duration::from_micros(self.micros)
        }

        /// Something to do comes after so long; whether the worker slept.
        fn pause(&mut self, lookout: &mut Lookout<u8>, micros: u64) -> bool {
            let rest = lookout.rest(|| self.now(), || 0);
            self.micros += micros;
            lookout.resume(|| self.now());
            lookout.end_turn(16);
            rest == Rest::Sleep
        }
    }

    fn two() -> (Lookout<u8>, Lookout<u8>) {
        let post = Arc::new(Post::new(true));
        (Lookout::new(Arc::clone(&post)), Lookout::new(post))
    }

    /// Until it stays awake.
    fn be_quick(shift: &mut Shift, lookout: &mut Lookout<u8>) {
        let slept = (0..200).take_while(|_| shift.pause(lookout, 50)).count();
        assert!((10..100).contains(&slept), "{slept}");
    }

    #[test]
    fn who_is_woken_again_and_again_stays_awake() {
        let (mut lookout, _) = two();
        let mut shift = Shift::new();
        be_quick(&mut shift, &mut lookout);
        for _ in 0..100 {
            assert!(!shift.pause(&mut lookout, 20));
            assert!(lookout.was_expected());
        }
    }

    #[test]
    fn who_has_looked_in_vain_sleeps_and_soon_gives_it_up() {
        let (mut lookout, _) = two();
        let mut shift = Shift::new();
        be_quick(&mut shift, &mut lookout);
        let mut in_vain = 0;
        for _ in 0..100 {
            let mut looks = 0;
            while lookout.rest(|| shift.now(), || 0) != Rest::Sleep {
                lookout.resume(|| shift.now());
                looks += 1;
                assert!(looks <= LOOKS);
            }
            in_vain += u32::from(looks > 0);
            assert_eq!(lookout.post.holder(), None);
            shift.micros += 1000;
            lookout.resume(|| shift.now());
            lookout.end_turn(16);
        }
        assert!((1..20).contains(&in_vain), "{in_vain}");
    }

    #[test]
    fn pauses_that_are_too_long_to_wait_for_cost_next_to_nothing() {
        let (mut lookout, _) = two();
        let mut shift = Shift::new();
        let mut looks = 0;
        for _ in 0..10_000 {
            // Short enough to be tempted, but nothing comes while it looks.
            while lookout.rest(|| shift.now(), || 0) != Rest::Sleep {
                lookout.resume(|| shift.now());
                looks += 1;
            }
            shift.micros += 70;
            lookout.resume(|| shift.now());
            lookout.end_turn(16);
        }
        assert!(looks < 10_000 * LOOKS / 8, "{looks}");
    }

    #[test]
    fn what_comes_in_large_pieces_is_not_waited_for() {
        let (mut lookout, _) = two();
        let shift = Shift::new();
        let large = |lookout: &mut Lookout<u8>| {
            let rest = lookout.rest(|| shift.now(), || 0);
            lookout.resume(|| shift.now());
            lookout.end_turn(LITTLE + 1);
            rest == Rest::Sleep
        };
        assert!((0..1000).all(|_| large(&mut lookout)));
        be_quick(&mut Shift::new(), &mut lookout);
        let awake = (0..100).take_while(|_| !large(&mut lookout)).count();
        assert!(awake < 10, "{awake}");
    }

    #[test]
    fn one_looks_out_and_the_other_sleeps_until_it_is_pressed() {
        let (mut one, mut other) = two();
        let mut shift = Shift::new();
        be_quick(&mut shift, &mut one);
        for _ in 0..100 {
            assert!(shift.pause(&mut other, 50));
            assert!(other.was_roused_in_vain());
            assert!(!shift.pause(&mut one, 5));
            assert!(!one.was_roused_in_vain());
        }
        for _ in 0..PRESSED {
            one.end_turn(16);
        }
        assert!(one.is_pressed() && !other.is_pressed());
        shift.pause(&mut other, 50);
        assert!(!other.was_roused_in_vain());
        assert!(!shift.pause(&mut other, 50), "it is free");
    }

    #[test]
    fn it_looks_once_for_each_time_it_is_told_and_gives_way_first() {
        let (mut lookout, _) = two();
        let mut shift = Shift::new();
        assert!(lookout.spell().is_none());
        be_quick(&mut shift, &mut lookout);
        let gives_way_at = |lookout: &mut Lookout<u8>| {
            let rest = lookout.rest(|| shift.now(), || 0);
            let looks = lookout.spell().map(Spell::looks);
            assert_eq!(rest == Rest::Look, looks.is_some());
            assert!(lookout.spell().is_none());
            let at = looks?.zip(0..).filter(|(gives_way, _)| *gives_way);
            Some(at.map(|(_, look)| look).collect::<Vec<u32>>())
        };
        assert_eq!(gives_way_at(&mut lookout), Some(vec![0, 1, 8, 16, 24]));
        assert_eq!(gives_way_at(&mut lookout), Some(vec![0, 8, 16, 24]));
        assert_eq!(gives_way_at(&mut lookout), None);
    }

    #[test]
    fn a_post_that_is_not_open_is_never_taken_and_one_that_is_closed_left() {
        let post = Arc::new(Post::new(false));
        let mut lookout = Lookout::new(Arc::clone(&post));
        let mut shift = Shift::new();
        assert!((0..1000).all(|_| shift.pause(&mut lookout, 1)));
        post.set_open(true);
        assert!(!shift.pause(&mut lookout, 1));
        post.set_open(false);
        assert!(shift.pause(&mut lookout, 1));
        assert_eq!(post.holder(), None);
    }
}

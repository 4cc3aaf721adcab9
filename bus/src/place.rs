//! Where a connection lives.
//!
//! It belongs to one worker, so that all have as many. But when it wakes that one again and again while another
//! is [on the lookout](crate::lookout), it visits: those who talk to each other in quick succession come
//! together with the worker who is awake, and nobody is woken for them. When there is enough to do, guests go
//! home, and all workers work.

use crate::lookout::{Lookout, Post};

/// How often a connection must have woken its worker in vain before it visits: at first, and at most, as it
/// doubles each time that it has been sent home.
const PATIENCE: (u32, u32) = (32, 4096);

/// Where one connection lives; `B` is how to get to a worker.
#[derive(Debug)]
pub(crate) struct Place<B> {
    home: B,
    is_guest: bool,
    /// Turns that its worker was woken for in vain, less the others.
    roused: u32,
    patience: u32,
    leaves: bool,
}

// === impl Place ===

impl<B: Clone> Place<B> {
    pub(crate) fn at(home: B) -> Self {
        Place {
            home,
            is_guest: false,
            roused: 0,
            patience: PATIENCE.0,
            leaves: false,
        }
    }

    /// It has had a turn.
    #[inline]
    pub(crate) fn note(&mut self, lookout: &Lookout<B>) {
        if self.is_guest {
            self.leaves = lookout.is_pressed();
        } else if lookout.was_roused_in_vain() {
            self.roused += 1;
            self.leaves = self.roused >= self.patience;
        } else {
            self.roused = self.roused.saturating_sub(1);
        }
    }

    /// Where it lives from now on, if that is elsewhere.
    #[inline]
    pub(crate) fn elsewhere(&mut self, post: &Post<B>) -> Option<B> {
        if self.leaves { self.leave(post) } else { None }
    }

    fn leave(&mut self, post: &Post<B>) -> Option<B> {
        self.leaves = false;
        self.roused = 0;
        if self.is_guest {
            self.is_guest = false;
            self.patience = PATIENCE.1.min(self.patience * 2);
            return Some(self.home.clone());
        }
        let host = post.holder();
        self.is_guest = host.is_some();
        host
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::lookout::Rest;

    /// A worker that is on the lookout, and one that is not.
    fn workers() -> (Arc<Post<u8>>, Lookout<u8>, Lookout<u8>) {
        let post = Arc::new(Post::new(true));
        let (mut awake, asleep) = (
            Lookout::new(Arc::clone(&post)),
            Lookout::new(Arc::clone(&post)),
        );
        let now = Instant::now();
        while awake.rest(|| now, || 1) == Rest::Sleep {
            awake.resume(|| now);
            awake.end_turn(16);
        }
        (post, awake, asleep)
    }

    /// A turn after a long pause, if the worker sleeps.
    fn rouse(place: &mut Place<u8>, lookout: &mut Lookout<u8>) {
        let now = Instant::now();
        lookout.rest(|| now, || 2);
        lookout.resume(|| now + Duration::from_secs(1));
        lookout.end_turn(16);
        place.note(lookout);
    }

    #[test]
    fn it_visits_who_is_awake_and_goes_home_when_that_one_is_pressed() {
        let (post, mut awake, mut asleep) = workers();
        let mut place = Place::at(2);
        for visits in 0..10 {
            let patience = PATIENCE.1.min(PATIENCE.0 << visits);
            for _ in 0..patience {
                assert_eq!(place.elsewhere(&post), None);
                rouse(&mut place, &mut asleep);
            }
            assert_eq!(place.elsewhere(&post), Some(1));
            assert_eq!(place.elsewhere(&post), None);
            for _ in 0..100 {
                rouse(&mut place, &mut awake);
                assert_eq!(place.elsewhere(&post), None);
            }
            while !awake.is_pressed() {
                awake.end_turn(16);
            }
            place.note(&awake);
            assert_eq!(place.elsewhere(&post), Some(2));
            assert_eq!(post.holder(), None, "who is pressed does not look out");
            awake.rest(Instant::now, || 1);
        }
    }

    #[test]
    fn it_stays_where_its_worker_is_mostly_awake_anyway() {
        let (post, _awake, mut asleep) = workers();
        let mut place = Place::at(2);
        for _ in 0..10 * PATIENCE.0 {
            rouse(&mut place, &mut asleep);
            asleep.end_turn(16);
            place.note(&asleep);
            assert_eq!(place.elsewhere(&post), None);
        }
    }

    #[test]
    fn it_stays_when_nobody_is_awake_any_more() {
        let (post, mut awake, mut asleep) = workers();
        let mut place = Place::at(2);
        for _ in 0..PATIENCE.0 {
            rouse(&mut place, &mut asleep);
        }
        awake.leave_post();
        assert_eq!(place.elsewhere(&post), None);
        assert!(!place.is_guest);
    }
}

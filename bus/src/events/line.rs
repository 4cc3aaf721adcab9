//! Where requests wait: a bounded line in which everybody comes in turn. Who asks much waits behind his own
//! questions, not others behind his; when the line is full, he who has most in it makes room.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Line<T> {
    waiting: Mutex<Waiting<T>>,
    news: Notify,
    most: usize,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Waiting<T> {
    /// What each has asked, by the number of the connection. Nobody is here without a question.
    of: HashMap<u64, VecDeque<T>>,
    /// Whose turn it is, and whose then.
    turns: VecDeque<u64>,
    count: usize,
}

// === impl Line ===

impl<T> Line<T> {
    pub(super) fn new(most: usize) -> Self {
        Line {
            waiting: Mutex::new(Waiting {
                of: HashMap::new(),
                turns: VecDeque::new(),
                count: 0,
            }),
            news: Notify::new(),
            most,
            lost: AtomicU64::new(0),
        }
    }

    /// Puts a question of `who` into the line, or loses it or the last of one who has more.
    pub(super) fn join(&self, who: u64, question: T) {
        let mut waiting = self.waiting.lock();
        if waiting.count >= self.most {
            self.lost.fetch_add(1, Ordering::Relaxed);
            if !waiting.make_room(who) {
                return;
            }
        }
        waiting.add(who, question);
        drop(waiting);
        self.news.notify_one();
    }

    /// The next question; waits for one. To be called by one at a time, and may be given up.
    pub(super) async fn next(&self) -> T {
        loop {
            let next = self.waiting.lock().next();
            match next {
                Some(question) => return question,
                // What has come since is remembered.
                None => self.news.notified().await,
            }
        }
    }

    /// Questions that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

// === impl Waiting ===

impl<T> Waiting<T> {
    fn add(&mut self, who: u64, question: T) {
        let own = self.of.entry(who).or_default();
        own.push_back(question);
        if own.len() == 1 {
            self.turns.push_back(who);
        }
        self.count += 1;
    }

    /// Takes the last question of the one who has most; not if `who` would have as many as he.
    fn make_room(&mut self, who: u64) -> bool {
        let own = self.of.get(&who).map_or(0, VecDeque::len);
        let most = self.of.values_mut().max_by_key(|theirs| theirs.len());
        let Some(theirs) = most.filter(|theirs| theirs.len() > own + 1) else {
            return false;
        };
        // There are more, so that his turn still comes.
        theirs.pop_back();
        self.count -= 1;
        true
    }

    fn next(&mut self) -> Option<T> {
        let who = self.turns.pop_front()?;
        let own = self.of.get_mut(&who)?;
        let question = own.pop_front();
        if own.is_empty() {
            self.of.remove(&who);
        } else {
            self.turns.push_back(who);
        }
        self.count -= usize::from(question.is_some());
        question
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &Line<&'static str>) -> Option<&'static str> {
        line.waiting.lock().next()
    }

    #[test]
    fn everybody_comes_in_turn() {
        let line = Line::new(10);
        for (who, question) in [(1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y"), (2, "z")] {
            line.join(who, question);
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&line)).collect();
        assert_eq!(order, ["a", "x", "y", "b", "z", "c"]);
        assert!(line.waiting.lock().of.is_empty() && line.lost() == 0);
        line.join(1, "d");
        assert_eq!(next(&line), Some("d"));
    }

    #[test]
    fn who_has_most_makes_room() {
        let line = Line::new(3);
        for question in ["a", "b", "c", "d"] {
            line.join(1, question);
        }
        assert_eq!(line.lost(), 1, "the line is full of his own");
        line.join(2, "x");
        // Two and one; nobody has more than this one would.
        line.join(2, "y");
        line.join(3, "z");
        line.join(4, "too late");
        let order: Vec<_> = std::iter::from_fn(|| next(&line)).collect();
        assert_eq!(order, ["a", "x", "z"]);
        assert_eq!(line.lost(), 5);
    }

    #[tokio::test]
    async fn who_waits_hears_of_what_comes() {
        let line = Line::new(3);
        let (next, ()) = tokio::join!(line.next(), async { line.join(1, "a") });
        assert_eq!(next, "a");
    }
}

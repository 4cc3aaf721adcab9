//! The queue groups of one list of receivers, found by name.
//!
//! Most lists have one or two, and a look at each is the quickest way. Whoever makes very many shall not
//! make everybody else look at all of them: from some number on there is an index.

use std::slice;
use std::sync::Arc;

use hashbrown::HashTable;

use super::matches::{Member, take};
use crate::hash::Seed;

/// Groups that are looked through one by one; of more there is an index.
const FEW: usize = 16;

/// A queue group: one member per message.
#[derive(Debug)]
pub struct Group<T> {
    /// The group's name.
    pub name: Arc<[u8]>,
    /// Those among whom one is chosen; never empty.
    pub members: Vec<Arc<T>>,
}

/// Queue groups of different names.
#[derive(Debug)]
pub struct Groups<T> {
    list: Vec<Group<T>>,
    index: Option<Box<Index>>,
}

/// Where in the list each name stands.
#[derive(Clone, Debug)]
struct Index {
    seed: Seed,
    places: HashTable<usize>,
}

// === impl Groups ===

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Groups {
            list: Vec::new(),
            index: None,
        }
    }
}

impl<T> Clone for Groups<T> {
    fn clone(&self) -> Self {
        Groups {
            list: self.list.clone(),
            index: self.index.clone(),
        }
    }
}

impl<T> Groups<T> {
    /// All of them.
    #[inline]
    pub fn as_slice(&self) -> &[Group<T>] {
        &self.list
    }

    /// The group of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Group<T>> {
        self.find(name).map(|at| &self.list[at])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let is_it = |at: &usize| *self.list[*at].name == *name;
        match &self.index {
            None => (0..self.list.len()).find(is_it),
            Some(index) => index.places.find(index.seed.hash(name), is_it).copied(),
        }
    }

    /// The group of this name, made without members when there is none.
    fn get_or_add(&mut self, name: &Arc<[u8]>) -> &mut Group<T> {
        let at = match self.find(name) {
            Some(at) => at,
            None => self.add(Group {
                name: Arc::clone(name),
                members: Vec::new(),
            }),
        };
        &mut self.list[at]
    }

    fn add(&mut self, group: Group<T>) -> usize {
        let at = self.list.len();
        self.list.push(group);
        match &mut self.index {
            Some(index) => index.note(&self.list, at),
            None if self.list.len() > FEW => {
                let mut index = Index {
                    seed: Seed::random(),
                    places: HashTable::with_capacity(self.list.len()),
                };
                for at in 0..self.list.len() {
                    index.note(&self.list, at);
                }
                self.index = Some(Box::new(index));
            }
            None => {}
        }
        at
    }

    fn drop_group(&mut self, at: usize) {
        if let Some(index) = &mut self.index {
            index.forget(&self.list[at].name, at);
            // The last one takes its place.
            let last = self.list.len() - 1;
            let hash = index.seed.hash(&self.list[last].name);
            if let Some(place) = index.places.find_mut(hash, |place| *place == last) {
                *place = at;
            }
        }
        self.list.swap_remove(at);
        if self.list.len() <= FEW / 2 {
            self.index = None;
        }
    }
}

impl<T: Member> Groups<T> {
    pub(super) fn insert(&mut self, name: &Arc<[u8]>, member: &Arc<T>) {
        let members = &mut self.get_or_add(name).members;
        member.note_slot(members.len());
        members.push(Arc::clone(member));
    }

    /// Removes a member of the group of this name; `false` when it is not there.
    pub(super) fn remove(&mut self, name: &[u8], member: &Arc<T>) -> bool {
        let Some(at) = self.find(name) else {
            return false;
        };
        let removed = take(&mut self.list[at].members, member);
        if self.list[at].members.is_empty() {
            self.drop_group(at);
        }
        removed
    }

    /// Adds all of `more`. Groups of one name become one group, as a message is for one of them.
    pub(super) fn merge(&mut self, more: &Groups<T>) {
        for other in &more.list {
            let members = other.members.iter().cloned();
            self.get_or_add(&other.name).members.extend(members);
        }
    }
}

impl<'a, T> IntoIterator for &'a Groups<T> {
    type Item = &'a Group<T>;
    type IntoIter = slice::Iter<'a, Group<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Group {
            name: Arc::clone(&self.name),
            members: self.members.clone(),
        }
    }
}

// === impl Index ===

impl Index {
    fn note<T>(&mut self, list: &[Group<T>], at: usize) {
        let Index { seed, places } = self;
        let hash = |at: &usize| seed.hash(&list[*at].name);
        places.insert_unique(hash(&at), at, hash);
    }

    fn forget(&mut self, name: &[u8], at: usize) {
        let hash = self.seed.hash(name);
        if let Ok(entry) = self.places.find_entry(hash, |place| *place == at) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    struct Probe(AtomicU32);

    impl Member for Probe {
        fn subject(&self) -> &[u8] {
            b"s"
        }
        fn queue(&self) -> Option<&Arc<[u8]>> {
            None
        }
        fn slot(&self) -> &AtomicU32 {
            &self.0
        }
    }

    #[test]
    fn names_are_found_whatever_their_number() {
        let name = |n: usize| -> Arc<[u8]> { n.to_string().into_bytes().into() };
        let mut groups = Groups::default();
        let members: Vec<_> = (0..100)
            .map(|_| Arc::new(Probe(AtomicU32::new(0))))
            .collect();
        // Up beyond where an index is made, down to where it is dropped, and up again.
        for round in 0..2 {
            for (n, member) in members.iter().enumerate() {
                groups.insert(&name(n), member);
                groups.insert(&name(n / 2), member);
            }
            assert_eq!(groups.as_slice().len(), 100);
            for n in 0..100 {
                let group = groups.get(&name(n)).map(|group| group.members.len());
                assert_eq!(group, Some(if n < 50 { 3 } else { 1 }), "{n} in {round}");
            }
            assert!(groups.get(b"100").is_none());
            for n in (0..100)
                .rev()
                .step_by(3)
                .chain((0..100).filter(|n| n % 3 != 0))
            {
                assert!(groups.remove(&name(n), &members[n]), "{n}");
                assert!(groups.remove(&name(n / 2), &members[n]), "{n}");
                assert!(!groups.remove(&name(n), &members[n]), "{n}");
                for other in &groups {
                    let found = groups.get(&other.name).map(|found| found.members.as_ptr());
                    assert_eq!(found, Some(other.members.as_ptr()));
                }
            }
            assert!(groups.is_empty() && groups.index.is_none());
        }
    }
}

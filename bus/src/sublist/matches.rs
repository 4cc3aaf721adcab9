//! The receivers of one subject: plain subscriptions, and queue groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Something that can be listed under a subject.
pub trait Member {
    /// What it subscribed to.
    fn subject(&self) -> &[u8] {
        self.shared_subject()
    }
    /// The same, to share.
    fn shared_subject(&self) -> &Arc<[u8]>;
    /// Its queue group, if it is in one.
    fn queue(&self) -> Option<&Arc<[u8]>>;
    /// Where in its list it stands: a hint kept by the list, so that removal needs no search.
    fn slot(&self) -> &AtomicU32;
}

/// Receivers of one subject, or of one published message.
#[derive(Debug)]
pub struct Matches<T> {
    subject: Arc<[u8]>,
    /// Each of these gets a copy.
    pub plain: Vec<Arc<T>>,
    /// One member of each of these gets a copy.
    pub groups: Vec<Group<T>>,
}

/// A queue group: one member per message.
#[derive(Debug)]
pub struct Group<T> {
    /// The group's name.
    pub name: Arc<[u8]>,
    /// Those among whom one is chosen; never empty.
    pub members: Vec<Arc<T>>,
}

// === impl Matches ===

impl<T> Clone for Matches<T> {
    fn clone(&self) -> Self {
        Matches {
            subject: Arc::clone(&self.subject),
            plain: self.plain.clone(),
            groups: self.groups.clone(),
        }
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

impl<T: Member> Matches<T> {
    pub(super) fn new(subject: Arc<[u8]>) -> Self {
        Matches {
            subject,
            plain: Vec::new(),
            groups: Vec::new(),
        }
    }

    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    pub(super) fn insert(&mut self, member: &Arc<T>) {
        let list = match member.queue() {
            None => &mut self.plain,
            Some(queue) => &mut self.group(queue).members,
        };
        // A full list of one is what most subjects have: grow from exactly one.
        if list.is_empty() {
            list.reserve_exact(1);
        }
        member.slot().store(
            u32::try_from(list.len()).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        list.push(Arc::clone(member));
    }

    pub(super) fn remove(&mut self, member: &Arc<T>) -> bool {
        let Some(queue) = member.queue() else {
            return take(&mut self.plain, member);
        };
        let Some(at) = self.groups.iter().position(|group| group.name == *queue) else {
            return false;
        };
        let removed = take(&mut self.groups[at].members, member);
        if self.groups[at].members.is_empty() {
            self.groups.swap_remove(at);
        }
        removed
    }

    /// Adds all of `other`. Groups of one name become one group, as a message is for one of them.
    pub(super) fn merge(&mut self, other: &Matches<T>) {
        self.plain.extend(other.plain.iter().cloned());
        for group in &other.groups {
            self.group(&group.name)
                .members
                .extend(group.members.iter().cloned());
        }
    }

    fn group(&mut self, name: &Arc<[u8]>) -> &mut Group<T> {
        let at = match self.groups.iter().position(|group| group.name == *name) {
            Some(at) => at,
            None => {
                self.groups.push(Group {
                    name: Arc::clone(name),
                    members: Vec::new(),
                });
                self.groups.len() - 1
            }
        };
        &mut self.groups[at]
    }
}

/// Removes `member` in constant time when its hint is right, else by a search.
fn take<T: Member>(list: &mut Vec<Arc<T>>, member: &Arc<T>) -> bool {
    let hint = member.slot().load(Ordering::Relaxed) as usize;
    let at = match list.get(hint) {
        Some(there) if Arc::ptr_eq(there, member) => hint,
        _ => match list.iter().position(|there| Arc::ptr_eq(there, member)) {
            Some(at) => at,
            None => return false,
        },
    };
    list.swap_remove(at);
    if let Some(moved) = list.get(at) {
        moved
            .slot()
            .store(u32::try_from(at).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
    if list.capacity() > 16 && list.len() < list.capacity() / 4 {
        list.shrink_to(list.len() * 2);
    }
    true
}

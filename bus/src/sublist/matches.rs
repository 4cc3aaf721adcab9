//! The receivers of one subject: plain subscriptions, and queue groups.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Something that can be listed under a subject.
pub trait Member {
    /// What it subscribed to.
    fn subject(&self) -> &[u8];
    /// Its queue group, if it is in one.
    fn queue(&self) -> Option<&Arc<[u8]>>;
    /// Where in its list it stands: a hint kept by the list, so that removal needs no search.
    fn slot(&self) -> &AtomicU32;
}

/// Receivers of one subject, or of one published message; there is at least one. Cheap to share.
#[derive(Debug)]
pub enum Matches<T> {
    /// A single plain subscription, as nearly all subjects have: no list, and nothing on the way to it.
    One(Arc<T>),
    /// Any others.
    Many(Arc<Lists<T>>),
}

/// Several receivers.
#[derive(Debug)]
pub struct Lists<T> {
    plain: Vec<Arc<T>>,
    groups: Vec<Group<T>>,
}

/// A queue group: one member per message.
#[derive(Debug)]
pub struct Group<T> {
    /// The group's name.
    pub name: Arc<[u8]>,
    /// Those among whom one is chosen; never empty.
    pub members: Vec<Arc<T>>,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It was not there.
    Absent,
    /// Others are left.
    Done,
    /// It was the last; the list is to be dropped.
    Last,
}

// === impl Matches ===

impl<T> Clone for Matches<T> {
    fn clone(&self) -> Self {
        match self {
            Matches::One(only) => Matches::One(Arc::clone(only)),
            Matches::Many(lists) => Matches::Many(Arc::clone(lists)),
        }
    }
}

impl<T> Matches<T> {
    /// Each of these gets a copy.
    #[inline]
    pub fn plain(&self) -> &[Arc<T>] {
        match self {
            Matches::One(only) => slice::from_ref(only),
            Matches::Many(lists) => &lists.plain,
        }
    }

    /// One member of each of these gets a copy.
    #[inline]
    pub fn groups(&self) -> &[Group<T>] {
        match self {
            Matches::One(_) => &[],
            Matches::Many(lists) => &lists.groups,
        }
    }

    /// All of them, members of groups included.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        let members = self.groups().iter().flat_map(|group| &group.members);
        self.plain().iter().chain(members)
    }
}

impl<T: Member> Matches<T> {
    pub(super) fn of(member: &Arc<T>) -> Self {
        if member.queue().is_none() {
            return Matches::One(Arc::clone(member));
        }
        let mut lists = Lists::default();
        lists.insert(member);
        Matches::Many(Arc::new(lists))
    }

    /// What the members of a list that belongs to one subject have subscribed to.
    pub(super) fn subject(&self) -> &[u8] {
        match self {
            Matches::One(only) => only.subject(),
            Matches::Many(lists) => {
                let grouped = || lists.groups.first()?.members.first();
                let first = lists.plain.first().or_else(grouped);
                first.map_or(&[], |member| member.subject())
            }
        }
    }

    pub(super) fn insert(&mut self, member: &Arc<T>) {
        self.lists().insert(member);
    }

    pub(super) fn remove(&mut self, member: &Arc<T>) -> Removal {
        let lists = match self {
            Matches::One(only) if Arc::ptr_eq(only, member) => return Removal::Last,
            Matches::One(_) => return Removal::Absent,
            Matches::Many(lists) => Arc::make_mut(lists),
        };
        if !lists.remove(member) {
            return Removal::Absent;
        }
        match (lists.plain.as_slice(), lists.groups.as_slice()) {
            ([], []) => return Removal::Last,
            ([only], []) => *self = Matches::One(Arc::clone(only)),
            _ => {}
        }
        Removal::Done
    }

    /// Adds all of `other`. Groups of one name become one group, as a message is for one of them.
    pub(super) fn merge(&mut self, other: &Matches<T>) {
        let lists = self.lists();
        lists.plain.extend(other.plain().iter().cloned());
        for group in other.groups() {
            let members = group.members.iter().cloned();
            lists.group(&group.name).members.extend(members);
        }
    }

    /// Makes room for more than one.
    fn lists(&mut self) -> &mut Lists<T> {
        if let Matches::One(only) = self {
            let mut lists = Lists::default();
            lists.insert(only);
            *self = Matches::Many(Arc::new(lists));
        }
        match self {
            Matches::Many(lists) => Arc::make_mut(lists),
            Matches::One(_) => unreachable!("has just become many"),
        }
    }
}

// === impl Lists ===

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Lists {
            plain: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl<T> Clone for Lists<T> {
    fn clone(&self) -> Self {
        Lists {
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

impl<T: Member> Lists<T> {
    fn insert(&mut self, member: &Arc<T>) {
        let list = match member.queue() {
            None => &mut self.plain,
            Some(queue) => &mut self.group(queue).members,
        };
        member.slot().store(
            u32::try_from(list.len()).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        list.push(Arc::clone(member));
    }

    fn remove(&mut self, member: &Arc<T>) -> bool {
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

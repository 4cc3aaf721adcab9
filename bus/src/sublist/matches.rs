//! The receivers of one subject: plain subscriptions, and queue groups.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::groups::{Group, Groups};

/// Something that can be listed under a subject.
pub trait Member {
    /// What it subscribed to.
    fn subject(&self) -> &[u8];
    /// Its queue group, if it is in one.
    fn queue(&self) -> Option<&Arc<[u8]>>;
    /// Whether it listens at another server, and is kept apart.
    fn is_remote(&self) -> bool {
        false
    }
    /// Where in its list it stands: a hint kept by the list, so that removal needs no search.
    fn slot(&self) -> &AtomicU32;
    /// Notes where in its list it stands.
    fn note_slot(&self, at: usize) {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        self.slot().store(at, Ordering::Relaxed);
    }
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
    groups: Groups<T>,
    remote: Option<Box<Remote<T>>>,
}

/// Receivers at other servers, apart from those here.
#[derive(Debug)]
pub struct Remote<T> {
    /// Each of these gets a copy.
    pub plain: Vec<Arc<T>>,
    /// One member of each of these gets a copy, unless one here has got it.
    pub groups: Groups<T>,
}

/// What a group takes in memory, in members.
const GROUP_WEIGHT: usize = 8;

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
            Matches::Many(lists) => lists.groups.as_slice(),
        }
    }

    /// The queue group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group<T>> {
        match self {
            Matches::One(_) => None,
            Matches::Many(lists) => lists.groups.get(name),
        }
    }

    /// Those at other servers; most subjects have none.
    #[inline]
    pub fn remote(&self) -> Option<&Remote<T>> {
        match self {
            Matches::One(_) => None,
            Matches::Many(lists) => lists.remote.as_deref(),
        }
    }

    /// All of them that are here, members of groups included.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        let members = self.groups().iter().flat_map(|group| &group.members);
        self.plain().iter().chain(members)
    }
}

impl<T> Matches<T> {
    /// How much there is of it: receivers here and at other servers, and what their groups take besides.
    pub(super) fn weight(&self) -> usize {
        let members = |groups: &Groups<T>| -> usize {
            let of = |group: &Group<T>| GROUP_WEIGHT + group.members.len();
            groups.into_iter().map(of).sum()
        };
        match self {
            Matches::One(_) => 1,
            Matches::Many(lists) => {
                let remote = |remote: &Remote<T>| remote.plain.len() + members(&remote.groups);
                let here = lists.plain.len() + members(&lists.groups);
                here + lists.remote.as_deref().map_or(0, remote)
            }
        }
    }
}

impl<T: Member> Matches<T> {
    pub(super) fn of(member: &Arc<T>) -> Self {
        if member.queue().is_none() && !member.is_remote() {
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
                let grouped = || lists.groups.as_slice().first()?.members.first();
                let remote = || lists.remote.as_ref()?.first();
                let first = lists.plain.first().or_else(grouped).or_else(remote);
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
        match (&lists.plain[..], lists.groups.as_slice(), &lists.remote) {
            ([], [], None) => return Removal::Last,
            ([only], [], None) => *self = Matches::One(Arc::clone(only)),
            _ => {}
        }
        Removal::Done
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: &Matches<T>) {
        let lists = self.lists();
        lists.plain.extend(other.plain().iter().cloned());
        if let Matches::Many(other) = other {
            lists.groups.merge(&other.groups);
        }
        if let Some(more) = other.remote() {
            let remote = lists.remote.get_or_insert_default();
            remote.plain.extend(more.plain.iter().cloned());
            remote.groups.merge(&more.groups);
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
            groups: Groups::default(),
            remote: None,
        }
    }
}

impl<T> Clone for Lists<T> {
    fn clone(&self) -> Self {
        Lists {
            plain: self.plain.clone(),
            groups: self.groups.clone(),
            remote: self.remote.clone(),
        }
    }
}

impl<T> Default for Remote<T> {
    fn default() -> Self {
        Remote {
            plain: Vec::new(),
            groups: Groups::default(),
        }
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Remote {
            plain: self.plain.clone(),
            groups: self.groups.clone(),
        }
    }
}

impl<T> Remote<T> {
    fn first(&self) -> Option<&Arc<T>> {
        let grouped = || self.groups.as_slice().first()?.members.first();
        self.plain.first().or_else(grouped)
    }
}

impl<T: Member> Lists<T> {
    fn insert(&mut self, member: &Arc<T>) {
        let (plain, groups) = if member.is_remote() {
            let remote = self.remote.get_or_insert_default();
            (&mut remote.plain, &mut remote.groups)
        } else {
            (&mut self.plain, &mut self.groups)
        };
        match member.queue() {
            None => {
                member.note_slot(plain.len());
                plain.push(Arc::clone(member));
            }
            Some(queue) => groups.insert(queue, member),
        }
    }

    fn remove(&mut self, member: &Arc<T>) -> bool {
        if !member.is_remote() {
            return remove(&mut self.plain, &mut self.groups, member);
        }
        let Some(remote) = &mut self.remote else {
            return false;
        };
        let removed = remove(&mut remote.plain, &mut remote.groups, member);
        if remote.plain.is_empty() && remote.groups.is_empty() {
            self.remote = None;
        }
        removed
    }
}

fn remove<T: Member>(plain: &mut Vec<Arc<T>>, groups: &mut Groups<T>, member: &Arc<T>) -> bool {
    match member.queue() {
        None => take(plain, member),
        Some(queue) => groups.remove(queue, member),
    }
}

/// Removes `member` in constant time when its hint is right, else by a search.
pub(super) fn take<T: Member>(list: &mut Vec<Arc<T>>, member: &Arc<T>) -> bool {
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
        moved.note_slot(at);
    }
    if list.capacity() > 16 && list.len() < list.capacity() / 4 {
        list.shrink_to(list.len() * 2);
    }
    true
}

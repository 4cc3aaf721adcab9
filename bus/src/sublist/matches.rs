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
    /// Whether it listens at another server, and is kept apart.
    fn is_remote(&self) -> bool {
        false
    }
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
    remote: Option<Box<Remote<T>>>,
}

/// Receivers at other servers, apart from those here.
#[derive(Debug)]
pub struct Remote<T> {
    /// Each of these gets a copy.
    pub plain: Vec<Arc<T>>,
    /// One member of each of these gets a copy, unless one here has got it.
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
                let grouped = || lists.groups.first()?.members.first();
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
        match (&lists.plain[..], &lists.groups[..], &lists.remote) {
            ([], [], None) => return Removal::Last,
            ([only], [], None) => *self = Matches::One(Arc::clone(only)),
            _ => {}
        }
        Removal::Done
    }

    /// Adds all of `other`. Groups of one name become one group, as a message is for one of them.
    pub(super) fn merge(&mut self, other: &Matches<T>) {
        let lists = self.lists();
        lists.plain.extend(other.plain().iter().cloned());
        merge(&mut lists.groups, other.groups());
        if let Some(more) = other.remote() {
            let remote = lists.remote.get_or_insert_default();
            remote.plain.extend(more.plain.iter().cloned());
            merge(&mut remote.groups, &more.groups);
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
            groups: Vec::new(),
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
        let grouped = || self.groups.first()?.members.first();
        self.plain.first().or_else(grouped)
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
        let (plain, groups) = if member.is_remote() {
            let remote = self.remote.get_or_insert_default();
            (&mut remote.plain, &mut remote.groups)
        } else {
            (&mut self.plain, &mut self.groups)
        };
        let list = match member.queue() {
            None => plain,
            Some(queue) => &mut group(groups, queue).members,
        };
        member.slot().store(
            u32::try_from(list.len()).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        list.push(Arc::clone(member));
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

/// The group of this name, made when there is none.
fn group<'a, T>(groups: &'a mut Vec<Group<T>>, name: &Arc<[u8]>) -> &'a mut Group<T> {
    let at = match groups.iter().position(|group| group.name == *name) {
        Some(at) => at,
        None => {
            groups.push(Group {
                name: Arc::clone(name),
                members: Vec::new(),
            });
            groups.len() - 1
        }
    };
    &mut groups[at]
}

fn merge<T>(groups: &mut Vec<Group<T>>, more: &[Group<T>]) {
    for other in more {
        let members = other.members.iter().cloned();
        group(groups, &other.name).members.extend(members);
    }
}

fn remove<T: Member>(plain: &mut Vec<Arc<T>>, groups: &mut Vec<Group<T>>, member: &Arc<T>) -> bool {
    let Some(queue) = member.queue() else {
        return take(plain, member);
    };
    let Some(at) = groups.iter().position(|group| group.name == *queue) else {
        return false;
    };
    let removed = take(&mut groups[at].members, member);
    if groups[at].members.is_empty() {
        groups.swap_remove(at);
    }
    removed
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

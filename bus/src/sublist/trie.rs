//! The trie of wildcard subscriptions: nodes in one vector, edges in one table.
//!
//! Indices instead of boxes: nothing recurses, so the depth of a subject cannot exhaust a stack, and
//! a node costs no map of its own.

use std::sync::Arc;

use hashbrown::HashTable;

use super::matches::{Matches, Member, Removal};
use crate::hash::Seed;
use crate::subject;

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// Wildcard subscriptions of one shard.
#[derive(Debug)]
pub(super) struct Trie<T> {
    seed: Seed,
    nodes: Vec<Node<T>>,
    /// Indices of nodes that are in no use.
    free: Vec<u32>,
    /// The literal children of all nodes: (parent, token) to child. Each child knows its key.
    edges: HashTable<u32>,
}

#[derive(Debug)]
struct Node<T> {
    parent: u32,
    /// The token that leads here; empty for the root, `*` for a star.
    token: Box<[u8]>,
    star: u32,
    /// Subscriptions that end here.
    here: Option<Matches<T>>,
    /// Subscriptions that end in a `>` after this.
    rest: Option<Matches<T>>,
    /// Children, the star included.
    children: u32,
}

/// Working memory of a match, kept between matches.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    now: Vec<u32>,
    next: Vec<u32>,
    /// What the match has cost: nodes visited, and receivers copied because several lists were merged.
    pub(super) visited: usize,
    pub(super) copied: usize,
}

// === impl Trie ===

impl<T: Member> Trie<T> {
    pub(super) fn new(seed: Seed) -> Self {
        Trie {
            seed,
            nodes: Vec::new(),
            free: Vec::new(),
            edges: HashTable::new(),
        }
    }

    pub(super) fn insert(&mut self, member: &Arc<T>) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::new(NONE, b""));
        }
        let (path, open) = split_rest(member.subject());
        let mut at = ROOT;
        if let Some(path) = path {
            for token in subject::tokens(path) {
                at = self.child_or_new(at, token);
            }
        }
        let node = &mut self.nodes[at as usize];
        let place = if open { &mut node.rest } else { &mut node.here };
        match place {
            Some(matches) => matches.insert(member),
            None => *place = Some(Matches::of(member)),
        }
    }

    pub(super) fn remove(&mut self, member: &Arc<T>) -> bool {
        if self.nodes.is_empty() {
            return false;
        }
        let (path, open) = split_rest(member.subject());
        let mut at = ROOT;
        if let Some(path) = path {
            for token in subject::tokens(path) {
                match self.child(at, token) {
                    Some(child) => at = child,
                    None => return false,
                }
            }
        }
        let node = &mut self.nodes[at as usize];
        let place = if open { &mut node.rest } else { &mut node.here };
        let Some(matches) = place else { return false };
        match matches.remove(member) {
            Removal::Absent => return false,
            Removal::Done => {}
            Removal::Last => {
                *place = None;
                self.prune(at);
            }
        }
        true
    }

    /// Calls `found` with each list that matches `subject`.
    pub(super) fn find<'a>(
        &'a self,
        subject: &[u8],
        frontier: &mut Frontier,
        mut found: impl FnMut(&'a Matches<T>),
    ) {
        if self.nodes.is_empty() {
            return;
        }
        frontier.now.clear();
        frontier.now.push(ROOT);
        for token in subject::tokens(subject) {
            frontier.next.clear();
            frontier.visited += frontier.now.len();
            let literal = token != subject::ONE && token != subject::REST;
            for at in &frontier.now {
                let node = &self.nodes[*at as usize];
                if let Some(rest) = &node.rest {
                    found(rest);
                }
                if node.star != NONE {
                    frontier.next.push(node.star);
                }
                if literal && let Some(child) = self.edge(*at, token) {
                    frontier.next.push(child);
                }
            }
            std::mem::swap(&mut frontier.now, &mut frontier.next);
            if frontier.now.is_empty() {
                return;
            }
        }
        for at in &frontier.now {
            if let Some(here) = &self.nodes[*at as usize].here {
                found(here);
            }
        }
    }

    fn child(&self, parent: u32, token: &[u8]) -> Option<u32> {
        if token == subject::ONE {
            Some(self.nodes[parent as usize].star).filter(|star| *star != NONE)
        } else {
            self.edge(parent, token)
        }
    }

    fn child_or_new(&mut self, parent: u32, token: &[u8]) -> u32 {
        if let Some(child) = self.child(parent, token) {
            return child;
        }
        let node = Node::new(parent, token);
        let index = match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                let index =
                    u32::try_from(self.nodes.len()).expect("memory ends before four billion nodes");
                self.nodes.push(node);
                index
            }
        };
        self.nodes[parent as usize].children += 1;
        if token == subject::ONE {
            self.nodes[parent as usize].star = index;
        } else {
            let hash = edge_hash(self.seed, parent, token);
            let (nodes, seed) = (&self.nodes, self.seed);
            self.edges.insert_unique(hash, index, |child| {
                let child = &nodes[*child as usize];
                edge_hash(seed, child.parent, &child.token)
            });
        }
        index
    }

    fn edge(&self, parent: u32, token: &[u8]) -> Option<u32> {
        self.edges
            .find(edge_hash(self.seed, parent, token), |child| {
                let child = &self.nodes[*child as usize];
                child.parent == parent && *child.token == *token
            })
            .copied()
    }

    /// Gives back nodes that lead nowhere, from `at` upwards.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let node = &self.nodes[at as usize];
            if node.children > 0 || node.here.is_some() || node.rest.is_some() {
                return;
            }
            let parent = node.parent;
            if *node.token == *subject::ONE {
                self.nodes[parent as usize].star = NONE;
            } else {
                let hash = edge_hash(self.seed, parent, &node.token);
                if let Ok(edge) = self.edges.find_entry(hash, |child| *child == at) {
                    edge.remove();
                }
            }
            self.nodes[at as usize].token = Box::default();
            self.free.push(at);
            self.nodes[parent as usize].children -= 1;
            at = parent;
        }
        let root = &self.nodes[ROOT as usize];
        if root.children == 0 && root.rest.is_none() {
            *self = Trie::new(self.seed);
        }
    }

    #[cfg(test)]
    pub(super) fn is_blank(&self) -> bool {
        self.nodes.is_empty() && self.edges.is_empty()
    }
}

impl<T> Node<T> {
    fn new(parent: u32, token: &[u8]) -> Self {
        Node {
            parent,
            token: token.into(),
            star: NONE,
            here: None,
            rest: None,
            children: 0,
        }
    }
}

/// Splits `a.b.>` into `a.b` and true; `>` alone has no path.
fn split_rest(subject: &[u8]) -> (Option<&[u8]>, bool) {
    if subject == subject::REST {
        (None, true)
    } else if let Some(path) = subject.strip_suffix(b".>") {
        (Some(path), true)
    } else {
        (Some(subject), false)
    }
}

#[inline]
fn edge_hash(seed: Seed, parent: u32, token: &[u8]) -> u64 {
    seed.hash(token) ^ u64::from(parent).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

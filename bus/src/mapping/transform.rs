//! One subject into another.

use crate::hash::Dice;
use crate::subject;

use super::function::{self, Part, Throw};

/// Renames subjects that match its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transform {
    parts: Vec<Part>,
    /// How many tokens of the source stand before its `>`; what is beyond them is appended.
    rest: Option<usize>,
}

/// The two names of one subject in two accounts, and the ways from one to the other.
#[derive(Clone, Debug)]
pub(crate) struct Pairing {
    /// Its pattern where it comes from.
    pub(crate) remote: Box<[u8]>,
    /// Its pattern where it is known by another name.
    pub(crate) local: Box<[u8]>,
    /// From one to the other; `None` when the names are the same.
    transforms: Option<Transforms>,
}

#[derive(Clone, Debug)]
struct Transforms {
    to_local: Transform,
    to_remote: Transform,
}

/// A mapping that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mapping of {source_subject:?}{}: it {reason}", to_text(destination))]
pub struct BadMapping {
    /// The subject that is mapped.
    pub source_subject: String,
    /// What it is mapped to, if that matters.
    pub destination: String,
    /// What is wrong.
    pub reason: &'static str,
}

fn to_text(destination: &str) -> String {
    if destination.is_empty() {
        String::new()
    } else {
        format!(" to {destination:?}")
    }
}

impl BadMapping {
    pub(super) fn new(source: &str, destination: &str, reason: &'static str) -> Self {
        BadMapping {
            source_subject: source.to_owned(),
            destination: destination.to_owned(),
            reason,
        }
    }
}

// === impl Transform ===

impl Transform {
    /// From `source` to `destination`, whose `$1` or `{{…}}` speak of the wildcards of `source`.
    ///
    /// # Errors
    /// Either is no subject, they do not both end in `>`, or a function is not in order.
    pub(crate) fn new(source: &str, destination: &str) -> Result<Self, BadMapping> {
        let wrong = |reason| BadMapping::new(source, destination, reason);
        if !subject::is_valid(source.as_bytes()) {
            return Err(wrong("is not a subject"));
        }
        let from: Vec<&str> = source.split('.').collect();
        let stars: Vec<usize> = (0..from.len()).filter(|at| from[*at] == "*").collect();
        let open = from.last() == Some(&">");
        let mut to: Vec<&str> = destination.split('.').collect();
        if (to.last() == Some(&">")) != open {
            return Err(wrong("must end in \">\" on both sides or on none"));
        }
        if open {
            to.pop();
        }
        let place = |number: usize| {
            number
                .checked_sub(1)
                .and_then(|index| stars.get(index))
                .copied()
                .ok_or_else(|| wrong("names a wildcard that is not there"))
        };
        let mut parts = Vec::with_capacity(to.len());
        for token in to {
            let mut part = function::parse(token).map_err(wrong)?;
            match &mut part {
                Part::Literal(text) => {
                    let sound = !text.is_empty()
                        && !text.iter().any(u8::is_ascii_whitespace)
                        && **text != *subject::ONE
                        && **text != *subject::REST;
                    if !sound {
                        return Err(wrong("has a destination that is not a subject"));
                    }
                }
                Part::Wildcard(index) | Part::Cut { token: index, .. } => *index = place(*index)?,
                Part::Partition { tokens, .. } => {
                    for index in tokens {
                        *index = place(*index)?;
                    }
                }
                Part::Random(_) => {}
            }
            parts.push(part);
        }
        Ok(Transform {
            parts,
            rest: open.then(|| from.len() - 1),
        })
    }

    /// What changes nothing.
    pub(super) fn identity(source: &str) -> Result<Self, BadMapping> {
        Transform::new(source, &numbered(source))
    }

    /// The new name of a subject that matches the source, which may have wildcards of its own.
    pub(crate) fn apply(&self, subject: &[u8], dice: &mut Dice) -> Vec<u8> {
        self.rename(subject, &mut |bound| dice.below(bound))
    }

    fn rename(&self, subject: &[u8], dice: Throw<'_>) -> Vec<u8> {
        let tokens = function::list(subject);
        let mut to = Vec::with_capacity(subject.len() + 16);
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                to.push(b'.');
            }
            part.write(subject, &tokens, dice, &mut to);
        }
        let rest = self.rest.and_then(|from| tokens.get(from..));
        for token in rest.unwrap_or_default() {
            if !to.is_empty() {
                to.push(b'.');
            }
            to.extend_from_slice(token);
        }
        to
    }
}

/// With `$1`, `$2`… in place of each `*`.
fn numbered(pattern: &str) -> String {
    let mut number = 0;
    let tokens = pattern.split('.').map(|token| match token {
        "*" => {
            number += 1;
            format!("${number}")
        }
        token => token.to_owned(),
    });
    tokens.collect::<Vec<_>>().join(".")
}

// === impl Pairing ===

impl Pairing {
    /// The same name on both sides.
    ///
    /// # Errors
    /// It is no subject.
    pub(crate) fn same(pattern: &str) -> Result<Self, BadMapping> {
        if !subject::is_valid(pattern.as_bytes()) {
            return Err(BadMapping::new(pattern, "", "is not a subject"));
        }
        Ok(Pairing {
            remote: pattern.as_bytes().into(),
            local: pattern.as_bytes().into(),
            transforms: None,
        })
    }

    /// Two names. Each wildcard of `remote` must occur once in `local`, as `*` or by its number.
    ///
    /// # Errors
    /// A name is no subject, or a wildcard is lost on the way.
    pub(crate) fn new(remote: &str, local: &str) -> Result<Self, BadMapping> {
        if remote == local {
            return Self::same(remote);
        }
        let wrong = |reason| BadMapping::new(remote, local, reason);
        if !subject::is_valid(remote.as_bytes()) {
            return Err(wrong("is not a subject"));
        }
        let names = numbered(local);
        let to_local = Transform::new(remote, &names)?;
        // The other way round: where in the local name each wildcard went.
        let mut pattern = Vec::new();
        let mut places = Vec::new();
        for token in names.split('.') {
            match function::parse(token).map_err(wrong)? {
                Part::Wildcard(number) => {
                    places.push(number);
                    pattern.push("*");
                }
                Part::Literal(_) => pattern.push(token),
                _ => return Err(wrong("may use no function but wildcard here")),
            }
        }
        let mut star = 0;
        let mut back = Vec::new();
        for token in remote.split('.') {
            if token != "*" {
                back.push(token.to_owned());
                continue;
            }
            star += 1;
            let mut found = (1..).zip(&places).filter(|(_, number)| **number == star);
            match (found.next(), found.next()) {
                (Some((place, _)), None) => back.push(format!("${place}")),
                _ => return Err(wrong("must use every wildcard once")),
            }
        }
        let local = pattern.join(".");
        let to_remote = Transform::new(&local, &back.join("."))?;
        Ok(Pairing {
            remote: remote.as_bytes().into(),
            local: local.into_bytes().into(),
            transforms: Some(Transforms {
                to_local,
                to_remote,
            }),
        })
    }

    /// The local name of a subject that `remote` covers; `None` when it is the same.
    pub(crate) fn to_local(&self, subject: &[u8]) -> Option<Vec<u8>> {
        let transforms = self.transforms.as_ref()?;
        Some(transforms.to_local.rename(subject, &mut |_| 0))
    }

    /// The remote name of a subject that `local` covers; `None` when it is the same.
    pub(crate) fn to_remote(&self, subject: &[u8]) -> Option<Vec<u8>> {
        let transforms = self.transforms.as_ref()?;
        Some(transforms.to_remote.rename(subject, &mut |_| 0))
    }
}

//! Subjects that become others on the way in: a [`Transform`] renames one subject, [`Mappings`] choose
//! among several by weight.
//!
//! What a client publishes is renamed once, before it is matched; its permissions are about the subject
//! it wrote.

mod function;
mod transform;

use crate::config::accounts::Mapping;
use crate::hash::Dice;
use crate::subject;
pub use transform::BadMapping;
pub(crate) use transform::{Pairing, Transform};

/// The mappings of one account.
#[derive(Debug)]
pub(crate) struct Mappings {
    entries: Vec<Entry>,
}

/// What one pattern is mapped to.
#[derive(Debug)]
struct Entry {
    source: Box<[u8]>,
    /// With the sum of the weights up to each, in percent.
    choices: Vec<(u8, Transform)>,
}

/// What became of a subject.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// It stays.
    Same,
    /// It is another one now.
    To(Vec<u8>),
    /// This share of the messages goes nowhere, as was wished.
    Lost,
}

// === impl Mappings ===

impl Mappings {
    /// Compiles what was configured; `cluster` is the name of the one this server is in.
    ///
    /// # Errors
    /// A pattern or a destination makes no sense, or weights exceed 100 percent.
    pub(crate) fn compile(from: &[Mapping], cluster: Option<&str>) -> Result<Self, BadMapping> {
        let entries = from
            .iter()
            .map(|mapping| Entry::compile(mapping, cluster))
            .collect::<Result<_, _>>()?;
        Ok(Mappings { entries })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where a message on `subject` goes. The first pattern that matches counts.
    pub(crate) fn map(&self, subject: &[u8], dice: &mut Dice) -> Mapped {
        let found = self
            .entries
            .iter()
            .find(|entry| subject::matches(&entry.source, subject));
        let Some(entry) = found else {
            return Mapped::Same;
        };
        let thrown = match &entry.choices[..] {
            [(100, _)] => 0,
            _ => dice.below(100),
        };
        match entry
            .choices
            .iter()
            .find(|(upto, _)| thrown < usize::from(*upto))
        {
            Some((_, transform)) => Mapped::To(transform.apply(subject, dice)),
            None => Mapped::Lost,
        }
    }
}

impl Entry {
    fn compile(mapping: &Mapping, cluster: Option<&str>) -> Result<Self, BadMapping> {
        let source = mapping.subject.as_str();
        let wrong = |reason| BadMapping::new(source, "", reason);
        if !subject::is_valid(source.as_bytes()) {
            return Err(wrong("is not a subject"));
        }
        // Every destination must make sense, also those of other clusters.
        let mut here = Vec::new();
        let mut anywhere = Vec::new();
        for (index, destination) in mapping.destinations.iter().enumerate() {
            let earlier = &mapping.destinations[..index];
            if earlier.iter().any(|known| {
                known.subject == destination.subject && known.cluster == destination.cluster
            }) {
                return Err(wrong("has the same destination twice"));
            }
            let transform = Transform::new(source, &destination.subject)?;
            match (&destination.cluster, cluster) {
                (None, _) => anywhere.push((destination.weight, transform)),
                (Some(named), Some(own)) if named == own => {
                    here.push((destination.weight, transform));
                }
                _ => {}
            }
        }
        let mut choices = if here.is_empty() { anywhere } else { here };
        let mut sum = 0u8;
        for (weight, _) in &mut choices {
            sum = sum
                .checked_add(*weight)
                .filter(|sum| *sum <= 100)
                .ok_or_else(|| wrong("has weights of more than 100 percent"))?;
            *weight = sum;
        }
        // Who names the subject itself among the destinations wants the rest to be lost.
        let mut named = mapping.destinations.iter().map(|to| &to.subject);
        if sum < 100 && !named.any(|to| to == source) {
            choices.push((100, Transform::identity(source)?));
        }
        Ok(Entry {
            source: source.as_bytes().into(),
            choices,
        })
    }
}

#[cfg(test)]
mod tests;

//! `/subsz`: the subscriptions, in numbers or one by one.

use serde::{Deserialize, Serialize};

use super::human;
use super::page::Page;
use super::query::{BadRequest, Query, shorten};
use super::sample::Subscribed;
use crate::subject;

/// What is asked. As JSON it is the payload of a `$SYS.REQ.….SUBSZ` request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    offset: i64,
    limit: i64,
    pub(crate) subscriptions: bool,
    /// This account only.
    #[serde(rename = "account")]
    pub(crate) acc: String,
    /// Those only that a message on this subject would reach.
    pub(crate) test: String,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Subsz {
    pub(crate) server_id: String,
    pub(crate) now: String,
    #[serde(flatten)]
    pub(crate) stats: SublistStats,
    pub(crate) total: usize,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscriptions_list: Vec<Subscribed>,
}

/// One list of subscriptions, or all together, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct SublistStats {
    pub(crate) num_subscriptions: usize,
    pub(crate) num_cache: usize,
    pub(crate) num_inserts: u64,
    pub(crate) num_removes: u64,
    pub(crate) num_matches: u64,
    #[serde(serialize_with = "human::number")]
    pub(crate) cache_hit_rate: f64,
    pub(crate) max_fanout: usize,
    #[serde(serialize_with = "human::number")]
    pub(crate) avg_fanout: f64,
}

/// Gathers what [`SublistStats`] is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) subscriptions: usize,
    pub(crate) inserts: u64,
    pub(crate) removes: u64,
    /// Look-ups, and those the caches could not answer.
    pub(crate) matches: u64,
    pub(crate) misses: u64,
    /// Cached results; receivers in all of them, and in the biggest.
    pub(crate) cached: usize,
    pub(crate) fanout: usize,
    pub(crate) max_fanout: usize,
}

// === impl Options ===

impl Options {
    /// From the parameters of a URL.
    ///
    /// # Errors
    /// One of them cannot be what it should.
    pub(crate) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let options = Options {
            offset: query.number("offset")?,
            limit: query.number("limit")?,
            subscriptions: query.flag("subs")?,
            acc: query.text("acc").to_owned(),
            test: query.text("test").to_owned(),
        };
        options.check()?;
        Ok(options)
    }

    /// Whether it can be answered.
    ///
    /// # Errors
    /// Nobody can publish to the test subject.
    pub(crate) fn check(&self) -> Result<(), BadRequest> {
        if self.test.is_empty() || subject::is_literal(self.test.as_bytes()) {
            return Ok(());
        }
        Err(BadRequest::TestSubject(shorten(&self.test)))
    }

    pub(crate) fn page(&self) -> Page {
        Page::new(self.offset, self.limit)
    }

    /// Whether this subscription is to be listed.
    pub(crate) fn wants(&self, subscribed: &[u8]) -> bool {
        self.test.is_empty() || subject::matches(subscribed, self.test.as_bytes())
    }
}

// === impl Tally ===

impl Tally {
    /// Takes another list's numbers in.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.subscriptions += other.subscriptions;
        self.inserts += other.inserts;
        self.removes += other.removes;
        self.matches += other.matches;
        self.misses += other.misses;
        self.cached += other.cached;
        self.fanout += other.fanout;
        self.max_fanout = self.max_fanout.max(other.max_fanout);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "rates and averages need no more than 53 bits"
    )]
    pub(crate) fn stats(&self) -> SublistStats {
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let hits = self.matches.saturating_sub(self.misses);
        SublistStats {
            num_subscriptions: self.subscriptions,
            num_cache: self.cached,
            num_inserts: self.inserts,
            num_removes: self.removes,
            num_matches: self.matches,
            cache_hit_rate: ratio(hits as f64, self.matches as f64),
            max_fanout: self.max_fanout,
            avg_fanout: ratio(self.fanout as f64, self.cached as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_test_subject_must_be_one_to_publish_to() {
        let parse = |query: &str| Options::parse(&Query::parse(query));
        let options = parse("test=a.b&subs=1").unwrap();
        assert!(options.wants(b"a.*") && options.wants(b"a.b") && !options.wants(b"a"));
        for bad in ["foo..bar", "foo.*", ">"] {
            assert_eq!(
                parse(&format!("test={bad}")).unwrap_err().to_string(),
                format!("invalid test subject, must be valid publish subject: {bad}")
            );
        }
        assert!(parse("subs=detail").is_err());
    }

    #[test]
    fn rates_come_from_sums_not_from_averages() {
        let mut all = Tally::default();
        assert_eq!(all.stats(), SublistStats::default());
        for (matches, misses, cached, fanout, max_fanout) in [(10, 1, 2, 4, 3), (30, 9, 2, 2, 1)] {
            all.add(&Tally {
                subscriptions: 1,
                inserts: 2,
                removes: 1,
                matches,
                misses,
                cached,
                fanout,
                max_fanout,
            });
        }
        let stats = all.stats();
        assert_eq!(
            (stats.num_subscriptions, stats.num_matches, stats.max_fanout),
            (2, 40, 3)
        );
        assert!((stats.cache_hit_rate - 0.75).abs() < 1e-9);
        assert!((stats.avg_fanout - 1.5).abs() < 1e-9);
    }
}

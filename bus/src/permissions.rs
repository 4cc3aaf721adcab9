//! What a user may publish and subscribe to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use crate::config;
use crate::subject;
use crate::tap;

/// Received reply subjects that one client may hold open answers for, and their bytes.
const MAX_OPEN_REPLIES: usize = 65_536;
const MAX_OPEN_BYTES: usize = 8 << 20;
/// How many of them are kept before the expired ones are looked for.
const SWEEP_REPLIES_AT: usize = 256;

/// The rules of one user, ready to be asked. Shared by its connections.
#[derive(Debug, Default)]
pub(crate) struct Permissions {
    publish: Option<Rules>,
    subscribe: Option<Rules>,
    /// Whether received reply subjects may be answered, and how often and long.
    pub responses: Option<config::AllowResponses>,
}

/// Allowed and denied patterns. A deny wins.
#[derive(Debug, Default)]
struct Rules {
    /// `None` allows all that is not denied.
    allow: Option<Vec<Rule>>,
    deny: Vec<Rule>,
}

/// A pattern, for one queue group (with wildcards) or for all.
#[derive(Debug)]
struct Rule {
    subject: Box<[u8]>,
    queue: Option<Box<[u8]>>,
}

/// A permission that names no valid subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a subject, or a subject and a queue")]
pub struct BadRule(pub String);

/// The reply subjects a client has received and may still answer on.
#[derive(Debug)]
pub(crate) struct OpenReplies {
    allowed: config::AllowResponses,
    open: HashMap<Box<[u8]>, OpenReply>,
    /// Bytes of the subjects.
    bytes: usize,
    sweep_at: usize,
}

#[derive(Debug)]
struct OpenReply {
    until: Instant,
    used: u32,
}

// === impl Permissions ===

impl Permissions {
    /// Compiles what was configured.
    ///
    /// # Errors
    /// A rule is not a subject.
    pub(crate) fn compile(from: &config::Permissions) -> Result<Self, BadRule> {
        let mut publish = from.publish.as_ref().map(Rules::for_publish).transpose()?;
        if from.allow_responses.is_some() {
            // Who may answer may do nothing else unless it says so.
            let rules = publish.get_or_insert_default();
            rules.allow.get_or_insert_default();
        }
        Ok(Permissions {
            publish,
            subscribe: from
                .subscribe
                .as_ref()
                .map(Rules::for_subscribe)
                .transpose()?,
            responses: from.allow_responses,
        })
    }

    /// Whether there is anything that may not be published.
    pub(crate) fn restricts_publish(&self) -> bool {
        self.publish.is_some()
    }

    /// How many rules are looked at for that.
    pub(crate) fn publish_rules(&self) -> usize {
        self.publish.as_ref().map_or(0, Rules::len)
    }

    /// How many rules are looked at for each delivery that needs the filter.
    pub(crate) fn delivery_rules(&self) -> usize {
        self.subscribe.as_ref().map_or(0, Rules::len)
    }

    /// Whether a message may be sent to `subject`, open replies aside.
    pub(crate) fn may_publish(&self, subject: &[u8]) -> bool {
        self.publish.as_ref().is_none_or(|rules| {
            let hit = |rule: &Rule| subject::matches(&rule.subject, subject);
            rules
                .allow
                .as_ref()
                .is_none_or(|allow| allow.iter().any(hit))
                && !rules.deny.iter().any(hit)
        })
    }

    /// Whether one may subscribe.
    ///
    /// All of `subject` must be allowed. A deny that covers all of it (or would if its wildcards were names)
    /// forbids it; one that covers a part is applied to each delivery (see [`Permissions::needs_filter`]).
    ///
    /// Rules with queues say which of them may be joined: if any allows the subject, only the named ones.
    pub(crate) fn may_subscribe(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.as_ref().is_none_or(|rules| {
            let allowed = rules.allow.as_ref().is_none_or(|allow| {
                // What is no subject is not even part of `>`.
                let valid = subject::is_valid(subject);
                let speaks = |rule: &&Rule| valid && subject::covers(&rule.subject, subject);
                let mut queues = allow
                    .iter()
                    .filter(speaks)
                    .filter(|rule| rule.queue.is_some());
                match (queue, queues.next()) {
                    (Some(_), Some(first)) => {
                        first.names(queue) || queues.any(|rule| rule.names(queue))
                    }
                    _ => allow.iter().filter(speaks).any(|rule| rule.queue.is_none()),
                }
            });
            let denies =
                |rule: &Rule| rule.is_for(queue) && subject::matches(&rule.subject, subject);
            allowed && !rules.deny.iter().any(denies)
        })
    }

    /// Whether one may listen in on others by subscribing to this: only when a rule says so that begins
    /// like it, as a right to everything is given too easily.
    pub(crate) fn may_tap(&self, subject: &[u8]) -> bool {
        let named = |rule: &Rule| {
            rule.queue.is_none()
                && rule.subject.starts_with(tap::PREFIX)
                && subject::covers(&rule.subject, subject)
        };
        let allow = self.subscribe.as_ref().and_then(|it| it.allow.as_ref());
        allow.is_some_and(|allow| allow.iter().any(named)) && self.may_subscribe(subject, None)
    }

    /// Whether anything is denied that a wider subscription would get.
    pub(crate) fn denies_subscriptions(&self) -> bool {
        self.subscribe
            .as_ref()
            .is_some_and(|rules| !rules.deny.is_empty())
    }

    /// Whether an allowed subscription is wider than something denied.
    pub(crate) fn needs_filter(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.as_ref().is_some_and(|rules| {
            subject::has_wildcard(subject)
                && rules
                    .deny
                    .iter()
                    .any(|rule| rule.is_for(queue) && subject::overlaps(&rule.subject, subject))
        })
    }

    /// Whether a message on `subject` is kept from a subscription that needs the filter.
    pub(crate) fn denies_delivery(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.as_ref().is_some_and(|rules| {
            let hit = |rule: &Rule| rule.is_for(queue) && subject::matches(&rule.subject, subject);
            rules.deny.iter().any(hit)
        })
    }
}

impl Rules {
    fn len(&self) -> usize {
        self.allow.as_ref().map_or(0, Vec::len) + self.deny.len()
    }

    fn for_publish(from: &config::SubjectRules) -> Result<Self, BadRule> {
        Self::compile(from, |text| {
            Rule::parse(text).filter(|rule| rule.queue.is_none())
        })
    }

    fn for_subscribe(from: &config::SubjectRules) -> Result<Self, BadRule> {
        Self::compile(from, Rule::parse)
    }

    fn compile(
        from: &config::SubjectRules,
        parse: impl Fn(&str) -> Option<Rule>,
    ) -> Result<Self, BadRule> {
        let list = |texts: &[String]| {
            texts
                .iter()
                .map(|text| parse(text).ok_or_else(|| BadRule(text.clone())))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Rules {
            allow: from.allow.as_deref().map(list).transpose()?,
            deny: list(&from.deny)?,
        })
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (subject, queue, more) = (words.next()?, words.next(), words.next());
        let valid = |word: &str| subject::is_valid(word.as_bytes());
        let sound = more.is_none() && valid(subject) && queue.is_none_or(valid);
        sound.then(|| Rule {
            subject: subject.as_bytes().into(),
            queue: queue.map(|queue| queue.as_bytes().into()),
        })
    }

    /// A rule with a queue speaks of that queue only; one without, of all subscriptions.
    fn is_for(&self, queue: Option<&[u8]>) -> bool {
        self.queue.is_none() || self.names(queue)
    }

    /// Whether it has a queue, and it is this one.
    fn names(&self, queue: Option<&[u8]>) -> bool {
        self.queue
            .as_deref()
            .zip(queue)
            .is_some_and(|(pattern, queue)| pattern == queue || subject::covers(pattern, queue))
    }
}

// === impl OpenReplies ===

impl OpenReplies {
    /// None open yet.
    pub(crate) fn new(allowed: config::AllowResponses) -> Self {
        OpenReplies {
            allowed,
            open: HashMap::new(),
            bytes: 0,
            sweep_at: SWEEP_REPLIES_AT,
        }
    }

    /// Notes that a message with this reply subject was delivered to the client.
    pub(crate) fn received(&mut self, reply: &[u8], now: Instant) {
        if self.open.len() >= self.sweep_at || self.bytes >= MAX_OPEN_BYTES {
            self.keep(|open| open.until > now);
            while self.open.len() >= MAX_OPEN_REPLIES || self.bytes >= MAX_OPEN_BYTES {
                // Someone asks faster than this client may ever answer: the older half is given up.
                let mut times: Vec<_> = self.open.values().map(|open| open.until).collect();
                let middle = times.len() / 2;
                let (_, middle, _) = times.select_nth_unstable(middle);
                let middle = *middle;
                self.keep(|open| open.until > middle);
            }
            self.sweep_at = (self.open.len() * 2).clamp(SWEEP_REPLIES_AT, MAX_OPEN_REPLIES);
        }
        let until = now
            + self
                .allowed
                .expires
                .min(Duration::from_secs(365 * 24 * 3600));
        let before = self.open.insert(reply.into(), OpenReply { until, used: 0 });
        if before.is_none() {
            self.bytes += reply.len();
        }
    }

    fn keep(&mut self, stays: impl Fn(&OpenReply) -> bool) {
        let bytes = &mut self.bytes;
        self.open.retain(|subject, open| {
            let stays = stays(open);
            if !stays {
                *bytes -= subject.len();
            }
            stays
        });
    }

    /// Whether the client may publish to this subject as an answer; uses up one of its answers.
    pub(crate) fn answer(&mut self, subject: &[u8], now: Instant) -> bool {
        let Entry::Occupied(mut entry) = self.open.entry(subject.into()) else {
            return false;
        };
        let open = entry.get_mut();
        open.used += 1;
        let alive = open.until > now;
        let last = self.allowed.max > 0 && open.used >= self.allowed.max;
        if last || !alive {
            self.bytes -= entry.key().len();
            entry.remove();
        }
        alive
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn permissions(json: serde_json::Value) -> Permissions {
        Permissions::compile(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn a_deny_wins_over_an_allow() {
        let rules = permissions(serde_json::json!({
            "publish": { "allow": ["x.>", "foo"], "deny": ["x.no"] },
            "subscribe": { "allow": ["y.*", "q.> grp.*", "_INBOX.>"], "deny": ["y.hid"] },
        }));
        assert!(rules.may_publish(b"x.1") && rules.may_publish(b"foo"));
        assert!(!rules.may_publish(b"x.no") && !rules.may_publish(b"bar"));
        assert!(rules.may_subscribe(b"y.1", None) && rules.may_subscribe(b"y.1", Some(b"any")));
        assert!(!rules.may_subscribe(b"y.hid", None));
        assert!(!rules.may_subscribe(b">", None) && !rules.may_subscribe(b"y.>", None));
        assert!(!rules.may_subscribe(b"q.1", None));
        assert!(rules.may_subscribe(b"q.1", Some(b"grp.a")));
        assert!(!rules.may_subscribe(b"q.1", Some(b"other")));
        assert!(rules.may_subscribe(b"y.*", None) && rules.needs_filter(b"y.*", None));
        assert!(rules.denies_delivery(b"y.hid", None) && !rules.denies_delivery(b"y.1", None));
    }

    #[test]
    fn where_queues_are_named_no_others_may_be_joined() {
        let rules = permissions(serde_json::json!({
            "subscribe": { "allow": ["foo", "foo v1", "foo v2.*", "bar"], "deny": ["bar x.>"] },
        }));
        let may = |subject: &[u8], queue: &[u8]| rules.may_subscribe(subject, Some(queue));
        assert!(rules.may_subscribe(b"foo", None) && rules.may_subscribe(b"bar", None));
        assert!(may(b"foo", b"v1") && may(b"foo", b"v2.a") && may(b"foo", b"v2.*"));
        assert!(!may(b"foo", b"v3") && !may(b"foo", b"v2.>"));
        assert!(may(b"bar", b"y") && !may(b"bar", b"x.y.z"));
        let none = permissions(serde_json::json!({ "subscribe": { "allow": ["foo v1"] } }));
        assert!(!none.may_subscribe(b"foo", None) && none.may_subscribe(b"foo", Some(b"v1")));
    }

    #[test]
    fn wildcards_of_a_subscription_are_denied_as_if_they_were_names() {
        let rules = permissions(serde_json::json!({ "subscribe": { "deny": ["a.b.*", "c"] } }));
        assert!(!rules.may_subscribe(b"a.b.>", None) && !rules.may_subscribe(b"a.b.*", None));
        assert!(rules.may_subscribe(b"a.>", None) && rules.may_subscribe(b"a.*.c", None));
        assert!(rules.may_subscribe(b"a.b.*.d", None) && rules.may_subscribe(b"*", None));
    }

    #[test]
    fn absent_allows_all_and_empty_allows_nothing() {
        assert!(permissions(serde_json::json!({})).may_publish(b"a"));
        let none = permissions(serde_json::json!({ "publish": { "allow": [] } }));
        assert!(!none.may_publish(b"a"));
        let answers = permissions(serde_json::json!({ "allow_responses": true }));
        assert!(!answers.may_publish(b"a") && answers.may_subscribe(b"a", None));
    }

    #[test]
    fn rules_must_be_subjects() {
        for bad in ["a..b", "", "a b c", ">.a"] {
            let from = config::Permissions {
                subscribe: Some(config::SubjectRules {
                    allow: None,
                    deny: vec![bad.into()],
                }),
                ..Default::default()
            };
            assert_eq!(
                Permissions::compile(&from).unwrap_err(),
                BadRule(bad.into())
            );
        }
    }

    #[test]
    fn answers_are_counted_and_expire() {
        let now = Instant::now();
        let two = config::AllowResponses {
            max: 2,
            expires: Duration::from_secs(5),
        };
        let mut replies = OpenReplies::new(two);
        replies.received(b"r", now);
        assert!(replies.answer(b"r", now) && replies.answer(b"r", now));
        assert!(!replies.answer(b"r", now) && !replies.answer(b"other", now));
        replies.received(b"r", now);
        assert!(!replies.answer(b"r", now + Duration::from_secs(6)));
    }

    #[test]
    fn open_replies_are_bounded() {
        let now = Instant::now();
        let mut replies = OpenReplies::new(config::AllowResponses::default());
        for n in 0..MAX_OPEN_REPLIES * 2 {
            replies.received(n.to_string().as_bytes(), now);
            assert!(replies.open.len() <= MAX_OPEN_REPLIES);
        }
        for n in 0..3000 {
            replies.received(format!("{n:04000}").as_bytes(), now);
            assert!(replies.bytes <= MAX_OPEN_BYTES + 4000);
        }
        let mut left: Vec<_> = replies.open.keys().cloned().collect();
        left.drain(..)
            .for_each(|reply| assert!(replies.answer(&reply, now)));
        assert_eq!((replies.open.len(), replies.bytes), (0, 0));
    }
}

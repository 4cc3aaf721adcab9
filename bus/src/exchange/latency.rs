//! How long a service took: which requests are measured, and the sample that says it.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::config::accounts::{Latency, Sampling};
use crate::hash::Dice;
use crate::header;

const KIND: &str = "io.nats.server.metric.v1.service_latency";

/// What an exporter wants to know about its service.
#[derive(Clone, Debug)]
pub(crate) struct LatencySampling {
    pub(crate) sampling: Sampling,
    /// Where in the exporter's account the samples go.
    pub(crate) subject: Box<[u8]>,
}

/// A request that is being measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) subject: Box<[u8]>,
    /// Who asks, as far as the exporter may know.
    pub(crate) requestor: Value,
    /// How far away it is.
    pub(crate) rtt: Duration,
    started: Instant,
    started_at: SystemTime,
    /// The headers that asked for it.
    headers: Map<String, Value>,
}

/// How a measured request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    /// It had no reply subject.
    BadRequest,
    /// Nobody was there to take it.
    Unavailable,
    /// No answer came in time.
    Timeout,
}

// === impl LatencySampling ===

impl LatencySampling {
    pub(crate) fn new(from: &Latency) -> Self {
        LatencySampling {
            sampling: from.sampling,
            subject: from.subject.as_bytes().into(),
        }
    }

    /// Whether this request is to be measured; with the headers that ask for it.
    pub(crate) fn wants(
        &self,
        headers: Option<&[u8]>,
        dice: &mut Dice,
    ) -> Option<Map<String, Value>> {
        if let Sampling::Percent(percent) = self.sampling
            && dice.below(100) < usize::from(percent)
        {
            return Some(Map::new());
        }
        asked_for(headers?)
    }
}

/// Headers of tracing systems that say this message is sampled.
fn asked_for(block: &[u8]) -> Option<Map<String, Value>> {
    let get = |name: &str| header::value(block, name);
    let all = |names: &[&str]| {
        let known = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), json!([get(name)?]))));
        Some(known.collect())
    };
    if let Some(uber) = get("Uber-Trace-Id") {
        let flags = uber.split(':').nth(3)?;
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        return sampled.then(|| all(&["Uber-Trace-Id"])).flatten();
    }
    const B3: [&str; 4] = [
        "X-B3-Sampled",
        "X-B3-TraceId",
        "X-B3-ParentSpanId",
        "X-B3-SpanId",
    ];
    match get("X-B3-Sampled") {
        Some("1") => return all(&B3),
        Some("0") => return None,
        _ => {}
    }
    if get("X-B3-TraceId").is_some() {
        return all(&B3);
    }
    if let Some(b3) = get("b3") {
        let mut parts = b3.split('-');
        let denied = match parts.clone().count() {
            1 => parts.next() == Some("0"),
            2 => false,
            _ => parts.nth(2) == Some("0"),
        };
        return (!denied).then(|| all(&["b3"])).flatten();
    }
    let context = get("traceparent")?;
    let flags = context.split('-').nth(3).filter(|flags| flags.len() == 2)?;
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    sampled
        .then(|| all(&["traceparent", "tracestate"]))
        .flatten()
}

// === impl Measured ===

impl Measured {
    pub(crate) fn new(
        sampling: &LatencySampling,
        requestor: Option<(Value, Duration)>,
        headers: Map<String, Value>,
    ) -> Self {
        let (requestor, rtt) = requestor.unwrap_or_default();
        Measured {
            subject: sampling.subject.clone(),
            requestor,
            rtt,
            started: Instant::now(),
            started_at: SystemTime::now(),
            headers,
        }
    }

    /// The sample, as JSON. `responder` is who answered, and how far away it is.
    pub(crate) fn sample(&self, outcome: Outcome, responder: Option<(Value, Duration)>) -> Vec<u8> {
        let took = self.started.elapsed();
        let (status, description) = match outcome {
            Outcome::Answered => (200, None),
            Outcome::BadRequest => (400, Some("Bad Request")),
            Outcome::Unavailable => (503, Some("Service Unavailable")),
            Outcome::Timeout => (504, Some("Service Timeout")),
        };
        let started = self
            .started_at
            .checked_sub(self.rtt)
            .unwrap_or(self.started_at);
        let mut sample = json!({
            "type": KIND,
            "id": format!("{:032X}", rand::random::<u128>()),
            "timestamp": time(SystemTime::now()),
            "status": status,
            "requestor": self.requestor,
            "start": time(started),
            "service": 0,
            "system": 0,
            "total": 0,
        });
        if let Some(description) = description {
            sample["description"] = description.into();
        }
        if let Some((responder, rtt)) = responder {
            sample["responder"] = responder;
            sample["service"] = nanos(took.saturating_sub(rtt));
            sample["total"] = nanos(took + self.rtt);
        }
        if !self.headers.is_empty() {
            sample["header"] = Value::Object(self.headers.clone());
        }
        sample.to_string().into_bytes()
    }
}

fn nanos(duration: Duration) -> Value {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .into()
}

fn time(time: SystemTime) -> Value {
    DateTime::<Utc>::from(time)
        .to_rfc3339_opts(SecondsFormat::Nanos, true)
        .into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn sampling(sampling: Sampling) -> LatencySampling {
        LatencySampling::new(&Latency {
            sampling,
            subject: "lat".to_owned(),
        })
    }

    #[test]
    fn requests_are_measured_by_share_or_by_header() {
        let mut dice = Dice::random();
        assert!(
            sampling(Sampling::Percent(100))
                .wants(None, &mut dice)
                .is_some()
        );
        let half = sampling(Sampling::Percent(50));
        let count = (0..2000)
            .filter(|_| half.wants(None, &mut dice).is_some())
            .count();
        assert!((800..1200).contains(&count), "{count}");
        for (line, wanted) in [
            ("X: y", false),
            ("X-B3-Sampled: 1", true),
            ("x-b3-sampled: 0", false),
            ("X-B3-TraceId: abc", true),
            ("b3: 0", false),
            ("b3: a-b-0-c", false),
            ("b3: a-b-1-c", true),
            ("Uber-Trace-Id: 4:5:4:1", true),
            ("Uber-Trace-Id: 4:5:4:2", false),
            ("traceparent: 00-4b-00-01", true),
            ("traceparent: 00-4b-00-00", false),
            ("traceparent: nonsense", false),
        ] {
            let block = format!("NATS/1.0\r\n{line}\r\n\r\n");
            let found = sampling(Sampling::Headers).wants(Some(block.as_bytes()), &mut dice);
            assert_eq!(found.is_some(), wanted, "{line}");
        }
    }

    #[test]
    fn a_sample_has_the_form_tools_know() {
        let measured = Measured::new(
            &sampling(Sampling::Headers),
            Some((json!({ "acc": "B" }), Duration::from_micros(5))),
            asked_for(b"NATS/1.0\r\nb3: 1\r\n\r\n").unwrap(),
        );
        let responder = Some((json!({ "acc": "A" }), Duration::ZERO));
        let sample: Value =
            serde_json::from_slice(&measured.sample(Outcome::Answered, responder)).unwrap();
        assert_eq!(
            (&sample["type"], &sample["status"]),
            (&json!(KIND), &json!(200))
        );
        assert_eq!(sample["header"]["b3"][0], "1");
        assert!(sample["total"].as_u64() > sample["service"].as_u64());
        let late: Value = serde_json::from_slice(&measured.sample(Outcome::Timeout, None)).unwrap();
        assert_eq!(
            (&late["status"], &late["description"]),
            (&json!(504), &json!("Service Timeout"))
        );
    }
}

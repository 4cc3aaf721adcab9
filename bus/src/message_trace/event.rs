//! The steps of a trace in JSON, field by field as nats-server names them.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A step, and when it was.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    #[serde(rename = "ts", serialize_with = "time")]
    pub(super) at: SystemTime,
    #[serde(flatten)]
    pub(super) step: Step,
}

/// What can happen to a message.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Step {
    /// It came in.
    #[serde(rename = "in")]
    In {
        kind: u8,
        cid: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(rename = "acc")]
        account: String,
        #[serde(rename = "subj")]
        subject: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Its subject was mapped.
    #[serde(rename = "sm")]
    Mapping { to: String },
    /// It left the account as a stream.
    #[serde(rename = "se")]
    StreamExport {
        #[serde(rename = "acc")]
        account: String,
        to: String,
    },
    /// It left the account as a request.
    #[serde(rename = "si")]
    ServiceImport {
        #[serde(rename = "acc")]
        account: String,
        from: String,
        to: String,
    },
    /// It went out, or should have.
    #[serde(rename = "eg")]
    Out {
        kind: u8,
        cid: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(rename = "sub", skip_serializing_if = "String::is_empty")]
        subscription: String,
        /// Where that is, if not where the message came in.
        #[serde(rename = "acc", skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hop: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
    },
}

/// RFC 3339 with nanoseconds, in UTC.
pub(crate) fn timestamp(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn time<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&timestamp(*at))
}

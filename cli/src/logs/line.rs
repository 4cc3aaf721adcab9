//! One line of log.

use prost::Message as _;

use super::envelope::{Envelope, EventType, MessageType};
use crate::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Out,
    Err,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) text: String,
    pub(crate) output: Output,
    /// Nanoseconds since the epoch.
    pub(crate) timestamp: i64,
    /// `APP/PROC/WEB`, `STG`, `RTR`, `API`, `CELL`.
    pub(crate) source: String,
    pub(crate) instance: String,
}

// === impl LogLine ===

impl LogLine {
    /// The line in an envelope; other kinds of envelope and broken ones have none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let envelope = Envelope::decode(bytes).ok()?;
        if envelope.event_type != EventType::LogMessage as i32 {
            return None;
        }
        let log = envelope.log_message?;
        let error = log.message_type == MessageType::Err as i32;
        Some(Self {
            text: String::from_utf8_lossy(&log.message)
                .trim_end_matches(['\n', '\r'])
                .to_owned(),
            output: if error { Output::Err } else { Output::Out },
            timestamp: log.timestamp,
            source: log.source_type.unwrap_or_default(),
            instance: log.source_instance.unwrap_or_default(),
        })
    }

    pub(crate) fn is_staging(&self) -> bool {
        self.source == "STG"
    }

    /// Written by the app itself or by whoever runs it: what explains why it does not start.
    pub(crate) fn is_about_the_app(&self) -> bool {
        let room = self.source.split('/').next().unwrap_or_default();
        matches!(room, "APP" | "CELL" | "DEA")
    }
}

/// `   2026-11-20T16:20:11.00+0000 [APP/PROC/WEB/0] OUT text`.
impl std::fmt::Display for LogLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = clock::stamp(clock::from_nanoseconds(self.timestamp));
        let output = match self.output {
            Output::Out => "OUT",
            Output::Err => "ERR",
        };
        write!(
            f,
            "   {time} [{}/{}] {output} {}",
            self.source, self.instance, self.text
        )
    }
}

#[cfg(test)]
pub(super) fn encoded(source: &str, text: &str, timestamp: i64) -> Vec<u8> {
    Envelope {
        origin: "test".into(),
        event_type: EventType::LogMessage as i32,
        timestamp: Some(timestamp),
        log_message: Some(super::envelope::LogMessage {
            message: text.as_bytes().to_vec(),
            message_type: MessageType::Out as i32,
            timestamp,
            app_id: None,
            source_type: Some(source.into()),
            source_instance: Some("0".into()),
        }),
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_line_is_printed_with_time_source_and_output() {
        let line = LogLine::read(&encoded("APP/PROC/WEB", "hello\n", 1_500_000_000)).unwrap();
        let printed = line.to_string();
        assert!(printed.contains(":01.50"), "{printed}");
        assert!(printed.ends_with("[APP/PROC/WEB/0] OUT hello"), "{printed}");
        assert!(line.is_about_the_app() && !line.is_staging());
    }

    #[test]
    fn broken_and_other_envelopes_are_skipped() {
        assert_eq!(LogLine::read(b"\xff\xff"), None);
        let metric = Envelope {
            origin: "x".into(),
            event_type: EventType::ContainerMetric as i32,
            timestamp: None,
            log_message: None,
        };
        assert_eq!(LogLine::read(&metric.encode_to_vec()), None);
    }
}

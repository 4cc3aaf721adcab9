//! Lines in the forms that clients read: doppler's envelope, the older LogMessage, and log-cache's
//! JSON (CC v2 reference §7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cupola_messages::logs::{LogLine, LogStream};
use cupola_types::AppGuid;
use prost::Message as _;
use serde_json::{Value, json};

/// `events.Envelope` of the doppler generation, as far as log lines need it.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(string, required, tag = "1")]
    origin: String,
    #[prost(int32, required, tag = "2")]
    event_type: i32,
    #[prost(int64, optional, tag = "6")]
    timestamp: Option<i64>,
    #[prost(message, optional, tag = "8")]
    log_message: Option<LogMessage>,
}

/// `events.LogMessage`.
#[derive(Clone, PartialEq, prost::Message)]
struct LogMessage {
    #[prost(bytes = "vec", required, tag = "1")]
    message: Vec<u8>,
    #[prost(int32, required, tag = "2")]
    message_type: i32,
    #[prost(int64, required, tag = "3")]
    timestamp: i64,
    #[prost(string, optional, tag = "4")]
    app_id: Option<String>,
    #[prost(string, optional, tag = "5")]
    source_type: Option<String>,
    #[prost(string, optional, tag = "6")]
    source_instance: Option<String>,
}

/// `logmessage.LogMessage` of the loggregator before doppler.
#[derive(Clone, PartialEq, prost::Message)]
struct OldLogMessage {
    #[prost(bytes = "vec", required, tag = "1")]
    message: Vec<u8>,
    #[prost(int32, required, tag = "2")]
    message_type: i32,
    #[prost(sint64, required, tag = "3")]
    timestamp: i64,
    #[prost(string, required, tag = "4")]
    app_id: String,
    #[prost(string, optional, tag = "6")]
    source_id: Option<String>,
    #[prost(string, optional, tag = "8")]
    source_name: Option<String>,
}

/// `EventType.LogMessage`.
const EVENT_LOG_MESSAGE: i32 = 5;

/// Which generation of clients reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// cf 6.20 to 6.48.
    Doppler,
    /// cf up to 6.19.
    Loggregator,
}

impl Generation {
    /// A line as one message of this generation.
    pub(crate) fn encode(self, app: &AppGuid, line: &LogLine) -> Vec<u8> {
        let message = line.message.clone().into_bytes();
        let message_type = match line.stream {
            LogStream::Out => 1,
            LogStream::Err => 2,
        };
        match self {
            Self::Doppler => Envelope {
                origin: origin(line).to_owned(),
                event_type: EVENT_LOG_MESSAGE,
                timestamp: Some(line.timestamp_ns),
                log_message: Some(LogMessage {
                    message,
                    message_type,
                    timestamp: line.timestamp_ns,
                    app_id: Some(app.to_string()),
                    source_type: Some(line.source_type.as_str().to_owned()),
                    source_instance: Some(line.source_instance.clone()),
                }),
            }
            .encode_to_vec(),
            Self::Loggregator => OldLogMessage {
                message,
                message_type,
                timestamp: line.timestamp_ns,
                app_id: app.to_string(),
                source_id: Some(line.source_instance.clone()),
                source_name: Some(line.source_type.as_str().to_owned()),
            }
            .encode_to_vec(),
        }
    }
}

/// A line as log-cache writes it.
pub(crate) fn log_cache(app: &AppGuid, line: &LogLine) -> Value {
    json!({
        "timestamp": line.timestamp_ns.to_string(),
        "source_id": app,
        "instance_id": line.source_instance,
        "deprecated_tags": {},
        "tags": { "source_type": line.source_type.as_str() },
        "log": {
            "payload": BASE64.encode(&line.message),
            "type": match line.stream {
                LogStream::Out => "OUT",
                LogStream::Err => "ERR",
            },
        },
    })
}

fn origin(line: &LogLine) -> &'static str {
    use cupola_messages::logs::LogSource;
    match line.source_type {
        LogSource::App | LogSource::Dea => "dea",
        LogSource::Staging => "stager",
        LogSource::Router => "router",
        LogSource::Api => "cloud_controller",
        LogSource::Loggregator => "loggregator",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use cupola_messages::logs::LogSource;

    fn line() -> LogLine {
        LogLine {
            message: "hi".to_owned(),
            stream: LogStream::Err,
            timestamp_ns: 1,
            source_type: LogSource::App,
            source_instance: "0".to_owned(),
        }
    }

    #[test]
    fn a_doppler_envelope_has_the_field_numbers_of_the_protocol() {
        let bytes = Generation::Doppler.encode(&AppGuid::new("a"), &line());
        let expected = [
            &[0x0a, 3][..],
            b"dea",      // origin
            &[0x10, 5],  // event type
            &[0x30, 1],  // timestamp
            &[0x42, 19], // log message
            &[0x0a, 2],
            b"hi",      // message
            &[0x10, 2], // ERR
            &[0x18, 1], // timestamp, a plain varint
            &[0x22, 1],
            b"a", // app
            &[0x2a, 3],
            b"APP", // source type
            &[0x32, 1],
            b"0", // source instance
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_older_message_zigzags_its_timestamp() {
        let bytes = Generation::Loggregator.encode(&AppGuid::new("a"), &line());
        let expected = [
            &[0x0a, 2][..],
            b"hi",
            &[0x10, 2],
            &[0x18, 2], // zigzag of 1
            &[0x22, 1],
            b"a",
            &[0x32, 1],
            b"0",
            &[0x42, 3],
            b"APP",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn log_cache_writes_large_numbers_as_text_and_bytes_as_base64() {
        let value = log_cache(&AppGuid::new("a"), &line());
        assert_eq!(value["timestamp"], "1");
        assert_eq!(value["log"]["payload"], "aGk=");
        assert_eq!(value["log"]["type"], "ERR");
    }
}

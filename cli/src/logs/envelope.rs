//! The messages of the `events` package, as far as they carry log lines. Fields that are not
//! named here are skipped by the decoder.

/// What every message on the wire is wrapped in.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Envelope {
    #[prost(string, required, tag = "1")]
    pub(crate) origin: String,
    #[prost(enumeration = "EventType", required, tag = "2")]
    pub(crate) event_type: i32,
    #[prost(int64, optional, tag = "6")]
    pub(crate) timestamp: Option<i64>,
    #[prost(message, optional, tag = "8")]
    pub(crate) log_message: Option<LogMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogMessage {
    #[prost(bytes = "vec", required, tag = "1")]
    pub(crate) message: Vec<u8>,
    #[prost(enumeration = "MessageType", required, tag = "2")]
    pub(crate) message_type: i32,
    /// Nanoseconds since the epoch.
    #[prost(int64, required, tag = "3")]
    pub(crate) timestamp: i64,
    #[prost(string, optional, tag = "4")]
    pub(crate) app_id: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(crate) source_type: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) source_instance: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum EventType {
    HttpStartStop = 4,
    LogMessage = 5,
    ValueMetric = 6,
    CounterEvent = 7,
    Error = 8,
    ContainerMetric = 9,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum MessageType {
    Out = 1,
    Err = 2,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use prost::Message;

    use super::*;

    #[test]
    fn the_bytes_on_the_wire_are_those_of_the_protocol() {
        // Written by hand from the field numbers of the protocol.
        let log = [
            &[0x0a, 2, b'h', b'i'][..],
            &[0x10, 2],
            &[0x18, 2],
            &[0x22, 1, b'a'],
            &[0x2a, 3, b'S', b'T', b'G'],
            &[0x32, 1, b'0'],
        ]
        .concat();
        let wire = [
            &[0x0a, 1, b'o', 0x10, 5, 0x30, 1][..],
            &[0x42, u8::try_from(log.len()).unwrap()],
            &log,
            // Tags, which are none of our business.
            &[0x8a, 0x01, 2, b'x', b'y'],
        ]
        .concat();
        let envelope = Envelope::decode(wire.as_slice()).unwrap();
        let log = envelope.log_message.unwrap();
        assert_eq!(
            (log.message.as_slice(), log.message_type, log.timestamp),
            (&b"hi"[..], 2, 2)
        );
        assert_eq!(log.source_type.as_deref(), Some("STG"));
        assert_eq!(log.source_instance.as_deref(), Some("0"));
    }
}

//! Frames of RFC 6455: their headers, masks and close codes.

/// Longest payload of a control frame.
pub(super) const CONTROL_MAX: usize = 125;
/// Longest header.
pub(super) const HEADER_MAX: usize = 14;

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The header of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// The last frame of its message.
    pub(super) fin: bool,
    /// The first frame of a compressed message.
    pub(super) compressed: bool,
    pub(super) length: u64,
    pub(super) mask: [u8; 4],
}

/// How a peer breaks the rules, with the close code that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) text: &'static str,
}

/// Close codes that we send.
pub(super) mod code {
    pub(in super::super) const NORMAL: u16 = 1000;
    pub(in super::super) const GOING_AWAY: u16 = 1001;
    pub(in super::super) const PROTOCOL: u16 = 1002;
    pub(in super::super) const INVALID: u16 = 1007;
    pub(in super::super) const POLICY: u16 = 1008;
    pub(in super::super) const TOO_BIG: u16 = 1009;
    pub(in super::super) const INTERNAL: u16 = 1011;
}

// === impl Header ===

impl Header {
    /// Reads a header and tells how long it was; `None` when more bytes are needed. Without masks, by
    /// agreement, there is no key, whatever the bit says.
    ///
    /// # Errors
    /// No client may send such a frame.
    pub(super) fn parse(bytes: &[u8], masked: bool) -> Result<Option<(Self, usize)>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(Violation::protocol("reserved bits are set"));
        }
        if masked && second & MASKED == 0 {
            return Err(Violation::protocol("the frame is not masked"));
        }
        let (fin, compressed) = (first & FIN != 0, first & COMPRESSED != 0);
        let opcode =
            Opcode::of(first & 0x0f).ok_or_else(|| Violation::protocol("the opcode is unknown"))?;
        let (length, rest) = match second & !MASKED {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (u64::from(length), rest),
        };
        if length >> 63 != 0 {
            return Err(Violation::protocol("the length is impossible"));
        }
        if opcode.is_control() && (!fin || compressed || length > CONTROL_MAX as u64) {
            return Err(Violation::protocol(
                "a control frame is fragmented, compressed or longer than 125 bytes",
            ));
        }
        let (mask, rest) = match rest.split_first_chunk() {
            _ if !masked => (&[0; 4], rest),
            Some(parted) => parted,
            None => return Ok(None),
        };
        let header = Header {
            opcode,
            fin,
            compressed,
            length,
            mask: *mask,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }
}

// === impl Opcode ===

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

// === impl Violation ===

impl Violation {
    pub(super) fn protocol(text: &'static str) -> Self {
        Violation {
            code: code::PROTOCOL,
            text,
        }
    }
}

/// Appends the header of a whole message from the server.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each arm is about what fits"
)]
pub(super) fn write_header(opcode: Opcode, compressed: bool, length: usize, wire: &mut Vec<u8>) {
    let flag = if compressed { COMPRESSED } else { 0 };
    wire.push(FIN | flag | opcode.bits());
    match length {
        0..=125 => wire.push(length as u8),
        126..=0xffff => {
            wire.push(126);
            wire.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            wire.push(127);
            wire.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a close frame; a reason that is too long is cut.
pub(super) fn write_close(code: u16, reason: &str, wire: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_MAX - 2)];
    write_header(Opcode::Close, false, 2 + reason.len(), wire);
    wire.extend_from_slice(&code.to_be_bytes());
    wire.extend_from_slice(reason.as_bytes());
}

/// What to answer a close frame with: code and reason; nothing when it had none.
///
/// # Errors
/// It is not in order.
pub(super) fn read_close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    let (code, reason) = match payload.split_first_chunk() {
        Some((code, reason)) => (u16::from_be_bytes(*code), reason),
        None if payload.is_empty() => return Ok(None),
        None => return Err(Violation::protocol("half a close code")),
    };
    // 1004 to 1006 and 1015 are not for frames; 1016 to 2999 nobody has defined.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::protocol("the close code is not valid"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation {
        code: code::INVALID,
        text: "the close reason is not UTF-8",
    })?;
    Ok(Some((code, reason)))
}

/// Takes the mask off bytes that begin `at` bytes into their payload.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4], at: u64) {
    let turned: [u8; 4] = std::array::from_fn(|i| mask[(i + (at & 3) as usize) & 3]);
    let key = u32::from_ne_bytes(turned);
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        if let [a, b, c, d] = word {
            [*a, *b, *c, *d] = (u32::from_ne_bytes([*a, *b, *c, *d]) ^ key).to_ne_bytes();
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(turned) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn headers_of_every_length() {
        let small = Header::parse(&[0x82, 0x85, 1, 2, 3, 4, 9], true)
            .unwrap()
            .unwrap();
        assert_eq!(
            (small.0.opcode, small.0.length, small.1),
            (Opcode::Binary, 5, 6)
        );
        let middle = Header::parse(&[0x01, 0xfe, 1, 0, 1, 2, 3, 4], true)
            .unwrap()
            .unwrap();
        assert_eq!((middle.0.fin, middle.0.length, middle.1), (false, 256, 8));
        let large = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        let found = Header::parse(&large, true).unwrap().unwrap();
        assert_eq!((found.0.length, found.1), (65_536, 14));
        for cut in 0..large.len() {
            assert_eq!(Header::parse(&large[..cut], true), Ok(None));
        }
        for second in [0x05, 0x85] {
            let bare = Header::parse(&[0x82, second, 9], false).unwrap().unwrap();
            assert_eq!((bare.0.length, bare.0.mask, bare.1), (5, [0; 4], 2));
        }
    }

    #[test]
    fn frames_that_no_client_may_send() {
        for (bytes, why) in [
            (&[0x82, 0x05, 0, 0][..], "masked"),
            (&[0xa2, 0x85], "reserved"),
            (&[0x83, 0x85], "opcode"),
            (&[0x09, 0x80], "control"),
            (&[0xc9, 0x80], "control"),
            (&[0x89, 0xfe, 0, 126], "control"),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "impossible"),
        ] {
            let violation = Header::parse(bytes, true).unwrap_err();
            assert!(violation.text.contains(why), "{violation:?}");
        }
    }

    #[test]
    fn close_frames() {
        assert_eq!(read_close(&[]), Ok(None));
        assert_eq!(read_close(b"\x03\xe8bye"), Ok(Some((1000, "bye"))));
        assert_eq!(read_close(b"\x03\xe8\xff").unwrap_err().code, 1007);
        for wrong in [&[3][..], &[3, 0xed], &[3, 0xee], &[0, 1], &[0x13, 0x88]] {
            assert_eq!(read_close(wrong).unwrap_err().code, 1002, "{wrong:?}");
        }
        let mut wire = Vec::new();
        write_close(1008, &"ä".repeat(100), &mut wire);
        assert_eq!(wire.len(), 2 + 2 + 122);
    }

    #[test]
    fn masks_go_on_where_they_were() {
        let text: Vec<u8> = (0..50).collect();
        let mask = [7, 11, 13, 250];
        let mut whole = text.clone();
        unmask(&mut whole, mask, 0);
        for cut in 0..text.len() {
            let mut pieces = text.clone();
            let (head, tail) = pieces.split_at_mut(cut);
            unmask(head, mask, 0);
            unmask(tail, mask, cut as u64);
            assert_eq!(pieces, whole);
        }
    }
}

//! The usual `PUB` in one pass.
//!
//! Nearly all frames are of this form: `PUB subject [reply] size`, one blank between words, CRLF, and
//! all of it there. Whatever is not is left to the general way, which decides what it is.

use super::{MAX_DIGITS, Op, Publish, Rules};

/// The frame at the start of `buffer` and its length; `None` when it is not whole, or not of this form.
#[inline]
pub(super) fn publish<'a>(buffer: &'a [u8], rules: &Rules) -> Option<(Op<'a>, usize)> {
    const VERB: &[u8; 4] = b"PUB ";
    if buffer.first_chunk() != Some(VERB) || rules.connect_only {
        return None;
    }
    let start = VERB.len();
    let (subject, mut at) = word(buffer, start)?;
    let mut reply = None;
    let size = match size(buffer, &mut at) {
        Some(size) => size,
        None => {
            let (word, after) = word(buffer, start + subject.len() + 1)?;
            reply = Some(word);
            at = after;
            size(buffer, &mut at)?
        }
    };
    // `at` is behind the line end.
    if size > rules.max_payload || at - 2 - start > rules.max_control_line {
        return None;
    }
    let end = at + size + 2;
    let body = buffer.get(at..end)?;
    if body.last_chunk() != Some(b"\r\n") {
        return None;
    }
    let publish = Publish {
        subject,
        reply,
        header_len: None,
        body,
    };
    Some((Op::Publish(publish), end))
}

/// The word that begins at `start` and ends with a blank, and what is behind the blank.
#[inline]
fn word(buffer: &[u8], start: usize) -> Option<(&[u8], usize)> {
    /// Eight bytes at once: the first that is a blank or a control character.
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let mut at = start;
    loop {
        let eight = u64::from_le_bytes(*buffer.get(at..)?.first_chunk()?);
        // Sets the top bit of each byte below 0x21, and perhaps of some behind the first of them.
        let low = eight.wrapping_sub(EACH * 0x21) & !eight & (EACH * 0x80);
        if low != 0 {
            at += low.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    (at > start && buffer[at] == b' ').then(|| (&buffer[start..at], at + 1))
}

/// A number and the line end behind it; moves `at` behind both.
#[inline]
fn size(buffer: &[u8], at: &mut usize) -> Option<usize> {
    let mut size = 0_usize;
    for (count, byte) in buffer.get(*at..)?.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            // May wrap: too many digits are refused below.
            size = usize::wrapping_add(usize::wrapping_mul(size, 10), usize::from(digit));
            continue;
        }
        let end = *at + count;
        if count == 0 || count > MAX_DIGITS || buffer.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        *at = end + 2;
        return Some(size);
    }
    None
}

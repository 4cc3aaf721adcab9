//! Names in texts for clients, in quotes as Go writes them: `%q` is what nats-server's errors are made with.

use std::fmt::{self, Write as _};

/// Shows bytes as a string literal of Go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '"' | '\\' => write!(to, "\\{letter}")?,
                    ' '..='~' => to.write_char(letter)?,
                    '\x07' => to.write_str("\\a")?,
                    '\x08' => to.write_str("\\b")?,
                    '\x0c' => to.write_str("\\f")?,
                    '\x0b' => to.write_str("\\v")?,
                    '\n' | '\r' | '\t' => write!(to, "{}", letter.escape_default())?,
                    '\0'..='\x7f' => write!(to, "\\x{:02x}", u32::from(letter))?,
                    _ if letter.escape_debug().len() == 1 => to.write_char(letter)?,
                    '\u{80}'..='\u{ffff}' => write!(to, "\\u{:04x}", u32::from(letter))?,
                    _ => write!(to, "\\U{:08x}", u32::from(letter))?,
                }
            }
            for byte in chunk.invalid() {
                write!(to, "\\x{byte:02x}")?;
            }
        }
        to.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (bytes, text) in [
            (&b"a.b"[..], r#""a.b""#),
            (br#"a"\"#, r#""a\"\\""#),
            (b"\0\x07\x0b\t\x7f", r#""\x00\a\v\t\x7f""#),
            ("fü\u{200b}".as_bytes(), r#""fü\u200b""#),
            (b"a\xffb", r#""a\xffb""#),
        ] {
            assert_eq!(Quoted(bytes).to_string(), text);
        }
    }
}

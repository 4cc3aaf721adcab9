//! `Staticfile.auth`: who may see the site, in the form that `htpasswd` writes.
//!
//! Understood are `$apr1$` (what `htpasswd` writes by default), `{SHA}`, `{SSHA}` and `{PLAIN}`.
//! Others are refused when the droplet is built, not when the first visitor is locked out. These
//! digests are old; the file is here because people have it, and the passwords of a staging site
//! are worth no more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// The people who may come in.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    users: Vec<(String, Hash)>,
}

#[derive(Clone)]
enum Hash {
    Plain(String),
    Sha1 { digest: Vec<u8>, salt: Vec<u8> },
    Apr1 { salt: String, digest: String },
}

/// A line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Staticfile.auth, line {line}: {problem}")]
pub struct PasswordsError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

const UNKNOWN_HASH: &str =
    "this kind of hash is not understood; write the line with `htpasswd -m` or `htpasswd -s`";
const ITOA64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// === impl Passwords ===

impl Passwords {
    /// Reads the text of a `Staticfile.auth`.
    ///
    /// # Errors
    /// Names the first line that is not `user:hash` with a hash that is understood.
    pub fn parse(text: &str) -> Result<Self, PasswordsError> {
        let mut users = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem| PasswordsError {
                line: number + 1,
                problem,
            };
            let (user, hash) = line.split_once(':').ok_or(wrong("it is not `user:hash`"))?;
            users.push((
                user.to_owned(),
                Hash::parse(hash).ok_or(wrong(UNKNOWN_HASH))?,
            ));
        }
        Ok(Self { users })
    }

    /// Whether nobody is listed; then nobody comes in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether an `Authorization` header names one of them with the right password.
    #[must_use]
    pub fn admit(&self, authorization: &str) -> bool {
        let Some((scheme, encoded)) = authorization.split_once(' ') else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Ok(decoded) = STANDARD.decode(encoded.trim()) else {
            return false;
        };
        let Ok(text) = String::from_utf8(decoded) else {
            return false;
        };
        let Some((user, password)) = text.split_once(':') else {
            return false;
        };
        self.users
            .iter()
            .any(|(name, hash)| name == user && hash.matches(password))
    }
}

// === impl Hash ===

impl Hash {
    fn parse(text: &str) -> Option<Self> {
        if let Some(plain) = text.strip_prefix("{PLAIN}") {
            return Some(Self::Plain(plain.to_owned()));
        }
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            let digest = STANDARD
                .decode(encoded)
                .ok()
                .filter(|bytes| bytes.len() == 20)?;
            return Some(Self::Sha1 {
                digest,
                salt: Vec::new(),
            });
        }
        if let Some(encoded) = text.strip_prefix("{SSHA}") {
            let mut digest = STANDARD
                .decode(encoded)
                .ok()
                .filter(|bytes| bytes.len() > 20)?;
            let salt = digest.split_off(20);
            return Some(Self::Sha1 { digest, salt });
        }
        let (salt, digest) = text.strip_prefix("$apr1$")?.split_once('$')?;
        let fits = salt.len() <= 8 && digest.len() == 22;
        fits.then(|| Self::Apr1 {
            salt: salt.to_owned(),
            digest: digest.to_owned(),
        })
    }

    fn matches(&self, password: &str) -> bool {
        match self {
            Self::Plain(wanted) => password.as_bytes().ct_eq(wanted.as_bytes()).into(),
            Self::Sha1 { digest, salt } => {
                let given = Sha1::new()
                    .chain_update(password)
                    .chain_update(salt)
                    .finalize();
                given.as_slice().ct_eq(digest).into()
            }
            Self::Apr1 { salt, digest } => {
                let given = apr1(password.as_bytes(), salt.as_bytes());
                given.as_bytes().ct_eq(digest.as_bytes()).into()
            }
        }
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Sha1 { .. } => "Sha1(..)",
            Self::Apr1 { .. } => "Apr1(..)",
        })
    }
}

/// The digest of `htpasswd -m`: a thousand rounds of MD5 over password and salt, stirred.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(b"$apr1$")
        .chain_update(salt);
    for chunk in password.chunks(16) {
        first.update(&inner[..chunk.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        match length & 1 {
            1 => first.update([0]),
            _ => first.update(&password[..1]),
        }
        length >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..1000 {
        let mut hash = Md5::new();
        let odd = round % 2 == 1;
        if odd {
            hash.update(password)
        } else {
            hash.update(digest)
        }
        if round % 3 != 0 {
            hash.update(salt);
        }
        if round % 7 != 0 {
            hash.update(password);
        }
        if odd {
            hash.update(digest)
        } else {
            hash.update(password)
        }
        digest = hash.finalize();
    }
    let mut text = String::with_capacity(22);
    for group in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let [a, b, c] = group.map(|at| u32::from(digest[at]));
        push_base64(&mut text, a << 16 | b << 8 | c, 4);
    }
    push_base64(&mut text, u32::from(digest[11]), 2);
    text
}

fn push_base64(text: &mut String, mut value: u32, digits: u32) {
    for _ in 0..digits {
        text.push(char::from(ITOA64[(value & 0x3f) as usize]));
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    // The hashes were written by `openssl passwd -apr1` and `openssl dgst -sha1 -binary | base64`.
    const FILE: &str = "# people\nann:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n\
                        bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\ncid:{PLAIN}open sesame\n";

    #[test]
    fn each_kind_of_hash_admits_the_right_password_only() {
        let passwords = Passwords::parse(FILE).unwrap();
        for (pair, admitted) in [
            ("ann:secret", true),
            ("bob:secret", true),
            ("cid:open sesame", true),
            ("ann:Secret", false),
            ("bob:", false),
            ("cid:open", false),
            ("eve:secret", false),
        ] {
            assert_eq!(passwords.admit(&basic(pair)), admitted, "{pair}");
        }
    }

    #[test]
    fn headers_that_are_not_basic_credentials_admit_nobody() {
        let passwords = Passwords::parse("cid:{PLAIN}x\n").unwrap();
        for header in ["", "Basic", "Basic !!!", "Bearer Y2lkOng=", "Basic Y2lk"] {
            assert!(!passwords.admit(header), "{header}");
        }
        assert!(passwords.admit("basic Y2lkOng="));
        assert!(!Passwords::default().admit("basic Y2lkOng="));
    }

    #[test]
    fn hashes_that_are_not_understood_are_refused_with_their_line() {
        for text in [
            "a:$2y$05$abc\n",
            "a:plain\n",
            "a:{SHA}short\n",
            "a:$apr1$x\n",
        ] {
            assert_eq!(Passwords::parse(text).unwrap_err().line, 1, "{text}");
        }
        assert_eq!(
            Passwords::parse("a:{PLAIN}x\nnonsense\n").unwrap_err().line,
            2
        );
    }
}

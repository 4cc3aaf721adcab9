//! The functions a destination may use in place of a token: `{{partition(10,1,2)}}` and the like.

use crate::subject;

/// One token of a destination, and where it comes from. Tokens of the source count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is written.
    Literal(Box<[u8]>),
    /// What a wildcard of the source stands for.
    Wildcard(usize),
    /// A number below `count`, always the same for the same tokens; the whole subject when there are none.
    Partition { count: u32, tokens: Vec<usize> },
    /// A number below this.
    Random(u32),
    /// A part of a token, or a token in parts.
    Cut { token: usize, cut: Cut },
}

/// How one token becomes a part of itself, or several tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// In two, so many bytes from the start.
    SplitFromLeft(usize),
    /// In two, so many bytes from the end.
    SplitFromRight(usize),
    /// Into pieces of so many bytes, a shorter one last.
    SliceFromLeft(usize),
    /// Into pieces of so many bytes, a shorter one first.
    SliceFromRight(usize),
    /// Wherever this stands.
    Split(Box<[u8]>),
    /// So many bytes from the start.
    Left(usize),
    /// So many bytes from the end.
    Right(usize),
}

/// Gives a random number below its argument.
pub(super) type Throw<'a> = &'a mut dyn FnMut(usize) -> usize;

/// A part whose tokens are still wildcards by number, from 1.
pub(super) type Draft = Part;

/// Reads one token of a destination; wildcards are named by number, from 1.
pub(super) fn parse(token: &str) -> Result<Draft, &'static str> {
    if let Some(number) = token.strip_prefix('$')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return number
            .parse()
            .map(Part::Wildcard)
            .map_err(|_| "names no wildcard");
    }
    let Some(call) = token
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
    else {
        return Ok(Part::Literal(token.as_bytes().into()));
    };
    let (name, arguments) = call
        .trim()
        .strip_suffix(')')
        .and_then(|call| call.split_once('('))
        .ok_or("is no function")?;
    let arguments: Vec<&str> = arguments.split(',').map(str::trim_start).collect();
    function(name.trim_end(), &arguments)
}

fn function(name: &str, arguments: &[&str]) -> Result<Draft, &'static str> {
    let name = name.to_ascii_lowercase();
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| "needs numbers");
    let count = |text: &str| {
        let count = text.trim().parse::<u32>().map_err(|_| "needs numbers")?;
        if count <= i32::MAX.unsigned_abs() {
            Ok(count)
        } else {
            Err("has too large a number")
        }
    };
    match (name.as_str(), arguments) {
        ("wildcard", [one]) => Ok(Part::Wildcard(number(one)?)),
        ("partition", [buckets, tokens @ ..]) => Ok(Part::Partition {
            count: count(buckets)?,
            tokens: tokens
                .iter()
                .map(|token| number(token))
                .collect::<Result<_, _>>()?,
        }),
        ("random", [one]) => Ok(Part::Random(count(one)?)),
        ("split", [token, at]) => {
            if at.is_empty() || at.contains(' ') || at.contains('.') {
                return Err("cannot split at this");
            }
            let cut = Cut::Split(at.as_bytes().into());
            Ok(Part::Cut {
                token: number(token)?,
                cut,
            })
        }
        (
            "splitfromleft" | "splitfromright" | "slicefromleft" | "slicefromright" | "left"
            | "right",
            [token, size],
        ) => {
            let (token, size) = (number(token)?, number(size)?);
            let cut = match name.as_str() {
                "splitfromleft" => Cut::SplitFromLeft(size),
                "splitfromright" => Cut::SplitFromRight(size),
                "slicefromleft" => Cut::SliceFromLeft(size),
                "slicefromright" => Cut::SliceFromRight(size),
                "left" => Cut::Left(size),
                _ => Cut::Right(size),
            };
            Ok(Part::Cut { token, cut })
        }
        (
            "wildcard" | "partition" | "random" | "split" | "splitfromleft" | "splitfromright"
            | "slicefromleft" | "slicefromright" | "left" | "right",
            _,
        ) => Err("has the wrong number of arguments"),
        _ => Err("is an unknown function"),
    }
}

// === impl Part ===

impl Part {
    /// Appends what it makes of the tokens of a subject.
    pub(super) fn write(&self, whole: &[u8], tokens: &[&[u8]], dice: Throw<'_>, to: &mut Vec<u8>) {
        let token = |index: usize| tokens.get(index).copied().unwrap_or_default();
        match self {
            Part::Literal(text) => to.extend_from_slice(text),
            Part::Wildcard(index) => to.extend_from_slice(token(*index)),
            Part::Partition {
                count,
                tokens: keys,
            } => {
                let hash = if keys.is_empty() {
                    fnv([whole])
                } else {
                    fnv(keys.iter().map(|key| token(*key)))
                };
                let bucket = hash.checked_rem(*count).unwrap_or(0);
                to.extend_from_slice(bucket.to_string().as_bytes());
            }
            Part::Random(count) => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                let number = if count == 0 { 0 } else { dice(count) };
                to.extend_from_slice(number.to_string().as_bytes());
            }
            Part::Cut { token: index, cut } => cut.write(token(*index), to),
        }
    }
}

impl Cut {
    fn write(&self, token: &[u8], to: &mut Vec<u8>) {
        let len = token.len();
        // What is too short to be cut stays whole.
        let fits = |size: usize| size > 0 && size < len;
        match self {
            Cut::SplitFromLeft(at) if fits(*at) => join(to, [&token[..*at], &token[*at..]]),
            Cut::SplitFromRight(at) if fits(*at) => {
                join(to, [&token[..len - at], &token[len - at..]]);
            }
            Cut::SliceFromLeft(size) if fits(*size) => join(to, token.chunks(*size)),
            Cut::SliceFromRight(size) if fits(*size) => {
                let (short, rest) = token.split_at(len % size);
                let first = (!short.is_empty()).then_some(short);
                join(to, first.into_iter().chain(rest.chunks(*size)));
            }
            Cut::Left(size) if fits(*size) => to.extend_from_slice(&token[..*size]),
            Cut::Right(size) if fits(*size) => to.extend_from_slice(&token[len - size..]),
            Cut::Split(at) => {
                let before = to.len();
                join(to, pieces(token, at).filter(|piece| !piece.is_empty()));
                if to.len() == before {
                    to.extend_from_slice(token);
                }
            }
            _ => to.extend_from_slice(token),
        }
    }
}

/// The pieces of a token between the places where `at` stands.
fn pieces<'a>(token: &'a [u8], at: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(token);
    std::iter::from_fn(move || {
        let text = rest?;
        match memchr::memmem::find(text, at) {
            Some(found) => {
                rest = Some(&text[found + at.len()..]);
                Some(&text[..found])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    })
}

fn join<'a>(to: &mut Vec<u8>, pieces: impl IntoIterator<Item = &'a [u8]>) {
    for (index, piece) in pieces.into_iter().enumerate() {
        if index > 0 {
            to.push(b'.');
        }
        to.extend_from_slice(piece);
    }
}

/// FNV-1a, the hash all servers of a system have to agree on.
fn fnv<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for part in parts {
        for byte in part {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

/// The tokens of a subject as a list.
pub(super) fn list(whole: &[u8]) -> Vec<&[u8]> {
    subject::tokens(whole).collect()
}

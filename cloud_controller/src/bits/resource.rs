//! Lists of files by digest: what a client has, and what the pool has of it.

use serde_json::{Map, Value};

use super::BitsError;
use super::path::parts;

/// Most files in one list.
const MAX_RESOURCES: usize = 65_000;
/// Permissions of a resource that names none.
const DEFAULT_MODE: u32 = 0o744;

/// A file that the pool is said to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Where it goes, with `/` between the parts.
    pub(crate) name: String,
    /// Digest, 40 lower-case hex digits.
    pub(crate) sha1: String,
    /// Length.
    pub(crate) size: u64,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// Reads the `resources` part of an upload.
///
/// # Errors
/// [`BitsError::Invalid`], `BadPath` or `BadMode`, naming the entry.
pub(crate) fn parse_list(json: &[u8]) -> Result<Vec<Resource>, BitsError> {
    let invalid = |what: String| BitsError::Invalid(what);
    let text = json.trim_ascii();
    let text = if text.is_empty() { b"[]" } else { text };
    let list: Vec<Map<String, Value>> = serde_json::from_slice(text).map_err(|error| {
        invalid(format!(
            "resources are not a JSON array of objects: {error}"
        ))
    })?;
    if list.len() > MAX_RESOURCES {
        return Err(invalid(format!(
            "there are more than {MAX_RESOURCES} resources"
        )));
    }
    list.iter()
        .filter(|entry| !is_folder(entry))
        .map(parse)
        .collect()
}

/// Folders are listed by some clients, with no digest.
fn is_folder(entry: &Map<String, Value>) -> bool {
    entry.get("sha1").and_then(Value::as_str) == Some("0")
}

fn parse(entry: &Map<String, Value>) -> Result<Resource, BitsError> {
    let (sha1, size) = known_fields(entry)
        .ok_or_else(|| BitsError::Invalid("a resource has no usable sha1 and size".into()))?;
    let name = entry.get("fn").and_then(Value::as_str).unwrap_or_default();
    let name = parts(name).map_err(BitsError::BadPath)?.join("/");
    let mode = match entry.get("mode") {
        None | Some(Value::Null) => DEFAULT_MODE,
        Some(Value::String(text)) if text.is_empty() => DEFAULT_MODE,
        Some(Value::String(text)) => parse_mode(text)?,
        Some(other) => {
            return Err(BitsError::BadMode(format!(
                "{other} is not a mode in octal"
            )));
        }
    };
    Ok(Resource {
        name,
        sha1,
        size,
        mode,
    })
}

/// The owner has to be able to read and write what is staged.
fn parse_mode(text: &str) -> Result<u32, BitsError> {
    let bad = |why: &str| BitsError::BadMode(format!("{text:?} {why}"));
    let mode = u32::from_str_radix(text, 8).map_err(|_| bad("is not a mode in octal"))?;
    let bits = mode & 0o777;
    if bits & 0o600 != 0o600 {
        return Err(bad("does not let the owner read and write"));
    }
    Ok(bits)
}

/// Digest and length of an entry, if they can be ones.
pub(crate) fn known_fields(entry: &Map<String, Value>) -> Option<(String, u64)> {
    let sha1 = entry.get("sha1")?.as_str()?.to_lowercase();
    let size = entry.get("size")?.as_u64()?;
    (sha1.len() == 40 && sha1.bytes().all(|b| b.is_ascii_hexdigit())).then_some((sha1, size))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const SHA: &str = "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709";

    #[test]
    fn reads_files_and_skips_folders() {
        let json = format!(
            r#"[{{"sha1":"{SHA}","size":9,"fn":"a//b","mode":"644"}},{{"sha1":"0","size":0,"fn":"d"}},
               {{"sha1":"{SHA}","size":9,"fn":"c"}}]"#
        );
        let list = parse_list(json.as_bytes()).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].name.as_str(), list[0].mode), ("a/b", 0o644));
        assert_eq!(list[0].sha1, SHA.to_lowercase());
        assert_eq!(list[1].mode, DEFAULT_MODE);
        assert!(parse_list(b"").unwrap().is_empty());
    }

    #[test]
    fn refuses_what_it_cannot_place() {
        let one = |rest: &str| parse_list(format!(r#"[{{{rest}}}]"#).as_bytes()).unwrap_err();
        let digest = format!(r#""sha1":"{SHA}","size":1"#);
        assert!(matches!(
            one(&format!(r#"{digest},"fn":"../x""#)),
            BitsError::BadPath(_)
        ));
        assert!(matches!(one(&digest), BitsError::BadPath(_)));
        assert!(matches!(
            one(&format!(r#"{digest},"fn":"x","mode":"9""#)),
            BitsError::BadMode(_)
        ));
        assert!(matches!(
            one(&format!(r#"{digest},"fn":"x","mode":"444""#)),
            BitsError::BadMode(_)
        ));
        assert!(matches!(
            one(r#""sha1":"abc","size":1,"fn":"x""#),
            BitsError::Invalid(_)
        ));
        assert!(parse_list(b"{}").is_err());
    }
}

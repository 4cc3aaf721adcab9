//! `operator`, `trusted_keys`, `resolver` and `resolver_preload`: whose JWTs count, and where they are.

use std::path::Path;

use crate::conf::{ConfError, Kind};
use crate::config::accounts::{Operator, Resolver};

use super::read::Field;

/// What every JWT begins with: `{"` in base64.
const JWT: &str = "eyJ";

/// `operator`: JWTs, or files that hold them, or a list of either.
pub(super) fn operators(operator: &mut Operator, field: Field<'_>) -> Result<(), ConfError> {
    for text in field.texts()? {
        if text.starts_with(JWT) {
            operator.jwts.push(text);
            continue;
        }
        let path = Path::new(&text);
        // Relative to the file it is written in, or else to where the server was started.
        let beside = field
            .value()
            .at
            .file
            .parent()
            .map(|folder| folder.join(path));
        let jwt = std::fs::read_to_string(path)
            .or_else(|error| beside.map_or(Err(error), std::fs::read_to_string))
            .map_err(|error| field.wrong(format!("cannot read {text}: {error}")))?;
        operator.jwts.push(jwt);
    }
    Ok(())
}

/// `resolver`: `MEMORY`, or a map with its type.
pub(super) fn resolver(operator: &mut Operator, field: Field<'_>) -> Result<(), ConfError> {
    let (mut kind, mut folder) = (None, None);
    match &field.value().kind {
        Kind::Text(text) => kind = Some(text.clone()),
        _ => {
            for entry in field.map()?.entries() {
                let field = Field(entry);
                match entry.key.to_ascii_lowercase().as_str() {
                    "type" => kind = Some(field.text()?),
                    "dir" => folder = Some(field.text()?),
                    "allow_delete" | "hard_delete" | "delete" | "limit" | "ttl" | "timeout"
                    | "interval" => {}
                    _ => field.unknown(&["type", "dir", "limit", "ttl", "timeout", "interval"])?,
                }
            }
        }
    }
    let kind = kind.ok_or_else(|| field.wrong("needs a type"))?;
    operator.resolver = match (kind.to_ascii_lowercase().as_str(), folder) {
        ("mem" | "memory", _) => Resolver::Memory,
        ("full", Some(folder)) => Resolver::Directory(folder.into()),
        ("full", None) => return Err(field.wrong("of type full needs a dir")),
        (kind, _) if kind.starts_with("url") => {
            return Err(field.wrong("by URL is not supported; use MEMORY with resolver_preload"));
        }
        ("cache", _) => {
            return Err(field.wrong(
                "of type cache is not supported; use full, or MEMORY with resolver_preload",
            ));
        }
        _ => return Err(field.wrong("is none of MEMORY and full")),
    };
    Ok(())
}

/// `resolver_preload`: the JWTs of accounts by public key.
pub(super) fn preload(operator: &mut Operator, field: Field<'_>) -> Result<(), ConfError> {
    for entry in field.map()?.entries() {
        operator
            .preload
            .insert(entry.key.clone(), Field(entry).text()?);
    }
    Ok(())
}

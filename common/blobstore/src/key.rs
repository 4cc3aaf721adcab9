//! Names of blobs.

use std::fmt;

use object_store::path::Path;
use thiserror::Error;

/// What kind of blob it is; each kind has key space of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// What users uploaded, as one zip an upload.
    Packages,
    /// What staging made of it.
    Droplets,
    /// What buildpacks keep between stagings of one app.
    BuildpackCaches,
    /// Buildpacks that an operator uploaded.
    Buildpacks,
    /// Single source files by SHA-1, so that a push sends only what is new.
    Resources,
}

/// A key that could leave its folder or collide with another.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a blob key: 4 to 200 letters, digits, '-' and '_' are")]
pub struct BadKey(pub String);

// === impl Bucket ===

impl Bucket {
    /// Every bucket.
    pub const ALL: [Bucket; 5] = [
        Bucket::Packages,
        Bucket::Droplets,
        Bucket::BuildpackCaches,
        Bucket::Buildpacks,
        Bucket::Resources,
    ];

    /// The name in paths and URLs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Bucket::Packages => "packages",
            Bucket::Droplets => "droplets",
            Bucket::BuildpackCaches => "buildpack_cache",
            Bucket::Buildpacks => "buildpacks",
            Bucket::Resources => "resources",
        }
    }

    /// The bucket of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Bucket> {
        Bucket::ALL
            .into_iter()
            .find(|bucket| bucket.as_str() == name)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `ab/cd/abcd…` inside the bucket.
pub(crate) fn path(prefix: &str, bucket: Bucket, key: &str) -> Result<Path, BadKey> {
    let inert = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !(4..=200).contains(&key.len()) || !key.chars().all(inert) {
        return Err(BadKey(key.chars().take(80).collect()));
    }
    let spread = format!("{bucket}/{}/{}/{key}", &key[..2], &key[2..4]);
    Ok(Path::from(if prefix.is_empty() {
        spread
    } else {
        format!("{prefix}/{spread}")
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn spreads_keys_over_two_levels() {
        let path = path("", Bucket::Droplets, "abcdef").unwrap();
        assert_eq!(path.as_ref(), "droplets/ab/cd/abcdef");
    }

    #[test]
    fn refuses_keys_that_mean_something_to_a_file_system() {
        for bad in [
            "",
            "abc",
            "../../etc/passwd",
            "a/b/c/d",
            "abcd.",
            "äöüß",
            "abcd#1",
        ] {
            assert!(
                path("", Bucket::Packages, bad).is_err(),
                "{bad:?} was accepted"
            );
        }
    }
}

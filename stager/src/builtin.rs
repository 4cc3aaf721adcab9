//! The built-in buildpacks: data of the crate, laid out as a folder for containers to see.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../buildpacks/", $path)))),+]
    };
}

/// Built-in buildpacks in the order in which they are tried: the more an app has to say for itself
/// to be detected, the earlier.
const ORDER: &[&str] = &["staticfile", "python", "nodejs", "procfile", "binary"];

const FILES: &[(&str, &str)] = files![
    "staticfile/bin/detect",
    "staticfile/bin/compile",
    "staticfile/bin/release",
    "python/bin/detect",
    "python/bin/compile",
    "python/bin/release",
    "nodejs/bin/detect",
    "nodejs/bin/compile",
    "nodejs/bin/release",
    "nodejs/lib/package.js",
    "procfile/bin/detect",
    "procfile/bin/compile",
    "procfile/bin/release",
    "binary/bin/detect",
    "binary/bin/compile",
    "binary/bin/release",
];

/// Buildpacks that this stager carries, on disk.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    folder: PathBuf,
    keys: Vec<String>,
}

impl Carried {
    /// Lays out the built-in buildpacks in `folder`, replacing what an older version left there.
    pub(crate) fn lay_out(folder: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for (name, text) in FILES {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        // The mask of this process must not keep a container's user out.
        for (name, _) in FILES {
            for parent in Path::new(name).ancestors().skip(1) {
                fs::set_permissions(folder.join(parent), fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(Self {
            folder,
            keys: ORDER.iter().map(ToString::to_string).collect(),
        })
    }

    /// Takes the buildpacks of an operator's `folder`, in the order of their names.
    pub(crate) fn take(folder: PathBuf) -> anyhow::Result<Self> {
        let failed = || format!("cannot list the buildpacks in {}", folder.display());
        let mut keys = Vec::new();
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            if entry.path().join("bin/compile").is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                keys.push(name);
            }
        }
        ensure!(
            !keys.is_empty(),
            "no folder in {} has a bin/compile",
            folder.display()
        );
        keys.sort_unstable();
        Ok(Self { folder, keys })
    }

    /// Where they lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Their keys, in the order in which they are tried.
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The key that a person means: people write `python`, `python_buildpack` and
    /// `python-buildpack`.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let bare = name
            .strip_suffix("_buildpack")
            .or_else(|| name.strip_suffix("-buildpack"));
        let wanted = bare.unwrap_or(name);
        self.keys
            .iter()
            .map(String::as_str)
            .find(|key| *key == name || *key == wanted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_file_of_every_buildpack_is_carried() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpacks");
        let mut found = Vec::new();
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(
                        path.strip_prefix(&source)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        found.sort_unstable();
        let mut carried: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        carried.sort_unstable();
        assert_eq!(found, carried);
        for key in ORDER {
            for script in ["detect", "compile", "release"] {
                assert!(
                    carried.contains(&format!("{key}/bin/{script}")),
                    "{key} {script}"
                );
            }
        }
    }

    #[test]
    fn laying_out_again_leaves_nothing_of_an_older_version() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("buildpacks");
        Carried::lay_out(packs.clone()).unwrap();
        fs::create_dir(packs.join("old")).unwrap();
        let carried = Carried::lay_out(packs.clone()).unwrap();
        assert!(!packs.join("old").exists());
        assert_eq!(carried.keys(), ORDER);
        let mode = fs::metadata(packs.join("python/bin/compile"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn an_operators_folder_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Carried::take(folder.path().to_owned()).is_err());
        for name in ["b", "a"] {
            fs::create_dir_all(folder.path().join(name).join("bin")).unwrap();
            fs::write(folder.path().join(name).join("bin/compile"), "").unwrap();
        }
        fs::write(folder.path().join("README"), "").unwrap();
        assert_eq!(
            Carried::take(folder.path().to_owned()).unwrap().keys(),
            ["a", "b"]
        );
    }

    #[test]
    fn people_name_buildpacks_in_several_ways() {
        let carried = Carried {
            folder: PathBuf::new(),
            keys: vec!["python".into(), "own_buildpack".into()],
        };
        for (name, key) in [
            ("python", Some("python")),
            ("python_buildpack", Some("python")),
            ("python-buildpack", Some("python")),
            ("own_buildpack", Some("own_buildpack")),
            ("ruby", None),
            ("", None),
        ] {
            assert_eq!(carried.find(name), key, "{name}");
        }
    }
}

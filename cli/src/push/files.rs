//! The files of an app, as they lie in its folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::ignore::Ignore;

/// More entries than this are not an app.
const MOST_ENTRIES: usize = 100_000;
/// Largest app that is packed, in bytes. The platform's own limit is lower and its answer says so;
/// this one keeps a slip such as `-p /` from filling the disk with an archive.
const LARGEST_APP: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is neither a folder nor a zip archive", path.display())]
    NotAnApp { path: PathBuf },
    #[error("there is nothing to push in {}", path.display())]
    Empty { path: PathBuf },
    #[error("the name of {} is not UTF-8", path.display())]
    BadName { path: PathBuf },
    #[error("{} holds more than {MOST_ENTRIES} files", path.display())]
    TooMany { path: PathBuf },
    #[error("{} holds more than {} MB", path.display(), LARGEST_APP >> 20)]
    TooLarge { path: PathBuf },
    #[error("cannot write the archive {}", path.display())]
    Pack {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File { size: u64 },
    Folder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// Relative to the app's folder, with `/` between names.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Folders stand before what is in them.
    pub(crate) entries: Vec<Entry>,
    /// Links, sockets and the like, which are not sent.
    pub(crate) skipped: Vec<String>,
}

// === impl FilesError ===

impl FilesError {
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path given by -p or the manifest, and its permissions",
            Self::NotAnApp { .. } => "give a folder or a .zip, .jar or .war file with -p",
            Self::Empty { .. } => "check the path given by -p and what .cfignore leaves out",
            Self::BadName { .. } => "rename it, or leave it out with .cfignore",
            Self::TooMany { .. } | Self::TooLarge { .. } => {
                "leave out what the app does not need, with a .cfignore file"
            }
            Self::Pack { .. } => "free some space there, or set TMPDIR to a larger disk",
        }
    }
}

// === impl Tree ===

impl Tree {
    /// Everything in the folder that its ignore rules do not keep at home. What lies in `private`,
    /// where our tokens are, is never sent, whatever the rules say.
    pub(crate) fn read(folder: &Path, private: &Path) -> Result<Self, FilesError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| FilesError::Read { path, source }
        };
        let ignore = Ignore::of_folder(folder).map_err(fail(&folder.join(".cfignore")))?;
        let private = private.canonicalize().ok();
        let is_private = |path: &Path| private.is_some() && path.canonicalize().ok() == private;
        let mut tree = Self::default();
        let mut total: u64 = 0;
        let mut waiting = vec![(folder.to_owned(), String::new())];
        while let Some((path, prefix)) = waiting.pop() {
            let mut children = fs::read_dir(&path)
                .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
                .map_err(fail(&path))?;
            children.sort_by_key(fs::DirEntry::file_name);
            for child in children {
                let path = child.path();
                let name = child.file_name();
                let name = name
                    .to_str()
                    .ok_or_else(|| FilesError::BadName { path: path.clone() })?;
                let name = format!("{prefix}{name}");
                let excluded = ignore.excludes(&name);
                let metadata = child.metadata().map_err(fail(&path))?;
                if metadata.is_dir() && is_private(&path) {
                    continue;
                }
                if metadata.is_dir() && (!excluded || ignore.has_exceptions()) {
                    waiting.push((path.clone(), format!("{name}/")));
                }
                if excluded {
                    continue;
                }
                let kind = if metadata.is_file() {
                    total = total.saturating_add(metadata.len());
                    Kind::File {
                        size: metadata.len(),
                    }
                } else if metadata.is_dir() {
                    Kind::Folder
                } else {
                    tree.skipped.push(name);
                    continue;
                };
                let mode = metadata.permissions().mode() & 0o777;
                tree.entries.push(Entry {
                    path,
                    name,
                    kind,
                    mode,
                });
                if tree.entries.len() > MOST_ENTRIES {
                    return Err(FilesError::TooMany {
                        path: folder.to_owned(),
                    });
                }
                if total > LARGEST_APP {
                    return Err(FilesError::TooLarge {
                        path: folder.to_owned(),
                    });
                }
            }
        }
        if !tree
            .entries
            .iter()
            .any(|entry| matches!(entry.kind, Kind::File { .. }))
        {
            return Err(FilesError::Empty {
                path: folder.to_owned(),
            });
        }
        Ok(tree)
    }
}

/// The SHA-1 of a file, in hex, and how many bytes it covers.
pub(crate) fn fingerprint(path: &Path) -> Result<(String, u64), FilesError> {
    let fail = |source| FilesError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(fail)?;
    let mut hash = Sha1::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hash.finalize()), size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(fail(error)),
        };
        hash.update(&buffer[..read]);
        size += read as u64;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn read(folder: &Path) -> Result<Tree, FilesError> {
        Tree::read(folder, Path::new("/nowhere"))
    }

    #[test]
    fn the_folder_with_our_tokens_is_never_sent() {
        let folder = folder(&[
            ("a", "x"),
            (".cup/config.json", "x"),
            (".cfignore", "!.cup"),
        ]);
        let tree = Tree::read(folder.path(), &folder.path().join("./.cup")).unwrap();
        let names: Vec<_> = tree
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn ignored_files_links_and_sockets_stay_at_home() {
        let folder = folder(&[
            ("index.html", "hi"),
            ("css/a.css", "x"),
            (".git/config", "x"),
            ("logs/a.log", "x"),
            ("logs/keep.log", "x"),
            (".cfignore", "logs\n!logs/keep.log\n"),
            ("manifest.yml", "x"),
        ]);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("loop")).unwrap();
        let tree = read(folder.path()).unwrap();
        let mut names: Vec<_> = tree
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["css", "css/a.css", "index.html", "logs/keep.log"]);
        assert_eq!(tree.skipped, ["link", "loop"]);
    }

    #[test]
    fn modes_are_kept() {
        let folder = folder(&[("run", "#!/bin/sh")]);
        fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o751)).unwrap();
        assert_eq!(read(folder.path()).unwrap().entries[0].mode, 0o751);
    }

    #[test]
    fn an_empty_app_is_refused() {
        let folder = folder(&[("manifest.yml", "x"), (".git/config", "x")]);
        assert!(matches!(read(folder.path()), Err(FilesError::Empty { .. })));
    }

    #[test]
    fn fingerprints_are_sha1() {
        let folder = folder(&[("a", "abc")]);
        let (sha1, size) = fingerprint(&folder.path().join("a")).unwrap();
        assert_eq!(
            (sha1.as_str(), size),
            ("a9993e364706816aba3e25717850c26c9cd0d89d", 3)
        );
    }
}

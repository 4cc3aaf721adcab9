//! The folder that is served: from the path of a URL to an open file, and never out of the folder.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;
use percent_encoding::percent_decode_str;

/// Longest path that is looked up, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// A rename somewhere on the way makes the kernel ask for another try; this many are given.
const TRIES: usize = 8;

/// The folder that is served.
#[derive(Debug)]
pub struct Site {
    root: OwnedFd,
    dot_files: bool,
}

/// What lies at a path.
#[derive(Debug)]
pub enum Found {
    /// A file, open.
    File(Opened),
    /// A folder, open.
    Folder(OwnedFd),
    /// Nothing that is served.
    Nothing,
}

/// An open regular file.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: File,
    /// Its size in bytes when it was opened.
    pub length: u64,
    /// When it was last changed, in seconds since 1970.
    pub modified_seconds: i64,
}

/// The path of a URL, decoded: plain names below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePath {
    names: Vec<String>,
    /// Whether the path ends in a slash, as that of a folder should.
    pub ends_in_slash: bool,
}

/// A path that no file of a site can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path of the URL is not the path of a file")]
pub struct PathError;

// === impl SitePath ===

impl SitePath {
    /// Decodes the path of a URL.
    ///
    /// # Errors
    /// For names that contain `/` or a zero byte once decoded, are not UTF-8, or are `..`.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH_BYTES || !path.starts_with('/') {
            return Err(PathError);
        }
        let mut names = Vec::new();
        for part in path.split('/') {
            let name = percent_decode_str(part)
                .decode_utf8()
                .map_err(|_| PathError)?;
            match &*name {
                "" | "." => {}
                ".." => return Err(PathError),
                name if name.contains(['/', '\0']) => return Err(PathError),
                name => names.push(name.to_owned()),
            }
        }
        Ok(Self {
            names,
            ends_in_slash: path.ends_with('/'),
        })
    }

    /// The last name; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// Whether it is the root itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// The path of `name` in this folder.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Self {
            names,
            ends_in_slash: false,
        }
    }

    fn has_dot_name(&self) -> bool {
        self.names.iter().any(|name| is_dot_name(name))
    }

    fn relative(&self) -> String {
        if self.names.is_empty() {
            ".".to_owned()
        } else {
            self.names.join("/")
        }
    }
}

/// Whether a name is hidden by its dot. `.well-known` is meant to be seen (RFC 8615).
#[must_use]
pub fn is_dot_name(name: &str) -> bool {
    name.starts_with('.') && name != ".well-known"
}

// === impl Site ===

impl Site {
    /// Serves `root`; names that begin with a dot only if `dot_files`.
    ///
    /// # Errors
    /// When `root` is not a folder that can be opened.
    pub fn new(root: &Path, dot_files: bool) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            root: open(root, flags, Mode::empty())?,
            dot_files,
        })
    }

    /// Whether names that begin with a dot are served.
    #[must_use]
    pub fn shows_dot_files(&self) -> bool {
        self.dot_files
    }

    /// Opens what lies at `path`.
    ///
    /// Symlinks are followed as long as they stay beneath the root; the kernel sees to that, so a
    /// link that is changed meanwhile cannot win a race. Devices, pipes and sockets are not served.
    ///
    /// # Errors
    /// Only what an operator should hear of, such as running out of file descriptors. A path that
    /// cannot be opened for reasons of its own is [`Found::Nothing`].
    pub fn open(&self, path: &SitePath) -> io::Result<Found> {
        if !self.dot_files && path.has_dot_name() {
            return Ok(Found::Nothing);
        }
        // Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let fd = match self.open_beneath(path, flags) {
            Ok(fd) => fd,
            Err(shortage @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => {
                return Err(shortage.into());
            }
            Err(_) => return Ok(Found::Nothing),
        };
        let file = File::from(fd);
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            Ok(Found::Folder(file.into()))
        } else if metadata.is_file() && !path.ends_in_slash {
            let (length, modified_seconds) = (metadata.len(), metadata.mtime());
            Ok(Found::File(Opened {
                file,
                length,
                modified_seconds,
            }))
        } else {
            Ok(Found::Nothing)
        }
    }

    fn open_beneath(&self, path: &SitePath, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let relative = path.relative();
        for _ in 0..TRIES {
            match openat2(self.root.as_fd(), relative.as_str(), how) {
                Err(Errno::EAGAIN) => {}
                // An old kernel or a strict sandbox: go name by name and follow no link at all.
                Err(Errno::ENOSYS | Errno::EPERM) => return self.open_without_links(path, flags),
                opened => return opened,
            }
        }
        Err(Errno::EAGAIN)
    }

    fn open_without_links(&self, path: &SitePath, flags: OFlag) -> Result<OwnedFd, Errno> {
        let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut folder = openat(self.root.as_fd(), ".", step, Mode::empty())?;
        let Some((last, folders)) = path.names.split_last() else {
            return openat(folder.as_fd(), ".", flags, Mode::empty());
        };
        for name in folders {
            folder = openat(folder.as_fd(), name.as_str(), step, Mode::empty())?;
        }
        openat(
            folder.as_fd(),
            last.as_str(),
            flags | OFlag::O_NOFOLLOW,
            Mode::empty(),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn kind(site: &Site, path: &str) -> &'static str {
        let Ok(path) = SitePath::parse(path) else {
            return "refused";
        };
        match site.open(&path).unwrap() {
            Found::File(_) => "file",
            Found::Folder(_) => "folder",
            Found::Nothing => "nothing",
        }
    }

    fn folder() -> tempfile::TempDir {
        let all = tempfile::tempdir().unwrap();
        let root = all.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(root.join(".well-known")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(all.path().join("secret"), "no").unwrap();
        fs::write(root.join("a b.txt"), "yes").unwrap();
        fs::write(root.join("sub/ä.html"), "yes").unwrap();
        fs::write(root.join(".well-known/x"), "yes").unwrap();
        fs::write(root.join(".git/config"), "no").unwrap();
        fs::write(root.join(".env"), "no").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(all.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("sub/out")).unwrap();
        symlink("../..", root.join("sub/far-out")).unwrap();
        symlink("sub/ä.html", root.join("inside")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::S_IRWXU).unwrap();
        all
    }

    #[test]
    fn files_and_folders_beneath_the_root_are_found() {
        let all = folder();
        let site = Site::new(&all.path().join("root"), false).unwrap();
        for (path, expected) in [
            ("/", "folder"),
            ("/sub", "folder"),
            ("/sub/", "folder"),
            ("/a%20b.txt", "file"),
            ("//sub//./%C3%A4.html", "file"),
            ("/inside", "file"),
            ("/sub/out/a b.txt", "file"),
            ("/.well-known/x", "file"),
            ("/a%20b.txt/", "nothing"),
            ("/missing", "nothing"),
        ] {
            assert_eq!(kind(&site, path), expected, "{path}");
        }
    }

    #[test]
    fn nothing_outside_is_found_and_nothing_hidden() {
        let all = folder();
        let site = Site::new(&all.path().join("root"), false).unwrap();
        for path in [
            "/up",
            "/absolute",
            "/sub/far-out/secret",
            "/loop",
            "/pipe",
            "/.env",
            "/.git/config",
        ] {
            assert_eq!(kind(&site, path), "nothing", "{path}");
        }
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/sub/..%2f..%2fsecret",
            "/a%00b",
            "/%ff",
            "secret",
            "",
        ] {
            assert_eq!(kind(&site, path), "refused", "{path}");
        }
        let open = Site::new(&all.path().join("root"), true).unwrap();
        assert_eq!(kind(&open, "/.env"), "file");
    }

    #[test]
    fn the_slow_way_follows_no_link_at_all() {
        let all = folder();
        let site = Site::new(&all.path().join("root"), false).unwrap();
        let open = |path: &str| {
            site.open_without_links(&SitePath::parse(path).unwrap(), OFlag::O_RDONLY)
                .is_ok()
        };
        assert!(open("/") && open("/sub/ä.html") && open("/a%20b.txt"));
        assert!(!open("/inside") && !open("/sub/out/a%20b.txt") && !open("/up"));
    }

    const PARTS: &[&str] = &[
        "..", "%2e%2e", ".", "", "sub", "out", "far-out", "up", "secret", "%2f", "absolute",
    ];

    proptest::proptest! {
        #[test]
        fn no_path_reaches_the_secret(parts in proptest::collection::vec(
            proptest::sample::select(PARTS), 0..8)) {
            let all = folder();
            let site = Site::new(&all.path().join("root"), true).unwrap();
            let path = format!("/{}", parts.join("/"));
            proptest::prop_assert_ne!(kind(&site, &path), "file", "{}", path);
        }
    }
}

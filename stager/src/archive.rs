//! Zip archives from outside, turned into tar streams that a container unpacks.
//!
//! Nothing is written to the host: this side only reads the zip, checks names, counts and sizes,
//! and writes a tar stream into a pipe; the files come to be inside the container, made by its own
//! user. What the checks here miss, the kernel refuses there.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use tar::{EntryType, Header};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

/// Longest name of an entry, in bytes.
const MAX_NAME_BYTES: usize = 1024;
/// Longest single name in it: what file systems take.
const MAX_PART_BYTES: usize = 255;
/// Longest target of a symlink, in bytes.
const MAX_LINK_BYTES: u64 = 1024;
/// How much may be read to learn what is in an archive: this for each entry that is allowed, and
/// some more. It bounds the memory that a list of millions of names could take.
const DIRECTORY_BYTES_PER_ENTRY: u64 = 100;
const BASE_DIRECTORY_BYTES: u64 = 1024 * 1024;
/// Buffer between the archive and the pipe.
const BUFFER_BYTES: usize = 64 * 1024;

/// What may be in an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of all files, inflated.
    pub(crate) bytes: u64,
    /// Files and folders.
    pub(crate) entries: u64,
}

/// How files of an archive are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Mode of every file: zips made on some systems do not tell.
    pub(crate) file_mode: u32,
    /// When everything was last changed, in seconds since 1970. Zips and matched resources do not
    /// tell reliably, and a static file server needs every staging to have a time of its own.
    pub(crate) modified_seconds: u64,
}

/// An archive that is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("it is not a zip archive that can be read: {0}")]
    Zip(#[from] ZipError),
    #[error("it holds {name:?}, which is not a name within the app: {problem}")]
    Name { name: String, problem: &'static str },
    #[error("it has {count} entries, more than the {limit} allowed")]
    TooMany { count: u64, limit: u64 },
    #[error("its files come to more than the {limit} bytes allowed")]
    TooLarge { limit: u64 },
    #[error("{name:?} is broken")]
    Broken { name: String, source: io::Error },
    #[error("the tar stream cannot be written")]
    Write(#[source] io::Error),
}

impl ArchiveError {
    /// Whether it was only the reader of the stream that went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Writes the zip `archive` as a tar stream.
pub(crate) fn zip_to_tar(
    archive: File,
    to: impl Write,
    shape: Shape,
    limits: Limits,
) -> Result<(), ArchiveError> {
    let allowance = Cell::new(limits.entries * DIRECTORY_BYTES_PER_ENTRY + BASE_DIRECTORY_BYTES);
    let metered = Metered {
        from: archive,
        allowance: &allowance,
    };
    let mut zip = ZipArchive::new(BufReader::with_capacity(BUFFER_BYTES, metered))?;
    allowance.set(u64::MAX);
    let count = zip.len() as u64;
    if count > limits.entries {
        return Err(ArchiveError::TooMany {
            count,
            limit: limits.entries,
        });
    }
    let mut tar = TarStream {
        to: tar::Builder::new(BufWriter::with_capacity(BUFFER_BYTES, to)),
        shape,
        bytes_left: limits.bytes,
        limit: limits.bytes,
    };
    // Links come last: while files are being made there is none that a name could lead through.
    let mut links = Vec::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let name = checked_name(&entry.name()?)?;
        if entry.is_symlink() {
            links.push((target(&mut entry, &name)?, name));
        } else if name.is_empty() {
            // The root itself.
        } else if entry.is_dir() {
            tar.folder(&name)?;
        } else {
            tar.file(&name, &mut entry)?;
        }
    }
    for (target, name) in links {
        tar.link(&name, &target)?;
    }
    let mut buffered = tar.to.into_inner().map_err(ArchiveError::Write)?;
    buffered.flush().map_err(ArchiveError::Write)
}

/// Writes a tar stream with `folders`, and `files`, each a name and its content.
pub(crate) fn tar_of(
    folders: &[&str],
    files: &[(&str, &[u8])],
    to: impl Write,
    modified_seconds: u64,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(to));
    for name in folders {
        let mut header = header(EntryType::Directory, 0o755, modified_seconds);
        tar.append_data(&mut header, format!("{name}/"), io::empty())?;
    }
    for (name, content) in files {
        let mut header = header(EntryType::Regular, 0o644, modified_seconds);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content)?;
    }
    tar.into_inner()?.flush()
}

/// Reads as much as is allowed and then fails.
struct Metered<'a> {
    from: File,
    allowance: &'a Cell<u64>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        let left = self.allowance.get().checked_sub(n as u64);
        self.allowance
            .set(left.ok_or_else(|| io::Error::other("its table of contents is too large"))?);
        Ok(n)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.from.seek(to)
    }
}

struct TarStream<W: Write> {
    to: tar::Builder<W>,
    shape: Shape,
    bytes_left: u64,
    limit: u64,
}

impl<W: Write> TarStream<W> {
    fn folder(&mut self, name: &str) -> Result<(), ArchiveError> {
        let mut header = header(EntryType::Directory, 0o755, self.shape.modified_seconds);
        self.to
            .append_data(&mut header, format!("{name}/"), io::empty())
            .map_err(ArchiveError::Write)
    }

    /// A tar header promises a size, so the size that the zip claims is held to: a file that turns
    /// out longer is a bomb, one that turns out shorter is broken.
    fn file<R: Read>(
        &mut self,
        name: &str,
        entry: &mut ZipFile<'_, R>,
    ) -> Result<(), ArchiveError> {
        let size = entry.size();
        self.bytes_left = self
            .bytes_left
            .checked_sub(size)
            .ok_or(ArchiveError::TooLarge { limit: self.limit })?;
        let mut header = header(
            EntryType::Regular,
            self.shape.file_mode,
            self.shape.modified_seconds,
        );
        header.set_size(size);
        let mut content = Exactly {
            from: entry,
            left: size,
            failure: None,
        };
        let written = self.to.append_data(&mut header, name, &mut content);
        if let Some(source) = content.failure {
            return Err(ArchiveError::Broken {
                name: name.to_owned(),
                source,
            });
        }
        written.map_err(ArchiveError::Write)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<(), ArchiveError> {
        let mut header = header(EntryType::Symlink, 0o777, self.shape.modified_seconds);
        self.to
            .append_link(&mut header, name, target)
            .map_err(ArchiveError::Write)
    }
}

/// Reads exactly `left` bytes, checks that there are no more, and keeps what went wrong apart from
/// what may go wrong on the writing side.
struct Exactly<'a, R: ?Sized> {
    from: &'a mut R,
    left: u64,
    failure: Option<io::Error>,
}

impl<R: Read + ?Sized> Read for Exactly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.read_some(buffer) {
            Ok(n) => Ok(n),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

impl<R: Read + ?Sized> Exactly<'_, R> {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // This read also lets the zip reader compare the checksum.
            return match self.from.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other("it is longer than the archive says")),
            };
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        match self.from.read(&mut buffer[..most])? {
            0 => Err(io::Error::other("it is shorter than the archive says")),
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }
}

fn header(kind: EntryType, mode: u32, modified_seconds: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(modified_seconds);
    header
}

/// The name of an entry as a relative path of plain parts, empty for the root itself.
fn checked_name(given: &str) -> Result<String, ArchiveError> {
    let refused = |problem| ArchiveError::Name {
        name: shorten(given),
        problem,
    };
    if given.len() > MAX_NAME_BYTES {
        return Err(refused("it is too long"));
    }
    if given.starts_with('/') {
        return Err(refused("it is absolute"));
    }
    if given.contains('\0') {
        return Err(refused("it contains a zero byte"));
    }
    let mut parts = Vec::new();
    for part in given.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused("it leads upwards")),
            part if part.len() > MAX_PART_BYTES => return Err(refused("a part of it is too long")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Where a symlink points: not to an absolute path, and not above the root by its own dots. A link
/// that leads out through other links is refused where it is made.
fn target<R: Read>(entry: &mut ZipFile<'_, R>, name: &str) -> Result<String, ArchiveError> {
    let refused = |problem| ArchiveError::Name {
        name: shorten(name),
        problem,
    };
    let mut target = String::new();
    entry
        .take(MAX_LINK_BYTES + 1)
        .read_to_string(&mut target)
        .map_err(|source| ArchiveError::Broken {
            name: name.to_owned(),
            source,
        })?;
    if target.is_empty() || target.len() as u64 > MAX_LINK_BYTES || target.contains('\0') {
        return Err(refused("it is a link to nowhere"));
    }
    if target.starts_with('/') {
        return Err(refused("it is a link to an absolute path"));
    }
    let mut depth = name.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| refused("it is a link that leads out of the app"))?;
            }
            _ => depth += 1,
        }
    }
    Ok(target)
}

fn shorten(name: &str) -> String {
    name.chars().take(120).collect()
}

#[cfg(test)]
mod tests;

//! The zip of what the platform does not have yet.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use chrono::{DateTime, Datelike, Timelike, Utc};
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::files::{Entry, FilesError, Kind};

/// From this size on a file needs the zip64 form.
const LARGE_FILE: u64 = u32::MAX as u64;

/// Writes the entries into a temporary file, which goes away with the handle.
pub(crate) fn pack(entries: &[Entry]) -> Result<NamedTempFile, FilesError> {
    let temporary = || std::env::temp_dir();
    let file = tempfile::Builder::new()
        .prefix("cup-push-")
        .suffix(".zip")
        .tempfile()
        .map_err(|source| FilesError::Pack {
            path: temporary(),
            source,
        })?;
    let fail = |source| FilesError::Pack {
        path: file.path().to_owned(),
        source,
    };
    let mut zip = ZipWriter::new(io::BufWriter::with_capacity(64 * 1024, file.as_file()));
    for entry in entries {
        let read_failed = |source| FilesError::Read {
            path: entry.path.clone(),
            source,
        };
        let options = options(entry);
        match entry.kind {
            Kind::Folder => {
                zip.add_directory(format!("{}/", entry.name), options)
                    .map_err(|e| fail(e.into()))?;
            }
            Kind::File { .. } => {
                let mut source = File::open(&entry.path).map_err(read_failed)?;
                zip.start_file(entry.name.as_str(), options)
                    .map_err(|e| fail(e.into()))?;
                copy(&mut source, &mut zip, read_failed, fail)?;
            }
        }
    }
    let mut writer = zip.finish().map_err(|e| fail(e.into()))?;
    io::Write::flush(&mut writer).map_err(fail)?;
    drop(writer);
    Ok(file)
}

/// Like `io::copy`, but tells which side failed.
fn copy(
    source: &mut impl Read,
    sink: &mut impl io::Write,
    read_failed: impl Fn(io::Error) -> FilesError,
    write_failed: impl Fn(io::Error) -> FilesError,
) -> Result<(), FilesError> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => sink.write_all(&buffer[..read]).map_err(&write_failed)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_failed(error)),
        }
    }
}

fn options(entry: &Entry) -> SimpleFileOptions {
    let large = matches!(entry.kind, Kind::File { size } if size >= LARGE_FILE);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(entry.mode)
        .large_file(large);
    match modified(&entry.path) {
        Some(time) => options.last_modified_time(time),
        None => options,
    }
}

fn modified(path: &Path) -> Option<zip::DateTime> {
    let time: DateTime<Utc> = path.metadata().ok()?.modified().ok()?.into();
    zip::DateTime::from_date_and_time(
        u16::try_from(time.year()).ok()?,
        u8::try_from(time.month()).ok()?,
        u8::try_from(time.day()).ok()?,
        u8::try_from(time.hour()).ok()?,
        u8::try_from(time.minute()).ok()?,
        u8::try_from(time.second()).ok()?,
    )
    .ok()
}

/// Opens an archive that a person made, if it is one.
pub(crate) fn open(path: &Path) -> Result<File, FilesError> {
    let fail = |source| FilesError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(fail)?;
    if ZipArchive::new(&file).is_err() {
        return Err(FilesError::NotAnApp {
            path: path.to_owned(),
        });
    }
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::push::files::Tree;

    #[test]
    fn names_contents_and_modes_survive() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("bin/empty")).unwrap();
        fs::write(folder.path().join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::write(folder.path().join("ü.txt"), "hi").unwrap();
        fs::set_permissions(
            folder.path().join("bin/run"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        let tree = Tree::read(folder.path(), Path::new("/nowhere")).unwrap();
        let packed = pack(&tree.entries).unwrap();
        let mut zip = ZipArchive::new(packed.reopen().unwrap()).unwrap();
        let mut names: Vec<String> = zip
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["bin/", "bin/empty/", "bin/run", "ü.txt"]);
        let mut run = zip.by_name("bin/run").unwrap();
        assert_eq!(run.unix_mode().unwrap() & 0o777, 0o755);
        let mut content = String::new();
        run.read_to_string(&mut content).unwrap();
        assert_eq!(content, "#!/bin/sh\n");
        assert_eq!(
            run.last_modified().unwrap().year(),
            u16::try_from(crate::clock::now().year()).unwrap()
        );
    }

    #[test]
    fn only_a_zip_is_taken_for_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("a.txt");
        fs::write(&text, "no zip").unwrap();
        assert!(matches!(open(&text), Err(FilesError::NotAnApp { .. })));
        let zip = folder.path().join("a.zip");
        fs::copy(pack(&[]).unwrap().path(), &zip).unwrap();
        assert!(open(&zip).is_ok());
    }
}

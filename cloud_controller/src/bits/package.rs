//! Making a package out of an upload.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::archive::{self, Archive, Kind, Names};
use super::{BitsError, BitsLimits, Resource};

/// A package that is ready to be kept.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// The zip: the upload itself when nothing had to be added.
    pub(crate) zip: PathBuf,
    /// Files that the pool may want.
    pub(crate) pooled: Vec<Pooled>,
}

/// A file out of an upload, for the resource pool.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) sha1: String,
    pub(crate) file: PathBuf,
}

/// Checks an upload and makes it whole. Blocks; `folder` takes what is made.
///
/// `fetched` has a file for the digest of every resource.
///
/// # Errors
/// [`BitsError`]; the caller removes the folder.
pub(crate) fn assemble(
    upload: Option<&Path>,
    resources: &[Resource],
    fetched: &HashMap<String, PathBuf>,
    folder: &Path,
    limits: &BitsLimits,
) -> Result<Assembled, BitsError> {
    let mut names = Names::default();
    let mut left = limits.bytes;
    let mut pooled = Vec::new();
    if let Some(upload) = upload {
        inspect(upload, folder, limits, &mut names, &mut left, &mut pooled)?;
    }
    for resource in resources {
        names.take(&resource.name, Kind::Regular)?;
        left = left
            .checked_sub(resource.size)
            .ok_or_else(|| too_large(limits))?;
    }
    names.check()?;
    let zip = match upload {
        Some(upload) if resources.is_empty() => upload.to_owned(),
        _ => merge(upload, resources, fetched, folder, limits)?,
    };
    Ok(Assembled { zip, pooled })
}

/// Reads every entry to its end: counts its bytes, checks its sum, and keeps files for the pool.
fn inspect(
    upload: &Path,
    folder: &Path,
    limits: &BitsLimits,
    names: &mut Names,
    left: &mut u64,
    pooled: &mut Vec<Pooled>,
) -> Result<(), BitsError> {
    let mut archive = Archive::open(upload, limits)?;
    for index in 0..archive.zip.len() {
        let mut entry = archive
            .zip
            .by_index(index)
            .map_err(|e| archive::not_a_zip(&e))?;
        let name = archive::name(&entry)?;
        let kind = archive::kind(&entry, &name)?;
        names.take(&name, kind)?;
        match kind {
            Kind::Folder => {}
            Kind::Link => archive::check_target(&mut entry, &name)?,
            Kind::Regular => {
                let (least, most) = limits.pool_bytes;
                let keep = (entry.size() > least && entry.size() < most)
                    .then(|| folder.join(format!("pool-{index}")));
                let (sha1, bytes) = drain(&mut entry, &name, keep.as_deref(), *left, limits)?;
                *left -= bytes;
                if let Some(file) = keep
                    && bytes > least
                    && bytes < most
                {
                    pooled.push(Pooled { sha1, file });
                }
            }
        }
    }
    Ok(())
}

fn drain(
    entry: &mut impl Read,
    name: &str,
    keep: Option<&Path>,
    left: u64,
    limits: &BitsLimits,
) -> Result<(String, u64), BitsError> {
    let mut kept = match keep {
        Some(file) => Some(File::create(file).map_err(BitsError::io("unpack the upload"))?),
        None => None,
    };
    let mut hash = Sha1::new();
    let mut bytes = 0_u64;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = entry
            .read(&mut buffer)
            .map_err(|error| BitsError::Invalid(format!("{name:?} cannot be unpacked: {error}")))?;
        if read == 0 {
            return Ok((hex::encode(hash.finalize()), bytes));
        }
        bytes += read as u64;
        if bytes > left {
            return Err(too_large(limits));
        }
        hash.update(&buffer[..read]);
        if let Some(file) = &mut kept {
            file.write_all(&buffer[..read])
                .map_err(BitsError::io("unpack the upload"))?;
        }
    }
}

/// A zip of the upload's entries, as they are, and the resources.
fn merge(
    upload: Option<&Path>,
    resources: &[Resource],
    fetched: &HashMap<String, PathBuf>,
    folder: &Path,
    limits: &BitsLimits,
) -> Result<PathBuf, BitsError> {
    let failed = |error: zip::result::ZipError| BitsError::Io {
        action: "write the package",
        source: io::Error::other(error),
    };
    let path = folder.join("package.zip");
    let out = File::create(&path).map_err(BitsError::io("write the package"))?;
    let mut writer = ZipWriter::new(BufWriter::new(out));
    if let Some(upload) = upload {
        let mut archive = Archive::open(upload, limits)?;
        for index in 0..archive.zip.len() {
            let entry = archive
                .zip
                .by_index_raw(index)
                .map_err(|e| archive::not_a_zip(&e))?;
            writer.raw_copy_file(entry).map_err(failed)?;
        }
    }
    for resource in resources {
        let file = fetched.get(&resource.sha1).ok_or_else(|| {
            BitsError::Invalid(format!(
                "the file {:?} is not known; send it",
                resource.name
            ))
        })?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(resource.mode);
        writer
            .start_file(resource.name.as_str(), options)
            .map_err(failed)?;
        let mut source =
            BufReader::new(File::open(file).map_err(BitsError::io("read a pooled file"))?);
        io::copy(&mut source, &mut writer).map_err(BitsError::io("write the package"))?;
    }
    let mut out = writer.finish().map_err(failed)?;
    out.flush().map_err(BitsError::io("write the package"))?;
    Ok(path)
}

fn too_large(limits: &BitsLimits) -> BitsError {
    let most = limits.bytes / (1024 * 1024);
    BitsError::Invalid(format!(
        "the package is larger than {most} MB when unpacked"
    ))
}

#[cfg(test)]
mod tests;

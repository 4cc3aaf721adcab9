#![allow(clippy::unwrap_used, reason = "a test may panic")]

use zip::ZipArchive;

use super::*;

const LIMITS: BitsLimits = BitsLimits {
    bytes: 1024 * 1024,
    entries: 100,
    pool_bytes: (4, 1024),
};

/// An entry: name, contents, unix mode with its kind bits.
type Entry<'a> = (&'a str, &'a [u8], u32);

fn zip_of(folder: &Path, entries: &[Entry<'_>]) -> PathBuf {
    let path = folder.join("upload.zip");
    let mut writer = ZipWriter::new(File::create(&path).unwrap());
    for (name, contents, mode) in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(mode & 0o777);
        if mode & 0o170_000 == 0o120_000 {
            let target = std::str::from_utf8(contents).unwrap();
            writer.add_symlink(*name, target, options).unwrap();
        } else if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(contents).unwrap();
        }
    }
    writer.finish().unwrap();
    path
}

fn refused(entries: &[Entry<'_>]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let upload = zip_of(folder.path(), entries);
    match assemble(Some(&upload), &[], &HashMap::new(), folder.path(), &LIMITS) {
        Err(BitsError::Invalid(what)) => what,
        other => panic!("{entries:?} gave {other:?}"),
    }
}

fn resource(name: &str, contents: &[u8], folder: &Path) -> (Resource, HashMap<String, PathBuf>) {
    let file = folder.join("fetched");
    std::fs::write(&file, contents).unwrap();
    let sha1 = hex::encode(Sha1::digest(contents));
    let size = contents.len() as u64;
    let resource = Resource {
        name: name.into(),
        sha1: sha1.clone(),
        size,
        mode: 0o755,
    };
    (resource, HashMap::from([(sha1, file)]))
}

#[test]
fn an_upload_without_resources_is_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let entries: [Entry<'_>; 4] = [
        ("index.html", b"hello, world", 0o100_644),
        ("small", b"abc", 0o100_644),
        ("dir/", b"", 0o040_755),
        ("dir/link", b"../index.html", 0o120_777),
    ];
    let upload = zip_of(folder.path(), &entries);
    let made = assemble(Some(&upload), &[], &HashMap::new(), folder.path(), &LIMITS).unwrap();
    assert_eq!(made.zip, upload);
    assert_eq!(
        made.pooled.len(),
        1,
        "only what is larger than the pool's minimum"
    );
    assert_eq!(
        made.pooled[0].sha1,
        hex::encode(Sha1::digest(b"hello, world"))
    );
    assert_eq!(
        std::fs::read(&made.pooled[0].file).unwrap(),
        b"hello, world"
    );
}

#[test]
fn resources_are_added_with_their_modes() {
    let folder = tempfile::tempdir().unwrap();
    let upload = zip_of(folder.path(), &[("a.txt", b"alpha", 0o100_600)]);
    let (known, fetched) = resource("bin/run", b"#!/bin/sh", folder.path());
    let made = assemble(Some(&upload), &[known], &fetched, folder.path(), &LIMITS).unwrap();
    let mut zip = ZipArchive::new(File::open(made.zip).unwrap()).unwrap();
    assert_eq!(zip.len(), 2);
    assert_eq!(zip.by_name("a.txt").unwrap().unix_mode(), Some(0o100_600));
    let mut added = zip.by_name("bin/run").unwrap();
    assert_eq!(added.unix_mode(), Some(0o100_755));
    let mut text = String::new();
    added.read_to_string(&mut text).unwrap();
    assert_eq!(text, "#!/bin/sh");
}

#[test]
fn resources_alone_make_a_package() {
    let folder = tempfile::tempdir().unwrap();
    let (known, fetched) = resource("only", b"content", folder.path());
    let made = assemble(None, &[known], &fetched, folder.path(), &LIMITS).unwrap();
    assert_eq!(
        ZipArchive::new(File::open(made.zip).unwrap())
            .unwrap()
            .len(),
        1
    );
    assert!(made.pooled.is_empty());
}

#[test]
fn refuses_names_that_leave_the_root() {
    for name in [
        "../evil",
        "a/../../evil",
        "/etc/cron.d/evil",
        "a\\..\\..\\evil",
    ] {
        refused(&[(name, b"x", 0o100_644)]);
    }
}

#[test]
fn refuses_links_that_leave_the_root() {
    for target in ["/etc/passwd", "../../etc/passwd", "..", "a/../../b"] {
        let what = refused(&[("link", target.as_bytes(), 0o120_777)]);
        assert!(what.contains("link"), "{what}");
    }
}

#[test]
fn refuses_files_below_links_and_names_that_clash() {
    refused(&[("d", b"e", 0o120_777), ("d/file", b"x", 0o100_644)]);
    refused(&[("d/file", b"x", 0o100_644), ("d", b"e", 0o120_777)]);
    refused(&[("a/b", b"e", 0o120_777), ("a/./b", b"x", 0o100_644)]);
}

#[test]
fn refuses_resources_that_clash_with_the_upload() {
    let folder = tempfile::tempdir().unwrap();
    let upload = zip_of(folder.path(), &[("a", b"b", 0o120_777)]);
    let (known, fetched) = resource("a/x", b"content", folder.path());
    let outcome = assemble(Some(&upload), &[known], &fetched, folder.path(), &LIMITS);
    assert!(matches!(outcome, Err(BitsError::Invalid(_))));
}

#[test]
fn refuses_a_bomb_while_it_unpacks() {
    let zeros = vec![0; 2 * 1024 * 1024];
    let what = refused(&[("bomb", &zeros, 0o100_644)]);
    assert!(what.contains("larger than 1 MB"), "{what}");
    let half = vec![0; 600 * 1024];
    refused(&[("one", &half, 0o100_644), ("two", &half, 0o100_644)]);
}

#[test]
fn refuses_too_many_entries() {
    let names: Vec<String> = (0..101).map(|n| format!("f{n}")).collect();
    let entries: Vec<Entry<'_>> = names
        .iter()
        .map(|name| (name.as_str(), &b""[..], 0o100_644))
        .collect();
    assert!(refused(&entries).contains("100 entries"));
}

#[test]
fn refuses_what_is_no_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upload.zip");
    for junk in [&b""[..], b"hello", &[0; 5000], b"PK\x05\x06"] {
        std::fs::write(&path, junk).unwrap();
        let outcome = assemble(Some(&path), &[], &HashMap::new(), folder.path(), &LIMITS);
        assert!(matches!(outcome, Err(BitsError::Invalid(_))), "{outcome:?}");
    }
}

#[test]
fn refuses_an_archive_whose_contents_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let upload = zip_of(folder.path(), &[("a.txt", &[7; 300], 0o100_644)]);
    let mut bytes = std::fs::read(&upload).unwrap();
    bytes[40] ^= 0xff;
    std::fs::write(&upload, bytes).unwrap();
    let outcome = assemble(Some(&upload), &[], &HashMap::new(), folder.path(), &LIMITS);
    assert!(matches!(outcome, Err(BitsError::Invalid(_))), "{outcome:?}");
}

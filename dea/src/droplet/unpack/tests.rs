#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::MetadataExt as _;

use tar::{Builder, Header};

use super::*;

const LIMITS: ArchiveLimits = ArchiveLimits {
    max_bytes: 1 << 20,
    max_entries: 100,
};

struct Hostile(Builder<Vec<u8>>);

impl Hostile {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Writes the name into the header itself, since the builder refuses hostile ones.
    fn add(mut self, kind: EntryType, name: &str, link: &str, mode: u32, body: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_400_000_000);
        header.set_size(body.len() as u64);
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, body).unwrap();
        self
    }

    fn file(self, name: &str, body: &[u8]) -> Self {
        self.add(EntryType::Regular, name, "", 0o644, body)
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, 0o777, b"")
    }
}

fn run(archive: Hostile) -> (tempfile::TempDir, Result<u64, UnpackError>) {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(base.path().join("outside"), "untouched").unwrap();
    let result = unpack(&archive.0.into_inner().unwrap()[..], &root, LIMITS);
    assert_eq!(
        fs::read_to_string(base.path().join("outside")).unwrap(),
        "untouched"
    );
    (base, result)
}

#[test]
fn keeps_files_links_modes_and_times_but_no_set_id_bits() {
    let archive = Hostile::new()
        .add(EntryType::Directory, "./", "", 0o755, b"")
        .add(EntryType::Directory, "./app/", "", 0o555, b"")
        .add(EntryType::Regular, "./app/run", "", 0o6755, b"#!/bin/sh\n")
        .add(EntryType::Regular, "./app/secret", "", 0o600, b"key")
        .link("./app/etc", "/etc")
        .add(EntryType::Link, "./app/again", "./app/run", 0o755, b"");
    let (base, result) = run(archive);
    assert_eq!(result.unwrap(), 13);
    let app = base.path().join("root/app");
    let run = fs::metadata(app.join("run")).unwrap();
    assert_eq!((run.mode() & 0o7777, run.mtime()), (0o755, 1_400_000_000));
    assert_eq!(
        fs::metadata(app.join("secret")).unwrap().mode() & 0o7777,
        0o600
    );
    assert_eq!(fs::read_link(app.join("etc")).unwrap(), Path::new("/etc"));
    assert_eq!(fs::metadata(app.join("again")).unwrap().ino(), run.ino());
    assert_eq!(fs::metadata(&app).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let (base, result) = run(Hostile::new()
        .file("a", b"first")
        .link("a", "../outside")
        .file("a", b"last"));
    result.unwrap();
    assert_eq!(
        fs::read_to_string(base.path().join("root/a")).unwrap(),
        "last"
    );
}

#[test]
fn refuses_what_would_leave_the_folder() {
    let hard = |archive: Hostile, target| archive.add(EntryType::Link, "a", target, 0o644, b"");
    let cases = [
        Hostile::new().file("../outside", b"x"),
        Hostile::new().file("/tmp/outside", b"x"),
        Hostile::new().file("app/../../outside", b"x"),
        Hostile::new().link("up", "..").file("up/outside", b"x"),
        Hostile::new()
            .link("etc", "/etc")
            .file("etc/cupola-test", b"x"),
        Hostile::new()
            .link("up", "..")
            .add(EntryType::Directory, "up/", "", 0o777, b""),
        hard(Hostile::new(), "../outside"),
        hard(Hostile::new().link("up", ".."), "up/outside"),
        hard(Hostile::new().link("s", "../outside"), "s"),
        hard(Hostile::new(), "a"),
    ];
    for (number, archive) in cases.into_iter().enumerate() {
        let (base, result) = run(archive);
        let error = result.expect_err("a hostile entry was accepted");
        assert!(
            matches!(error, UnpackError::Escape { .. }),
            "case {number}: {error}"
        );
        assert!(!base.path().join("root/a").exists());
    }
}

#[test]
fn refuses_devices_and_pipes_and_stops_at_the_limits() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let (_, result) = run(Hostile::new().add(kind, "dev", "", 0o666, b""));
        assert!(matches!(result, Err(UnpackError::Kind { .. })));
    }
    let (_, result) = run(Hostile::new().file("big", &vec![0; (1 << 20) + 1]));
    assert!(matches!(result, Err(UnpackError::TooLarge { .. })));
    let many = (0..=LIMITS.max_entries).fold(Hostile::new(), |a, n| a.file(&n.to_string(), b""));
    assert!(matches!(run(many).1, Err(UnpackError::TooMany { .. })));
    let deep = format!("{}f", "d/".repeat(45));
    assert!(run(Hostile::new().file(&deep, b"")).1.is_ok());
}

#[test]
fn a_cut_archive_is_an_error() {
    let whole = Hostile::new().file("a", &[7; 2000]).0.into_inner().unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert!(unpack(&whole[..1500], dir.path(), LIMITS).is_err());
}

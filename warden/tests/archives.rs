//! Archives, the well-meant and the others.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::Path,
};

use common::{House, LONG, image, ok};
use cupola_warden::{Container, Links, Pack, Unpack, WardenError};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

/// An entry with a name of any bytes: what no honest archiver would write.
fn entry(archive: &mut Builder<Vec<u8>>, kind: EntryType, name: &[u8], link: &[u8], body: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    archive.append(&header, body).unwrap();
}

fn archive(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().unwrap()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn unpack(container: &Container, bytes: &[u8], order: &Unpack) -> Result<u64, String> {
    match container.unpack(file_of(bytes), order, LONG) {
        Ok(report) => Ok(report.entries),
        Err(WardenError::Refused { message, .. }) => Err(message),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn privileged_a_folder_comes_back_as_it_was() {
    let house = House::new();
    let container = house.create("pack");
    ok(
        &container,
        "mkdir -p app/bin app/empty && echo 'echo ran' > app/bin/run && chmod 755 app/bin/run && \
         ln -s bin/run app/start && ln -s /usr/bin/env app/env && chmod 2775 app/empty && \
         n=$(printf 'n%.0s' $(seq 1 120)) && mkdir -p app/$n/$n && echo deep > app/$n/$n/$n && \
         mkfifo app/pipe && chmod 4755 app/bin/run && mkdir app/left-out && touch app/left-out/x",
    );
    let mut droplet = tempfile::tempfile().unwrap();
    let mut order = Pack::from_dir("/home/vcap/app");
    order.exclude.push("left-out".to_owned());
    let packed = container.pack(&order, &droplet, LONG).unwrap();
    assert_eq!(packed.skipped, 1);
    let other = house.create("unpack");
    let mut order = Unpack::into_dir("/home/vcap/app");
    order.links = Links::Any;
    droplet.rewind().unwrap();
    let unpacked = other.unpack(&droplet, &order, LONG).unwrap();
    assert_eq!(
        (unpacked.entries, unpacked.bytes),
        (packed.entries, packed.bytes)
    );
    assert_eq!(ok(&other, "app/start"), "ran\n");
    assert_eq!(
        ok(&other, "readlink app/env; stat -c %a app/bin/run app/empty"),
        "/usr/bin/env\n755\n775\n"
    );
    assert_eq!(
        ok(
            &other,
            "cat app/n*/n*/n*; ls app | wc -l; stat -c %U app/bin/run"
        ),
        "deep\n5\nvcap\n"
    );
    // Links out are the exception, not the rule.
    droplet.rewind().unwrap();
    let error = other
        .unpack(&droplet, &Unpack::into_dir("/tmp/strict"), LONG)
        .unwrap_err();
    assert!(error.to_string().contains("a link that leaves"), "{error}");
}

#[test]
fn privileged_an_archive_reaches_nothing_but_its_folder() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let house = House::new();
    let container = house.create("evil");
    ok(
        &container,
        "mkdir outside target; echo safe > outside/file; mkdir outside/dir",
    );
    let order = Unpack::into_dir("/home/vcap/target");
    let any = Unpack {
        links: Links::Any,
        ..order.clone()
    };
    type Entries<'a> = &'a [(EntryType, &'a [u8], &'a [u8])];
    let evil: [(&str, Entries<'_>); 14] = [
        ("..", &[(Regular, b"../outside/file", b"")]),
        ("..", &[(Regular, b"a/../../outside/file", b"")]),
        ("absolute", &[(Regular, b"/home/vcap/outside/file", b"")]),
        ("leaves", &[(Symlink, b"up", b"../outside")]),
        ("leaves", &[(Symlink, b"a/b/up", b"../../../outside")]),
        ("leaves", &[(Symlink, b"root", b"/home/vcap/outside")]),
        (
            "enter the folder",
            &[
                (Symlink, b"l", b"/home/vcap/outside"),
                (Regular, b"l/file", b""),
            ],
        ),
        (
            "enter the folder",
            &[(Symlink, b"l", b"../outside"), (Directory, b"l/new", b"")],
        ),
        ("..", &[(Link, b"hard", b"../outside/file")]),
        ("absolute", &[(Link, b"hard", b"/home/vcap/outside/file")]),
        (
            "linked to",
            &[(Symlink, b"l", b"../outside"), (Link, b"hard", b"l/file")],
        ),
        ("kind Char", &[(Char, b"null", b"")]),
        ("kind Block", &[(Block, b"disk", b"")]),
        ("kind Fifo", &[(Fifo, b"pipe", b"")]),
    ];
    for (reason, entries) in evil {
        let bytes = archive(|builder| {
            for (kind, name, link) in entries {
                let body: &[u8] = if *kind == Regular {
                    b"overwritten"
                } else {
                    b""
                };
                entry(builder, *kind, name, link, body);
            }
        });
        // Two entries: the first is allowed, so that the second is what is tried.
        let order = if entries.len() > 1 { &any } else { &order };
        let error = unpack(&container, &bytes, order).unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
        assert_eq!(
            ok(&container, "cat outside/file; ls -A outside outside/dir"),
            "safe\noutside:\ndir\nfile\n\noutside/dir:\n"
        );
        ok(&container, "rm -rf target; mkdir target");
    }
}

#[test]
fn privileged_a_file_through_a_link_to_a_file_replaces_the_link() {
    let house = House::new();
    let container = house.create("replace");
    ok(&container, "mkdir target; echo safe > file");
    let bytes = archive(|builder| {
        entry(builder, EntryType::Symlink, b"l", b"/home/vcap/file", b"");
        entry(builder, EntryType::Regular, b"l", b"", b"new");
        entry(builder, EntryType::Regular, b"twice", b"", b"first");
        entry(builder, EntryType::Regular, b"twice", b"", b"second");
        entry(builder, EntryType::Regular, b"bytes-\xff\xfe", b"", b"x");
    });
    let mut order = Unpack::into_dir("/home/vcap/target");
    order.links = Links::Any;
    assert_eq!(unpack(&container, &bytes, &order), Ok(5));
    assert_eq!(
        ok(
            &container,
            "cat file target/l target/twice; ls target | wc -l"
        ),
        "safe\nnewsecond3\n"
    );
}

#[test]
fn privileged_archives_are_bounded() {
    let house = House::new();
    let container = house.with("bounds", image(64 << 20));
    let order = Unpack {
        bytes_max: 1 << 20,
        entries_max: 100,
        ..Unpack::into_dir("/home/vcap/target")
    };
    let many = archive(|builder| {
        for number in 0..101 {
            entry(
                builder,
                EntryType::Regular,
                format!("f{number}").as_bytes(),
                b"",
                b"",
            );
        }
    });
    assert!(
        unpack(&container, &many, &order)
            .unwrap_err()
            .contains("100 entries")
    );
    // A bomb: little on the way, much at home.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&archive(|b| {
        entry(b, EntryType::Regular, b"bomb", b"", &vec![0; 8 << 20])
    }))
    .unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 20_000);
    assert!(
        unpack(&container, &bomb, &order)
            .unwrap_err()
            .contains("1048576 bytes")
    );
    for broken in [
        &bomb[..bomb.len() / 2],
        b"not an archive at all, but long enough to be read",
    ] {
        let wide = Unpack {
            bytes_max: 1 << 30,
            ..order.clone()
        };
        assert!(
            unpack(&container, broken, &wide)
                .unwrap_err()
                .contains("read")
        );
    }
    let full = archive(|b| entry(b, EntryType::Regular, b"full", b"", &vec![1; 80 << 20]));
    let wide = Unpack {
        bytes_max: 1 << 30,
        ..order
    };
    let error = unpack(&container, &full, &wide).unwrap_err();
    assert!(error.contains("No space left"), "{error}");
}

#[test]
fn privileged_an_archive_may_come_through_a_pipe() {
    let house = House::new();
    let container = house.create("pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    let sender = std::thread::spawn(move || {
        let mut builder = Builder::new(writer);
        let mut header = Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(3 << 20);
        builder
            .append_data(&mut header, Path::new("big"), &*vec![7; 3 << 20])
            .unwrap();
        builder.finish().unwrap();
    });
    let report = container
        .unpack(&reader, &Unpack::into_dir("/home/vcap/x"), LONG)
        .unwrap();
    sender.join().unwrap();
    assert_eq!((report.entries, report.bytes), (1, 3 << 20));
    assert_eq!(ok(&container, "stat -c '%s %a' x/big"), "3145728 600\n");
}

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const SHAPE: Shape = Shape {
    file_mode: 0o744,
    modified_seconds: 1_700_000_000,
};
const LIMITS: Limits = Limits {
    bytes: 1_000_000,
    entries: 100,
};

fn zip(fill: impl FnOnce(&mut ZipWriter<File>)) -> File {
    let mut writer = ZipWriter::new(tempfile::tempfile().unwrap());
    fill(&mut writer);
    let mut file = writer.finish().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn with_file(name: &str, content: &[u8]) -> File {
    zip(|writer| {
        writer
            .start_file(name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    })
}

fn convert(archive: File) -> Result<BTreeMap<String, String>, ArchiveError> {
    let mut stream = Vec::new();
    zip_to_tar(archive, &mut stream, SHAPE, LIMITS)?;
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(&stream[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.mtime().unwrap(), SHAPE.modified_seconds);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = String::new();
        match entry.header().entry_type() {
            EntryType::Symlink => {
                content = format!(
                    "-> {}",
                    entry.link_name().unwrap().unwrap().to_str().unwrap()
                );
            }
            _ => drop(entry.read_to_string(&mut content).unwrap()),
        }
        found.insert(name, content);
    }
    Ok(found)
}

fn refusal(archive: File) -> String {
    convert(archive).unwrap_err().to_string()
}

#[test]
fn files_folders_and_links_come_out_plain() {
    let long = format!("deep/{}/{}", "a".repeat(200), "b".repeat(100));
    let found = convert(zip(|writer| {
        let options = SimpleFileOptions::default();
        writer.add_directory("empty/", options).unwrap();
        writer
            .start_file("./sub//file.txt", options.unix_permissions(0o4755))
            .unwrap();
        writer.write_all(b"content").unwrap();
        writer
            .add_symlink("sub/link", "../empty/./x", options)
            .unwrap();
        writer.start_file(long.as_str(), options).unwrap();
        writer.start_file("none", options).unwrap();
    }))
    .unwrap();
    let expected = [
        ("empty/", ""),
        ("none", ""),
        ("sub/file.txt", "content"),
        ("sub/link", "-> ../empty/x"),
    ];
    for (name, content) in expected {
        assert_eq!(
            found.get(name).map(String::as_str),
            Some(content),
            "{name} in {found:?}"
        );
    }
    assert!(found.contains_key(&long));
    assert_eq!(found.len(), expected.len() + 1);
}

#[test]
fn an_empty_archive_is_fine() {
    assert!(convert(zip(|_| ())).unwrap().is_empty());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../evil", "a/../../evil", "/etc/passwd", "a/..", "x\0y"] {
        let said = refusal(with_file(name, b"x"));
        assert!(
            said.contains("not a name within the app"),
            "{name:?}: {said}"
        );
    }
    assert!(refusal(with_file(&"x".repeat(300), b"")).contains("too long"));
    assert!(refusal(with_file(&"x/".repeat(600), b"")).contains("too long"));
}

#[test]
fn links_that_lead_out_are_refused() {
    let link = |name: &str, to: &str| {
        zip(|writer| {
            writer
                .add_symlink(name, to, SimpleFileOptions::default())
                .unwrap()
        })
    };
    for (name, to) in [
        ("a", "/etc/passwd"),
        ("a", ".."),
        ("sub/a", "../../x"),
        ("a", "b/../../c"),
        ("a", ""),
    ] {
        let said = refusal(link(name, to));
        assert!(said.contains("a link"), "{name} -> {to}: {said}");
    }
    assert!(convert(link("sub/a", "../x")).is_ok());
}

#[test]
fn bombs_are_refused_by_what_they_claim_and_by_what_they_are() {
    let said = refusal(with_file("zeros", &vec![0; 1_000_001]));
    assert!(said.contains("more than the 1000000 bytes"), "{said}");
    let many = zip(|writer| {
        for number in 0..101 {
            writer
                .start_file(number.to_string(), SimpleFileOptions::default())
                .unwrap();
        }
    });
    assert!(refusal(many).contains("101 entries"));

    // A file that claims to be small: the size lies in the central directory and in the local
    // header.
    let mut honest = with_file("zeros", &vec![0; 500_000]);
    let mut bytes = Vec::new();
    honest.read_to_end(&mut bytes).unwrap();
    let claimed = 500_000u32.to_le_bytes();
    let mut at = 0;
    let mut changed = 0;
    while let Some(found) = bytes[at..].windows(4).position(|window| window == claimed) {
        at += found;
        bytes[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
        changed += 1;
    }
    assert!(changed >= 1);
    let mut liar = tempfile::tempfile().unwrap();
    liar.write_all(&bytes).unwrap();
    liar.seek(SeekFrom::Start(0)).unwrap();
    assert!(convert(liar).is_err());
}

#[test]
fn what_is_no_zip_is_refused() {
    for content in [&b""[..], b"PK", b"<html>404</html>", &[0; 5000]] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(refusal(file).contains("not a zip archive"), "{content:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_told_from_a_broken_archive() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let archive = with_file("big", &vec![1; 300_000]);
    let error = zip_to_tar(archive, Gone, SHAPE, LIMITS).unwrap_err();
    assert!(error.is_broken_pipe(), "{error:?}");
}

proptest::proptest! {
    #[test]
    fn checked_names_stay_below(parts in proptest::collection::vec(
        proptest::sample::select(vec!["..", ".", "", "a", "b", "\\", " ", "ä", "~"]), 0..8)) {
        if let Ok(name) = checked_name(&parts.join("/")) {
            proptest::prop_assert!(!name.starts_with('/'));
            let plain = |part: &str| !matches!(part, "" | "." | "..");
            proptest::prop_assert!(name.is_empty() || name.split('/').all(plain));
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(cut in 0usize..400, at in 0usize..400, byte in 0u8..=255) {
        let mut archive = zip(|writer| {
            writer.start_file("a/b.txt", SimpleFileOptions::default()).unwrap();
            writer.write_all(b"some content, some content").unwrap();
            writer.add_symlink("link", "a/b.txt", SimpleFileOptions::default()).unwrap();
        });
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut % 64));
        let mut broken = tempfile::tempfile().unwrap();
        broken.write_all(&bytes).unwrap();
        broken.seek(SeekFrom::Start(0)).unwrap();
        if let Ok(found) = convert(broken) {
            let stays = |name: &String| name == "tmp/" || name.starts_with("");
            proptest::prop_assert!(found.keys().all(stays), "{:?}", found);
        }
    }
}

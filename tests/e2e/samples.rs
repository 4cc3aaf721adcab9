//! Each sample is pushed and answers through the router.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use cupola_testkit::{Platform, eventually, example};

fn push(platform: &Platform, sample: &str) {
    let folder = example(sample);
    platform
        .cup(&["push", sample, "-p", folder.to_str().unwrap()])
        .succeeds();
}

#[test]
fn a_static_site_is_served_with_its_files() {
    let platform = Platform::start();
    push(&platform, "static-site");
    let page = platform.get("static-site", "/");
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html"),
        "{page:?}"
    );
    assert!(page.header("x-vcap-request-id").is_some(), "{page:?}");
    assert_eq!(platform.get("static-site", "/no-such-file").status, 404);
    let outside = platform.get("static-site", "/../../etc/passwd");
    assert!([400, 404].contains(&outside.status), "{outside:?}");
    assert_eq!(
        platform.get("static-site", "/Staticfile").status,
        404,
        "settings are not content"
    );
}

#[test]
fn a_python_app_sees_its_environment() {
    let platform = Platform::start();
    let folder = example("python-web");
    let manifest = folder.join("manifest.yml");
    let (folder, manifest) = (folder.to_str().unwrap(), manifest.to_str().unwrap());
    platform
        .cup(&["push", "python-web", "-f", manifest, "-p", folder])
        .succeeds();
    let answer = platform.get("python-web", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.body;
    for part in [
        "python-web",
        "hello from the manifest",
        "8080",
        "instance_id",
        "application_id",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    eventually(
        "all sources are in the log",
        Duration::from_secs(10),
        || {
            let log = platform.cup(&["logs", "python-web", "--recent"]).stdout;
            ["[RTR/", "[STG/", "[APP/", "[DEA/", "[API/"]
                .iter()
                .all(|source| log.contains(source))
        },
    );

    // A variable changes with the next start, and is not expanded by a shell on its way.
    platform
        .cup(&["set-env", "python-web", "GREETING", "$HOME `id` \"quoted\""])
        .succeeds();
    platform.cup(&["restart", "python-web"]).succeeds();
    let said = platform.wait_for("python-web", "/env/GREETING", 200).body;
    assert_eq!(said.trim(), "$HOME `id` \"quoted\"");
}

#[test]
fn a_node_app_echoes_over_a_websocket() {
    let platform = Platform::start();
    push(&platform, "node-web");
    assert_eq!(platform.get("node-web", "/health").status, 200);

    let mut socket = TcpStream::connect(platform.address("router", "http")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let host = platform.host("node-web");
    write!(
        socket,
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.to_lowercase().contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    // A masked text frame, its mask all zero; the echo comes back unmasked.
    socket
        .write_all(&[0x81, 0x85, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'])
        .unwrap();
    let mut echo = [0; 7];
    socket.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x81\x05hello");
}

#[test]
fn a_compiled_program_runs_as_it_is() {
    let platform = Platform::start();
    let source = example("binary-web");
    let build = platform.scratch("binary");
    std::fs::create_dir(&build).unwrap();
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-O", "-o"])
        .arg(build.join("binary-web"))
        .arg(source.join("main.rs"))
        .status()
        .unwrap();
    assert!(compiled.success());
    platform
        .cup(&[
            "push",
            "binary-web",
            "-p",
            build.to_str().unwrap(),
            "-b",
            "binary",
            "-c",
            "./binary-web",
            "-m",
            "32M",
        ])
        .succeeds();
    assert_eq!(platform.get("binary-web", "/").status, 200);
}

#[test]
fn a_push_again_replaces_the_app_and_the_ignore_file_is_honoured() {
    let platform = Platform::start();
    let site = platform.scratch("site");
    std::fs::create_dir_all(site.join("private")).unwrap();
    std::fs::write(site.join("index.html"), "first\n").unwrap();
    std::fs::write(site.join("private/notes.txt"), "not for the world\n").unwrap();
    std::fs::write(site.join(".cfignore"), "private/\n").unwrap();
    let push = || {
        platform
            .cup(&["push", "site", "-p", site.to_str().unwrap(), "-m", "32M"])
            .succeeds()
    };
    push();
    assert_eq!(platform.get("site", "/").body, "first\n");
    assert_eq!(platform.get("site", "/private/notes.txt").status, 404);
    std::fs::write(site.join("index.html"), "second\n").unwrap();
    push();
    assert_eq!(platform.get("site", "/").body, "second\n");
}

//! The real program, spoken to over a real socket.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cupola_testkit::Listening;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Server(Listening);

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Server {
    fn start(root: &Path, more: &[&str]) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_cupola-staticfile"));
        let server = server.args(["--port", "0", "--root"]).arg(root).args(more);
        Self(Listening::start(server))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.0.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask("GET", path, headers)
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, method, path, headers);
        read(&mut BufReader::new(stream), method)
    }

    fn terminate(self) -> Option<i32> {
        kill(
            Pid::from_raw(self.0.pid().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        self.0.ends().code()
    }
}

fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &str) {
    // In one write: pieces would wait for each other's acknowledgement.
    let head = format!("{method} {path} HTTP/1.1\r\nHost: site.test:80\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
}

fn read(stream: &mut BufReader<TcpStream>, method: &str) -> Answer {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no status in {line:?}"))
        .parse()
        .unwrap();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse::<usize>().unwrap());
    let mut body = vec![
        0;
        if method == "HEAD" || status == 304 {
            0
        } else {
            length
        }
    ];
    stream.read_exact(&mut body).unwrap();
    Answer {
        status,
        headers,
        body,
    }
}

fn site() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("index.html"), "<h1>home</h1>").unwrap();
    fs::create_dir_all(root.path().join("docs/empty")).unwrap();
    fs::write(root.path().join("docs/index.html"), "docs").unwrap();
    fs::write(root.path().join("digits.txt"), "0123456789").unwrap();
    fs::write(root.path().join("big.bin"), vec![7; 3_000_000]).unwrap();
    fs::write(root.path().join("nothing.css"), "").unwrap();
    root
}

#[test]
fn serves_files_folders_and_says_what_is_missing() {
    let root = site();
    let server = Server::start(root.path(), &[]);
    let home = server.get("/", "");
    assert_eq!((home.status, &home.body[..]), (200, &b"<h1>home</h1>"[..]));
    assert_eq!(home.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(server.get("/docs/?x=1", "").body, b"docs");
    assert_eq!(server.get("/big.bin", "").body, vec![7; 3_000_000]);
    let empty = server.get("/nothing.css", "");
    assert_eq!(
        (empty.status, empty.headers["content-length"].as_str()),
        (200, "0")
    );

    let moved = server.get("/docs?x=1", "");
    assert_eq!(
        (moved.status, moved.headers["location"].as_str()),
        (301, "/docs/?x=1")
    );
    let moved = server.get("//docs", "");
    assert_eq!(
        moved.headers["location"], "/docs/",
        "must not point to another host"
    );

    assert_eq!(server.get("/missing", "").status, 404);
    assert_eq!(server.get("/docs/empty/", "").status, 404, "listing is off");
    assert_eq!(server.get("/%2e%2e/secret", "").status, 400);
    let refused = server.ask("POST", "/", "Content-Length: 0\r\n");
    assert_eq!(
        (refused.status, refused.headers["allow"].as_str()),
        (405, "GET, HEAD")
    );

    fs::write(root.path().join("404.html"), "custom").unwrap();
    let missing = server.get("/missing", "");
    assert_eq!((missing.status, &missing.body[..]), (404, &b"custom"[..]));
}

#[test]
fn head_brings_the_length_without_the_body_and_the_connection_goes_on() {
    let root = site();
    let server = Server::start(root.path(), &[]);
    let mut stream = server.connect();
    let mut input = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..3 {
        send(&mut stream, "HEAD", "/digits.txt", "");
        let head = read(&mut input, "HEAD");
        assert_eq!(
            (head.status, head.headers["content-length"].as_str()),
            (200, "10")
        );
        send(&mut stream, "GET", "/digits.txt", "");
        assert_eq!(read(&mut input, "GET").body, b"0123456789");
    }
}

#[test]
fn conditions_and_ranges_save_bytes() {
    let root = site();
    let server = Server::start(root.path(), &[]);
    let first = server.get("/digits.txt", "");
    let (etag, modified) = (&first.headers["etag"], &first.headers["last-modified"]);
    assert_eq!(first.headers["accept-ranges"], "bytes");
    for header in [
        format!("If-None-Match: {etag}"),
        format!("If-Modified-Since: {modified}"),
    ] {
        let again = server.get("/digits.txt", &format!("{header}\r\n"));
        assert_eq!(
            (again.status, &again.headers["etag"]),
            (304, etag),
            "{header}"
        );
    }
    let part = server.get(
        "/digits.txt",
        &format!("Range: bytes=2-4\r\nIf-Range: {etag}\r\n"),
    );
    assert_eq!((part.status, &part.body[..]), (206, &b"234"[..]));
    assert_eq!(part.headers["content-range"], "bytes 2-4/10");
    let old = server.get("/digits.txt", "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n");
    assert_eq!((old.status, old.body.len()), (200, 10));
    let beyond = server.get("/digits.txt", "Range: bytes=10-\r\n");
    assert_eq!(
        (beyond.status, beyond.headers["content-range"].as_str()),
        (416, "bytes */10")
    );
}

#[test]
fn the_staticfile_and_the_passwords_are_obeyed() {
    let root = site();
    let options = root.path().join("Staticfile");
    let auth = root.path().join("auth");
    fs::write(
        &options,
        "directory: visible\npushstate: enabled\nforce_https: true\nssi: x\n",
    )
    .unwrap();
    fs::write(&auth, "cid:{PLAIN}open\n").unwrap();
    let more = [
        "--options",
        options.to_str().unwrap(),
        "--auth",
        auth.to_str().unwrap(),
    ];
    let server = Server::start(root.path(), &more);
    let challenge = server.get("/", "");
    assert_eq!(challenge.status, 401);
    assert!(challenge.headers["www-authenticate"].starts_with("Basic "));
    let known = "Authorization: Basic Y2lkOm9wZW4=\r\n"; // cid:open
    assert_eq!(server.get("/", known).status, 200);
    assert_eq!(
        server.get("/some/client/route", known).body,
        b"<h1>home</h1>"
    );
    let list = server.get("/docs/empty/", known);
    assert!(String::from_utf8(list.body).unwrap().contains("../"));
    let https = server.get("/docs/?a=b", "X-Forwarded-Proto: http\r\n");
    assert_eq!(
        (https.status, https.headers["location"].as_str()),
        (301, "https://site.test/docs/?a=b")
    );
}

#[test]
fn bad_files_are_named_before_anything_is_served() {
    let root = site();
    let options = root.path().join("Staticfile");
    fs::write(&options, "directory: perhaps\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cupola-staticfile"))
        .arg("--check")
        .arg("--options")
        .arg(&options)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("Staticfile, line 1")
    );
    fs::write(&options, "root: public/\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cupola-staticfile"))
        .arg("--check")
        .arg("--options")
        .arg(&options)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(0), &b"public\n"[..])
    );
}

#[test]
fn a_request_in_flight_ends_well_when_the_server_is_asked_to_stop() {
    let root = site();
    let server = Server::start(root.path(), &[]);
    let mut busy = server.connect();
    let idle = server.connect();
    send(&mut busy, "GET", "/big.bin", "");
    let mut input = BufReader::new(busy);
    input.fill_buf().unwrap(); // the answer has begun
    let pid = Pid::from_raw(server.0.pid().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let answer = read(&mut input, "GET");
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_000));
    let started = Instant::now();
    assert_eq!(server.terminate(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "an idle connection must not hold it up"
    );
    drop(idle);
}

#[test]
fn starts_fast_and_small() {
    let root = site();
    let started = Instant::now();
    let server = Server::start(root.path(), &[]);
    let took = started.elapsed();
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.pid())).unwrap();
    let resident: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(resident < 4_096, "{resident} kB of private memory");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

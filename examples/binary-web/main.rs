//! A web app that is one executable: standard library only, a thread per connection.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// More connections than this are closed at once, so that a flood cannot exhaust the memory limit.
const MAX_CONNECTIONS: usize = 256;
/// A request line or header longer than this ends the connection.
const MAX_LINE_BYTES: u64 = 8 * 1024;
/// A request with more headers than this ends the connection.
const MAX_HEADERS: usize = 100;
/// A request body larger than this ends the connection.
const MAX_BODY_BYTES: u64 = 1024 * 1024;

fn main() -> io::Result<()> {
    let port = env::var("PORT").ok().and_then(|text| text.parse::<u16>().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("instance {} listens on port {port}", index());
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(Duration::from_millis(10)); // out of descriptors: let some close
            continue;
        };
        if open.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let mine = Arc::clone(&open);
        let spawned = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            // An error here is a client that went away: there is nobody left to tell.
            let _ = serve(stream);
            mine.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
    Ok(())
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let mut output = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = read_request(&mut input)? {
        let (status, body) = route(&request.path);
        let connection = if request.keep_alive { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: {connection}\r\n\r\n",
            body.len()
        );
        let mut answer = head.into_bytes();
        if request.method != "HEAD" {
            answer.extend_from_slice(body.as_bytes());
        }
        output.write_all(&answer)?;
        if request.path == "/crash" {
            println!("asked to crash");
            std::process::exit(1);
        }
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}

fn route(path: &str) -> (&'static str, String) {
    let path = path.split('?').next().unwrap_or(path);
    match path {
        "/" => ("200 OK", format!("hello from a binary, instance {}\n", index())),
        "/health" => ("200 OK", "ok\n".to_owned()),
        "/instance" => ("200 OK", format!("{}\n", index())),
        "/crash" => ("200 OK", "crashing\n".to_owned()),
        _ => match path.strip_prefix("/env/").map(env::var) {
            Some(Ok(value)) => ("200 OK", format!("{value}\n")),
            Some(Err(_)) => ("404 Not Found", "not set\n".to_owned()),
            None => ("404 Not Found", "nothing here\n".to_owned()),
        },
    }
}

struct Request {
    method: String,
    path: String,
    keep_alive: bool,
}

/// The next request, with its body read and dropped; `None` when the client is done.
fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let Some(first) = read_line(input)? else { return Ok(None) };
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut keep_alive = version == "HTTP/1.1";
    let mut body_bytes = 0;
    for _ in 0..MAX_HEADERS {
        let line = read_line(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            io::copy(&mut input.take(body_bytes), &mut io::sink())?;
            return Ok(Some(Request { method: method.into(), path: path.into(), keep_alive }));
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            if body_bytes > MAX_BODY_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::ErrorKind::Unsupported.into());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn read_line(input: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn index() -> String {
    env::var("CF_INSTANCE_INDEX").unwrap_or_else(|_| "0".to_owned())
}

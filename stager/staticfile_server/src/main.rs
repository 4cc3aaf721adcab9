//! `cupola-staticfile`: serves a folder; see the crate's documentation.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cupola_staticfile::options::{MAX_FILE_BYTES, Options};
use cupola_staticfile::password::Passwords;
use cupola_staticfile::responder::Responder;
use cupola_staticfile::server::{Limits, serve};
use cupola_staticfile::site::Site;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const HELP: &str = "\
Serves a folder of files over HTTP.

Usage: cupola-staticfile [--root DIR] [--options FILE] [--auth FILE] [--port N] [--check]

  --root DIR      folder to serve (default: the current one)
  --options FILE  a Staticfile (default: none)
  --auth FILE     a Staticfile.auth: only the people in it may come in (default: none)
  --port N        port on all addresses (default: $PORT, else 8080)
  --check         read the files, say what is wrong with them, print the `root` option and end
  --help          this text
  --version       the version
";

/// Status of a call that cannot be understood (sysexits.h, EX_USAGE).
const EX_USAGE: u8 = 64;

#[derive(Debug, Default)]
struct Call {
    root: Option<PathBuf>,
    options: Option<PathBuf>,
    auth: Option<PathBuf>,
    port: Option<u16>,
    check: bool,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let call = match parse(&mut words) {
        Ok(Some(call)) => call,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => return fail(&format!("{problem}; see --help"), EX_USAGE),
    };
    match run(call) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem, 1),
    }
}

fn parse(words: &mut impl Iterator<Item = String>) -> Result<Option<Call>, String> {
    let mut call = Call::default();
    while let Some(word) = words.next() {
        let (flag, attached) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| words.next())
                .ok_or(format!("{flag} wants a value"))
        };
        match flag.as_str() {
            "--root" => call.root = Some(value()?.into()),
            "--options" => call.options = Some(value()?.into()),
            "--auth" => call.auth = Some(value()?.into()),
            "--port" => call.port = Some(port(&value()?)?),
            "--check" => call.check = true,
            "--help" | "-h" => return say(HELP).map(|()| None),
            "--version" => {
                return say(concat!(
                    "cupola-staticfile ",
                    env!("CARGO_PKG_VERSION"),
                    "\n"
                ))
                .map(|()| None);
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(Some(call))
}

fn run(call: Call) -> Result<(), String> {
    let parsed = match &call.options {
        Some(path) => Options::parse(&text(path)?).map_err(|error| error.to_string())?,
        None => Default::default(),
    };
    let passwords = match &call.auth {
        Some(path) => Some(Passwords::parse(&text(path)?).map_err(|error| error.to_string())?),
        None => None,
    };
    for key in &parsed.unknown {
        complain(&format!(
            "Staticfile: `{key}` means nothing to this server; ignored"
        ));
    }
    if call.check {
        return say(&format!(
            "{}\n",
            parsed.options.root.as_deref().unwrap_or(".")
        ));
    }
    let port = match (call.port, std::env::var("PORT")) {
        (Some(port), _) => port,
        (None, Ok(text)) => self::port(&text)?,
        (None, Err(_)) => 8080,
    };
    let root = call.root.unwrap_or_else(|| PathBuf::from("."));
    let site = Site::new(&root, parsed.options.host_dot_files)
        .map_err(|error| format!("cannot serve {}: {error}", root.display()))?;
    let responder = Arc::new(Responder::new(site, parsed.options, passwords));
    // One thread: the work is a few system calls per request.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?
        .block_on(listen(port, responder))
}

async fn listen(port: u16, responder: Arc<Responder>) -> Result<(), String> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let port = listener.local_addr().map_or(port, |address| address.port());
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    say(&format!("serving on port {port}\n"))?;
    let server = serve(listener, responder, Limits::default(), stop.clone());
    tokio::pin!(server);
    tokio::select! {
        () = &mut server => return Ok(()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    server.await;
    Ok(())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is not a port"))
}

fn text(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!(
            "{} is larger than {MAX_FILE_BYTES} bytes",
            path.display()
        ));
    }
    Ok(text)
}

fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

fn complain(text: &str) {
    // When even standard error is closed there is nowhere left to say it.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn fail(problem: &str, status: u8) -> ExitCode {
    complain(&format!("cupola-staticfile: {problem}"));
    ExitCode::from(status)
}

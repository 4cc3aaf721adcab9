//! `cupola-warden`: supervisor and pid 1 of one container. Not for people: the daemons start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|word| word.to_str()) {
        Some("supervise") => cupola_warden::supervisor::supervise(),
        Some("probe") => cupola_warden::supervisor::probe(args),
        _ => {
            use std::io::Write as _;
            let usage = "cupola-warden runs one container and is started by dea and stager\n";
            // Nobody may be there to read it.
            let _ = std::io::stderr().write_all(usage.as_bytes());
            ExitCode::from(64)
        }
    }
}

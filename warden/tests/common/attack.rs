//! Attacks that need a system call of their own. A test binary re-executes itself: inside a
//! container to see them fail, outside to see that they would work.
#![allow(
    clippy::print_stdout,
    reason = "what an attacker says is output of a container"
)]

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    process::Command,
    time::Duration,
};

use cupola_warden::{Bind, Container, ContainerSpec, ProcessSpec};
use nix::libc;

/// The variable that makes a test binary an attacker.
const ATTACK: &str = "WARDEN_TEST_ATTACK";
/// Where the binary is inside.
const INSIDE: &str = "/attack";

/// Called by the test named `attacker` of each binary; does nothing in a normal test run.
pub(crate) fn attacker() {
    if let Ok(attack) = std::env::var(ATTACK) {
        let words: Vec<&str> = attack.split(' ').collect();
        let code = match perform(words[0], &words[1..]) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(255),
        };
        std::process::exit(code)
    }
}

/// Makes the binary available in a container.
pub(crate) fn arm(spec: &mut ContainerSpec) {
    let own = std::env::current_exe().unwrap();
    spec.binds.push(Bind::read_only(own, INSIDE));
}

/// The process that carries out an attack.
pub(crate) fn attack_process(attack: &str) -> ProcessSpec {
    let mut spec = ProcessSpec::new([INSIDE, "--exact", "attacker", "--nocapture"]);
    spec.env.push((ATTACK.to_owned(), attack.to_owned()));
    spec
}

/// The result of an attack inside: 0 or an error number.
pub(crate) fn inside(container: &Container, attack: &str) -> i32 {
    let process = container.run(&attack_process(attack)).unwrap();
    let exit = process.wait(super::LONG).unwrap();
    exit.code.unwrap_or_else(|| -exit.signal.unwrap_or(0))
}

/// The result of the same attack outside, as root.
pub(crate) fn outside(attack: &str) -> i32 {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attacker", "--nocapture"])
        .env(ATTACK, attack)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    status.code().unwrap_or(-1)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn syscall(number: libc::c_long, args: [libc::c_long; 5]) -> io::Result<libc::c_long> {
    let [a, b, c, d, e] = args;
    // SAFETY: an attack; its arguments are numbers or pointers to what lives across the call.
    check(unsafe { libc::syscall(number, a, b, c, d, e) })
}

#[allow(clippy::too_many_lines, reason = "a table of attacks")]
fn perform(name: &str, args: &[&str]) -> io::Result<()> {
    let number = |index: usize| args[index].parse::<libc::c_long>().unwrap();
    let text = |index: usize| CString::new(args[index]).unwrap();
    let zero = c"x".as_ptr() as libc::c_long;
    // Where root would succeed, it must not disturb the machine that the tests run on.
    let apart = || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS);
    let done = match name {
        "unshare" => in_child(|| syscall(libc::SYS_unshare, [number(0), 0, 0, 0, 0])),
        "clone" => {
            let pid = syscall(libc::SYS_clone, [number(0) | 17, 0, 0, 0, 0])?;
            if pid == 0 {
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(0) };
            }
            Ok(pid)
        }
        "clone3" => {
            let args = [number(0) as u64, 0, 0, 0, 17, 0, 0, 0];
            let pid = syscall(
                libc::SYS_clone3,
                [args.as_ptr() as libc::c_long, 64, 0, 0, 0],
            )?;
            if pid == 0 {
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(0) };
            }
            Ok(pid)
        }
        "setns" => {
            let file = File::open(format!("/proc/{}/ns/uts", args[0]))?;
            syscall(libc::SYS_setns, [file.as_raw_fd().into(), 0, 0, 0, 0])
        }
        "mount" => {
            let _ = apart();
            let (kind, to) = (text(0), text(1));
            let kind = kind.as_ptr() as libc::c_long;
            let flags = libc::MS_MGC_VAL as libc::c_long;
            syscall(
                libc::SYS_mount,
                [kind, to.as_ptr() as libc::c_long, kind, flags, 0],
            )
        }
        "remount" => {
            let _ = apart();
            let to = text(0);
            let flags = (libc::MS_REMOUNT | libc::MS_BIND) as libc::c_long;
            syscall(
                libc::SYS_mount,
                [zero, to.as_ptr() as libc::c_long, zero, flags, 0],
            )
        }
        "umount" => {
            let _ = apart();
            let to = text(0);
            let detach = libc::c_long::from(libc::MNT_DETACH);
            syscall(
                libc::SYS_umount2,
                [to.as_ptr() as libc::c_long, detach, 0, 0, 0],
            )
        }
        "open_tree" => syscall(
            libc::SYS_open_tree,
            [-100, c"/usr".as_ptr() as libc::c_long, 1, 0, 0],
        ),
        "fsopen" => syscall(
            libc::SYS_fsopen,
            [c"tmpfs".as_ptr() as libc::c_long, 0, 0, 0, 0],
        ),
        "chroot" => syscall(
            libc::SYS_chroot,
            [c"/".as_ptr() as libc::c_long, 0, 0, 0, 0],
        ),
        "mknod" => {
            let _ = std::fs::remove_file(args[0]);
            let (path, device) = (text(0), libc::makedev(1, 3));
            let mode = libc::c_long::from(libc::S_IFCHR | 0o666);
            let made = syscall(
                libc::SYS_mknodat,
                [
                    -100,
                    path.as_ptr() as libc::c_long,
                    mode,
                    device as libc::c_long,
                    0,
                ],
            );
            let _ = std::fs::remove_file(args[0]);
            made
        }
        "add_key" => {
            let key = c"user".as_ptr() as libc::c_long;
            let name = c"cupola-test".as_ptr() as libc::c_long;
            // To the keyring of this process alone.
            syscall(libc::SYS_add_key, [key, name, zero, 1, -2])
        }
        "io_uring" => {
            let mut parameters = [0u32; 30];
            syscall(
                libc::SYS_io_uring_setup,
                [4, parameters.as_mut_ptr() as libc::c_long, 0, 0, 0],
            )
        }
        "bpf" => {
            let map = [2u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            syscall(libc::SYS_bpf, [0, map.as_ptr() as libc::c_long, 48, 0, 0])
        }
        "userfaultfd" => syscall(libc::SYS_userfaultfd, [0; 5]),
        "perf" => {
            let mut event = [0u32; 28];
            event[0] = 1;
            event[1] = 112;
            syscall(
                libc::SYS_perf_event_open,
                [event.as_ptr() as libc::c_long, 0, -1, -1, 0],
            )
        }
        "fanotify" => syscall(libc::SYS_fanotify_init, [0; 5]),
        "ptrace" => in_child(|| syscall(libc::SYS_ptrace, [0; 5])),
        "process_vm" => syscall(libc::SYS_process_vm_readv, [number(0), 0, 0, 0, 0]),
        "quotactl" => syscall(libc::SYS_quotactl, [0x80_0001 << 8, 0, 0, 0, 0]),
        "sethostname" => {
            let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS);
            syscall(libc::SYS_sethostname, [zero, 1, 0, 0, 0])
        }
        "settime" => {
            // 1970: only ever tried inside.
            let time = [0i64; 2];
            syscall(
                libc::SYS_clock_settime,
                [0, time.as_ptr() as libc::c_long, 0, 0, 0],
            )
        }
        "socket" => syscall(libc::SYS_socket, [number(0), number(1), number(2), 0, 0]),
        "kill" => syscall(libc::SYS_kill, [number(0), 0, 0, 0, 0]),
        "shmget" => syscall(libc::SYS_shmget, [number(0), number(1), number(2), 0, 0]),
        "setuid" => syscall(libc::SYS_setuid, [0; 5]),
        "read" => return read(args[0]),
        "write" => {
            let mut file = File::options().write(true).open(args[0])?;
            return file.write_all(args.get(1).unwrap_or(&"").as_bytes());
        }
        "abstract" => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(args[0])?;
            return std::os::unix::net::UnixStream::connect_addr(&address).map(drop);
        }
        "connect" => {
            let address = args[0].parse().unwrap();
            return std::net::TcpStream::connect_timeout(&address, Duration::from_millis(700))
                .map(drop)
                .map_err(|e| {
                    if e.raw_os_error().is_some() {
                        e
                    } else {
                        io::Error::from_raw_os_error(libc::ETIMEDOUT)
                    }
                });
        }
        "serve" => return serve(args[0]),
        "threads" => return threads(args[0].parse().unwrap()),
        "eat" => return eat(args[0].parse::<usize>().unwrap() << 20),
        "ignore-term" => {
            // SAFETY: no handler is installed.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            println!("deaf");
            loop {
                super::pause(Duration::from_secs(60));
            }
        }
        other => panic!("no attack {other}"),
    };
    done.map(drop)
}

/// Where several threads would be in the way, a child with one tries.
fn in_child(attempt: impl FnOnce() -> io::Result<libc::c_long>) -> io::Result<libc::c_long> {
    let pid = syscall(libc::SYS_fork, [0; 5])?;
    if pid == 0 {
        let code = attempt()
            .err()
            .map_or(0, |e| e.raw_os_error().unwrap_or(255));
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    syscall(
        libc::SYS_wait4,
        [pid, (&raw mut status) as libc::c_long, 0, 0, 0],
    )?;
    match libc::WEXITSTATUS(status) {
        0 => Ok(0),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Succeeds when there is something to read.
fn read(path: &str) -> io::Result<()> {
    let mut buffer = [0; 64];
    match File::open(path)?.read(&mut buffer)? {
        0 => Err(io::Error::from_raw_os_error(libc::ENODATA)),
        _ => Ok(()),
    }
}

/// Answers each connection with the same words.
fn serve(address: &str) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(address)?;
    println!("listening");
    for stream in listener.incoming() {
        stream?.write_all(b"from inside")?;
    }
    Ok(())
}

/// Starts threads that stay, until there are so many or no more can be started.
fn threads(count: usize) -> io::Result<()> {
    for started in 0..count {
        let sleep = || super::pause(Duration::from_secs(100));
        if let Err(error) = std::thread::Builder::new()
            .stack_size(16 << 10)
            .spawn(sleep)
        {
            println!("stopped at {started}");
            return Err(error);
        }
    }
    Ok(())
}

fn eat(bytes: usize) -> io::Result<()> {
    let mut food = vec![0u8; bytes];
    for page in food.chunks_mut(4096) {
        page[0] = 1;
    }
    println!("ate {}", food.len());
    Ok(())
}

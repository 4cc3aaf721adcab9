//! Which system calls an app may make.
//!
//! Everything is denied with EPERM but what [`table`] lists. The list is merged to ranges and those
//! are laid out as a binary search, with checks of arguments at the leaves: the kernel runs the
//! program once per system call number when it is installed, so a list of comparisons would cost
//! eight times as much at every start.

mod table;
#[cfg(test)]
mod tests;

use std::io;

use nix::libc::{self, sock_filter};

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    /// Fails with this error number.
    Errno(u16),
    /// Depends on an argument.
    Check(Rule),
}

/// A check of one argument; what does not pass fails with EPERM. Only the lower half of an argument
/// counts where the kernel itself looks at no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Argument `arg` has none of these bits.
    NoBits { arg: u8, bits: u32 },
    /// Argument `arg` is one of these.
    OneOf { arg: u8, values: &'static [u32] },
    /// Argument `arg` is none of these.
    NoneOf { arg: u8, values: &'static [u32] },
    /// `socket`: these families, and of netlink only the routing tables.
    Socket,
}

/// A run of numbers with the same verdict; it ends where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    verdict: Verdict,
}

// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

#[cfg(target_arch = "x86_64")]
const OWN_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const OWN_ARCH: u32 = 0xC000_00B7;

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;

/// The filter of every process in a container.
pub(crate) fn filter() -> io::Result<Vec<sock_filter>> {
    let mut program = vec![
        op(LOAD, 0, 0, ARCH),
        // Another architecture has other numbers: nothing of it is let through.
        op(JUMP_EQUAL, 1, 0, OWN_ARCH),
        op(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0, 0, NUMBER),
    ];
    program.extend(tree(&runs())?);
    Ok(program)
}

/// What happens to a system call number.
pub(crate) fn verdict(number: u32) -> Verdict {
    if number > table::NEWEST {
        // As on an older kernel, so that libraries fall back. This covers the x32 numbers as well.
        return Verdict::Errno(ENOSYS);
    }
    let checked = table::checked()
        .into_iter()
        .find(|(checked, _)| *checked == number);
    match checked {
        Some((_, verdict)) => verdict,
        None if table::ALLOWED.contains(&i64::from(number)) => Verdict::Allow,
        None => Verdict::Errno(EPERM),
    }
}

fn runs() -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for number in 0..=table::NEWEST + 1 {
        let verdict = verdict(number);
        // Neighbours with a check are not merged: a check reads what is particular to one call.
        let same = runs.last().is_some_and(|run| run.verdict == verdict);
        if !same {
            runs.push(Run {
                first: number,
                verdict,
            });
        }
    }
    runs
}

/// A binary search over the runs; the number is in the accumulator.
fn tree(runs: &[Run]) -> io::Result<Vec<sock_filter>> {
    match runs {
        [] => Ok(Vec::new()),
        [run] => leaf(run.verdict),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let (low, high_code) = (tree(low)?, tree(high)?);
            let over = u8::try_from(low.len())
                .map_err(|_| io::Error::other("a jump too far in the system call filter"))?;
            let mut code = vec![op(JUMP_AT_LEAST, over, 0, high[0].first)];
            code.extend(low);
            code.extend(high_code);
            Ok(code)
        }
    }
}

fn leaf(verdict: Verdict) -> io::Result<Vec<sock_filter>> {
    let allow = op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
    let deny = op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | u32::from(EPERM));
    let load = |arg: u8| op(LOAD, 0, 0, ARGS + 8 * u32::from(arg));
    let rule = match verdict {
        Verdict::Allow => return Ok(vec![allow]),
        Verdict::Errno(errno) => {
            return Ok(vec![op(
                RETURN,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | u32::from(errno),
            )]);
        }
        Verdict::Check(rule) => rule,
    };
    Ok(match rule {
        Rule::NoBits { arg, bits } => vec![load(arg), op(JUMP_BITS, 1, 0, bits), allow, deny],
        Rule::OneOf { arg, values } => one_of(load(arg), values, deny, allow)?,
        Rule::NoneOf { arg, values } => one_of(load(arg), values, allow, deny)?,
        Rule::Socket => vec![
            load(0),
            op(JUMP_EQUAL, 5, 0, AF_UNIX),
            op(JUMP_EQUAL, 4, 0, AF_INET),
            op(JUMP_EQUAL, 3, 0, AF_INET6),
            op(JUMP_EQUAL, 0, 3, AF_NETLINK),
            load(2),
            op(JUMP_EQUAL, 0, 1, 0),
            allow,
            deny,
        ],
    })
}

/// `otherwise` unless the loaded value is among `values`: then `hit`.
fn one_of(
    load: sock_filter,
    values: &[u32],
    otherwise: sock_filter,
    hit: sock_filter,
) -> io::Result<Vec<sock_filter>> {
    let count = u8::try_from(values.len()).map_err(|_| io::Error::other("too many values"))?;
    let mut code = vec![load];
    for (passed, value) in (0..count).zip(values) {
        code.push(op(JUMP_EQUAL, count - passed, 0, *value));
    }
    code.extend([otherwise, hit]);
    Ok(code)
}

fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

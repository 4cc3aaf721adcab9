//! The compiled filter against the table, number by number, by an interpreter of its own.

use super::*;

/// What the kernel would look at.
#[derive(Clone, Copy)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const DENY: u32 = libc::SECCOMP_RET_ERRNO | EPERM as u32;

fn word(call: &Call, offset: u32) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&call.number.to_ne_bytes());
    data.extend_from_slice(&call.arch.to_ne_bytes());
    data.extend_from_slice(&[0; 8]);
    for arg in call.args {
        data.extend_from_slice(&arg.to_ne_bytes());
    }
    let at = offset as usize;
    u32::from_ne_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// Runs a program as the kernel's virtual machine does.
fn interpret(program: &[sock_filter], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let op = program[at];
        at += 1;
        let jump = |taken: bool| {
            if taken {
                usize::from(op.jt)
            } else {
                usize::from(op.jf)
            }
        };
        match op.code {
            LOAD => accumulator = word(call, op.k),
            JUMP_EQUAL => at += jump(accumulator == op.k),
            JUMP_AT_LEAST => at += jump(accumulator >= op.k),
            JUMP_BITS => at += jump(accumulator & op.k != 0),
            RETURN => return op.k,
            other => panic!("an unknown instruction {other:#x}"),
        }
    }
}

fn run(number: i64, args: [u64; 6]) -> u32 {
    let call = Call {
        arch: OWN_ARCH,
        number: u32::try_from(number).unwrap_or(u32::MAX),
        args,
    };
    interpret(&filter().unwrap_or_default(), &call)
}

#[test]
fn every_number_gets_the_verdict_of_the_table() {
    let program = filter().unwrap_or_default();
    for number in (0..=700).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
        let call = Call {
            arch: OWN_ARCH,
            number,
            args: [0; 6],
        };
        let got = interpret(&program, &call);
        match verdict(number) {
            Verdict::Allow => assert_eq!(got, ALLOW, "{number}"),
            Verdict::Errno(errno) => {
                assert_eq!(got, libc::SECCOMP_RET_ERRNO | u32::from(errno), "{number}");
            }
            Verdict::Check(_) => assert!(got == ALLOW || got == DENY, "{number}"),
        }
    }
}

#[test]
fn another_architecture_is_killed() {
    let call = Call {
        arch: 0x4000_0003,
        number: 0,
        args: [0; 6],
    };
    let got = interpret(&filter().unwrap_or_default(), &call);
    assert_eq!(got, libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn what_breaks_out_is_denied() {
    let denied = [
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_fanotify_init,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_swapon,
        libc::SYS_reboot,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_quotactl,
        libc::SYS_open_by_handle_at,
        libc::SYS_pidfd_getfd,
        libc::SYS_sethostname,
        libc::SYS_syslog,
        libc::SYS_acct,
    ];
    for number in denied {
        assert_eq!(run(number, [0; 6]), DENY, "{number}");
    }
    let absent = libc::SECCOMP_RET_ERRNO | u32::from(ENOSYS);
    assert_eq!(run(libc::SYS_clone3, [0; 6]), absent);
}

#[test]
fn arguments_decide_where_they_must() {
    let first = |number, value| run(number, [value, 0, 0, 0, 0, 0]);
    let second = |number, value| run(number, [0, value, 0, 0, 0, 0]);
    // An ordinary thread, then one namespace after the other.
    assert_eq!(first(libc::SYS_clone, 0x003d_0f00), ALLOW);
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        let flags = u64::from(flag.cast_unsigned()) | 17;
        assert_eq!(first(libc::SYS_clone, flags), DENY, "{flag:#x}");
    }
    assert_eq!(second(libc::SYS_ioctl, 0x5401), ALLOW);
    assert_eq!(second(libc::SYS_ioctl, 0x5412), DENY);
    // The kernel looks at 32 bits of it: rubbish above must not open the door.
    assert_eq!(second(libc::SYS_ioctl, 0xdead_0000_5412), DENY);
    assert_eq!(first(libc::SYS_personality, 0x4_0000), ALLOW);
    assert_eq!(first(libc::SYS_personality, 0x40_0000), DENY);
    let socket = |family, kind, protocol| run(libc::SYS_socket, [family, kind, protocol, 0, 0, 0]);
    for family in [AF_UNIX, AF_INET, AF_INET6] {
        assert_eq!(socket(family.into(), 1, 6), ALLOW, "{family}");
    }
    assert_eq!(socket(AF_NETLINK.into(), 3, 0), ALLOW);
    for protocol in [1, 6, 9, 12, 15, 16] {
        assert_eq!(socket(AF_NETLINK.into(), 3, protocol), DENY, "{protocol}");
    }
    for family in [17, 38, 40, 44] {
        assert_eq!(socket(family, 3, 0), DENY, "{family}");
    }
}

#[test]
fn the_program_is_small() {
    let length = filter().unwrap_or_default().len();
    assert!((50..400).contains(&length), "{length} instructions");
}

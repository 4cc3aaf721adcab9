//! Each attack must fail inside, and the same code must work outside: otherwise something missing
//! from the machine would look like a wall.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
};

use common::{
    House, LONG,
    attack::{arm, attack_process, inside, outside},
    ok, run,
};
use cupola_warden::{Bind, Event, NetworkMode};
use nix::libc;

#[test]
fn attacker() {
    common::attack::attacker();
}

#[test]
fn privileged_kernel_doors_are_shut() {
    let house = House::new();
    let container = house.with("doors", arm);
    let absent = libc::ENOSYS;
    let (user, all) = (libc::CLONE_NEWUSER, 0x7E02_0000);
    let attacks = [
        (format!("unshare {user}"), libc::EPERM),
        (format!("unshare {}", libc::CLONE_NEWNS), libc::EPERM),
        (format!("clone {user}"), libc::EPERM),
        (format!("clone {all}"), libc::EPERM),
        (format!("clone3 {user}"), absent),
        ("mount tmpfs /tmp".to_owned(), libc::EPERM),
        ("mount proc /tmp".to_owned(), libc::EPERM),
        ("remount /usr".to_owned(), libc::EPERM),
        ("umount /proc".to_owned(), libc::EPERM),
        ("open_tree".to_owned(), libc::EPERM),
        ("fsopen".to_owned(), libc::EPERM),
        ("chroot".to_owned(), libc::EPERM),
        ("mknod /tmp/warden-test-null".to_owned(), libc::EPERM),
        ("add_key".to_owned(), libc::EPERM),
        ("io_uring".to_owned(), libc::EPERM),
        ("bpf".to_owned(), libc::EPERM),
        ("userfaultfd".to_owned(), libc::EPERM),
        ("fanotify".to_owned(), libc::EPERM),
        ("ptrace".to_owned(), libc::EPERM),
        ("sethostname".to_owned(), libc::EPERM),
        ("setuid".to_owned(), libc::EPERM),
        // Packet sockets, vsock, netlink to the audit and to the key subsystems.
        (
            format!("socket {} {} 0", libc::AF_PACKET, libc::SOCK_RAW),
            libc::EPERM,
        ),
        (
            format!("socket {} {} 9", libc::AF_NETLINK, libc::SOCK_RAW),
            libc::EPERM,
        ),
        (
            format!("socket {} {} 1", libc::AF_INET, libc::SOCK_RAW),
            libc::EPERM,
        ),
    ];
    for (attack, errno) in attacks {
        // The remount of /usr needs a mount of its own to be there, which a host need not have.
        if attack != "remount /usr" {
            assert_eq!(outside(&attack), 0, "outside: {attack}");
        }
        assert_eq!(inside(&container, &attack), errno, "inside: {attack}");
    }
    // Calls that a kernel may lack, or that would do harm, are judged by what happens inside alone.
    for attack in ["perf", "process_vm 1", "quotactl", "settime"] {
        assert_eq!(inside(&container, attack), libc::EPERM, "inside: {attack}");
    }
}

#[test]
fn privileged_host_processes_are_out_of_sight() {
    let house = House::new();
    let container = house.with("pids", arm);
    let mut sleeper = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let pid = sleeper.id();
    assert_eq!(outside(&format!("kill {pid}")), 0);
    assert_eq!(inside(&container, &format!("kill {pid}")), libc::ESRCH);
    assert_eq!(outside(&format!("setns {pid}")), 0);
    assert_eq!(inside(&container, "setns self"), libc::EPERM);
    // To all it may: only itself and what is its own.
    run(&container, "kill -KILL -1");
    assert_eq!(sleeper.try_wait().unwrap(), None);
    let seen = ok(&container, "ls /proc | grep -E '^[0-9]+$' | wc -l");
    assert!(seen.trim().parse::<u32>().unwrap() <= 4, "{seen}");
    // Pid 1 runs the supervisor's program as root: it shows nothing of itself.
    for file in ["exe", "root", "environ", "maps", "fd/0"] {
        let (said, exit) = run(&container, &format!("head -c1 /proc/1/{file}"));
        assert!(!exit.success(), "/proc/1/{file}: {said}");
    }
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(container.info().is_ok());
}

#[test]
fn privileged_nothing_gives_privileges() {
    let house = House::new();
    let shared = tempfile::tempdir().unwrap();
    let planted = shared.path().join("id");
    fs::copy("/usr/bin/id", &planted).unwrap();
    fs::set_permissions(&planted, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let container = house.with("caps", |spec| {
        spec.binds.push(Bind::read_write(shared.path(), "/shared"));
    });
    let uid = container.uid();
    let outside = Command::new(&planted)
        .arg("-u")
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap();
    assert_eq!(outside.stdout, b"0\n", "a set-uid program works outside");
    assert_eq!(ok(&container, "/shared/id -u"), format!("{uid}\n"));
    assert_eq!(ok(&container, "id -un"), "vcap\n");
    assert_eq!(ok(&container, "id -G"), format!("{uid}\n"));
    let status = ok(&container, "cat /proc/self/status");
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(
            status.contains(&format!("{name}:\t0000000000000000")),
            "{status}"
        );
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn privileged_every_mount_is_nosuid_and_tells_nothing() {
    let house = House::new();
    let container = house.create("mounts");
    let mounts = ok(&container, "cat /proc/self/mountinfo");
    assert!(
        !mounts.contains(house.dir.path().to_str().unwrap()),
        "{mounts}"
    );
    for line in mounts.lines() {
        let options = line.split(' ').nth(5).unwrap();
        let has = |option: &str| options.split(',').any(|o| o == option);
        assert!(has("nosuid"), "{line}");
        let place = line.split(' ').nth(4).unwrap();
        let devices = place == "/dev" || place == "/dev/pts" || line.contains("/null /proc");
        assert!(has("nodev") || devices, "{line}");
        if place.starts_with("/usr") || place.starts_with("/etc/") || place == "/proc/sys" {
            assert!(has("ro"), "{line}");
        }
    }
    assert_eq!(
        ok(
            &container,
            "ls -A /home /root 2>/dev/null; ls -A /run /mnt /srv 2>&1 | wc -l"
        )
        .lines()
        .next(),
        Some("/home:")
    );
    for private in [
        "/etc/shadow",
        "/etc/ssl/private",
        "/run/cupola",
        "/sys/kernel",
        "/dev/vda",
    ] {
        let (said, exit) = run(&container, &format!("ls -d {private}"));
        assert!(!exit.success(), "{said}");
    }
    let devices = ok(&container, "ls -1 /dev | sort | tr '\\n' ' '");
    assert_eq!(
        devices.trim(),
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
}

#[test]
fn privileged_proc_tells_and_changes_nothing_of_the_host() {
    let house = House::new();
    let container = house.with("proc", arm);
    for file in ["/proc/kallsyms", "/proc/keys", "/proc/interrupts"] {
        assert_eq!(outside(&format!("read {file}")), 0, "{file}");
        assert_eq!(
            inside(&container, &format!("read {file}")),
            libc::ENODATA,
            "{file}"
        );
    }
    for file in ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness"] {
        assert_eq!(outside(&format!("write {file}")), 0, "{file}");
        let errno = inside(&container, &format!("write {file}"));
        assert!(
            [libc::EROFS, libc::EACCES].contains(&errno),
            "{file}: {errno}"
        );
    }
    for file in [
        "/proc/sysrq-trigger",
        "/proc/kcore",
        "/sys/kernel/uevent_helper",
    ] {
        assert_ne!(inside(&container, &format!("write {file} x")), 0, "{file}");
    }
    // No way to the limits, whatever the version of cgroups.
    assert_eq!(
        ok(
            &container,
            "ls -d /sys 2>/dev/null | wc -l; cut -d: -f3 /proc/self/cgroup | sort -u"
        ),
        "0\n/\n"
    );
}

#[test]
fn privileged_nothing_leaks_in() {
    let house = House::new();
    let container = house.with("clean", |spec| {
        spec.env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    });
    let env = ok(&container, "env | cut -d= -f1 | sort | tr '\\n' ' '");
    let names: BTreeSet<&str> = env.split_whitespace().collect();
    // The shell sets the last three itself.
    assert_eq!(
        names,
        BTreeSet::from(["PATH", "PWD", "OLDPWD", "_"])
            .intersection(&names)
            .copied()
            .collect()
    );
    assert_eq!(
        ok(&container, "ls /proc/self/fd | tr '\\n' ' '"),
        "0 1 2 3 "
    );
    assert_eq!(ok(&container, "readlink /proc/self/fd/0"), "/dev/null\n");
    assert_eq!(ok(&container, "hostname"), "clean\n");
    assert_eq!(ok(&container, "ulimit -c"), "0\n");
    let (said, exit) = run(&container, "echo x > /dev/tty");
    assert!(!exit.success(), "{said}");
}

#[test]
fn privileged_host_sockets_and_segments_are_elsewhere() {
    use std::os::linux::net::SocketAddrExt as _;
    let house = House::new();
    let container = house.with("ipc", arm);
    let name = format!("warden-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    assert_eq!(outside(&format!("abstract {name}")), 0);
    assert_eq!(
        inside(&container, &format!("abstract {name}")),
        libc::ECONNREFUSED
    );

    let key = 0x6375_0000 | (std::process::id() & 0xffff);
    let make = format!("shmget {key} 4096 {}", libc::IPC_CREAT | 0o666);
    let find = format!("shmget {key} 4096 0");
    assert_eq!(outside(&make), 0);
    assert_eq!(outside(&find), 0);
    let seen = inside(&container, &find);
    let removed = Command::new("ipcrm")
        .args(["-M", &key.to_string()])
        .status()
        .unwrap();
    assert!(removed.success());
    assert_eq!(seen, libc::ENOENT);
}

#[test]
fn privileged_a_container_is_reached_from_the_host_and_from_nowhere_else() {
    let house = House::new();
    let isolated = |id: &str| {
        house.with(id, |spec| {
            spec.network = NetworkMode::Isolated;
            arm(spec);
        })
    };
    let (one, two) = (isolated("net-one"), isolated("net-two"));
    let address = one.address().unwrap();
    let server = one.run(&attack_process("serve 0.0.0.0:8080")).unwrap();
    let mut events = server.attach(0).unwrap();
    loop {
        match events.next(LONG).unwrap().unwrap() {
            Event::Output { bytes, .. } if bytes.windows(9).any(|w| w == b"listening") => break,
            Event::Output { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let target = format!("connect {address}:8080");
    assert_eq!(outside(&target), 0);
    assert_eq!(inside(&one, &target), 0);
    assert_ne!(inside(&two, &target), 0);
    // Out into the world there is no way that nobody opened, nor to the metadata of a cloud.
    assert_ne!(inside(&two, "connect 169.254.169.254:80"), 0);
    // No IPv6 on the cable, whose addresses nothing would filter.
    assert_eq!(
        ok(&one, "cat /proc/net/if_inet6 | grep -c eth0 || true"),
        "0\n"
    );
    assert_eq!(ok(&one, "cat /proc/net/dev | grep -c :"), "2\n");
    let stats = one.info().unwrap().stats;
    assert!(
        stats.net_rx_bytes > 0 && stats.net_tx_bytes > 0,
        "{stats:?}"
    );
}

#[test]
fn privileged_two_containers_never_share_a_user() {
    let house = House::new();
    let (one, two) = (house.create("uid-one"), house.create("uid-two"));
    assert_ne!(one.uid(), two.uid());
    assert!(one.uid() >= 200_000);
    ok(
        &one,
        "touch /tmp/mine && [ $(stat -c %u /tmp/mine) = $(id -u) ]",
    );
    let (_, exit) = run(&two, "ls /tmp/mine");
    assert!(!exit.success());
}

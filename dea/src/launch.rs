//! From an order to what warden is asked for.

use cupola_messages::dea::{Refusal, StartInstance};
use cupola_warden::{
    ContainerId, ContainerSpec, Limits, Links, NetworkMode, ProcessRole, ProcessSpec, Unpack,
    WardenError,
};

use crate::config::Config;
use crate::environment::{self, HOME};
use crate::instance::Instance;
use crate::registry::Refused;
use crate::start_command::StartCommand;

/// The note in a container that says which instance it is, in the form of the snapshot.
pub(crate) const INSTANCE_NOTE: &str = "instance";

/// Least memory that a shell and an app can start in.
const MIN_MEMORY_MB: u32 = 4;
/// Least disk that a droplet can be unpacked on.
const MIN_DISK_MB: u32 = 8;
/// Most routes of one instance.
const MAX_URIS: usize = 1000;
/// Longest start command in bytes: it has to pass as one argument, twice quoted.
const MAX_COMMAND_BYTES: usize = 32 * 1024;

/// Says why an order cannot be carried out by any dea, or not by this one.
pub(crate) fn check(config: &Config, order: &StartInstance) -> Result<(), Refused> {
    let refused = |reason, detail: String| Err(Refused { reason, detail });
    let invalid = |detail: String| refused(Refusal::Invalid, detail);
    let limits = order.limits;
    if limits.mem.0 < MIN_MEMORY_MB || limits.disk.0 < MIN_DISK_MB || limits.fds == 0 {
        return invalid(format!(
            "limits of {} memory, {} disk and {} open files are too small to start anything",
            limits.mem, limits.disk, limits.fds
        ));
    }
    if order.uris.len() > MAX_URIS {
        return invalid(format!(
            "{} routes are more than {MAX_URIS}",
            order.uris.len()
        ));
    }
    let command = order.start_command.as_deref().unwrap_or_default();
    if command.len() > MAX_COMMAND_BYTES || command.contains('\0') {
        return invalid("the start command is too long or holds a zero byte".to_owned());
    }
    match url::Url::parse(&order.executable_uri) {
        Ok(uri) if matches!(uri.scheme(), "http" | "https") => {}
        _ => return invalid("the droplet's address is not an HTTP URL".to_owned()),
    }
    if let Err(error) = environment::check(order) {
        return invalid(error.to_string());
    }
    if !order.egress_network_rules.is_empty() {
        // An isolated container reaches nothing but its host: narrower than any rule.
        tracing::debug!(app.guid = %order.droplet, "egress rules open nothing here");
    }
    if config.stacks.get(&order.stack).is_none() {
        return refused(
            Refusal::NoStack,
            format!("there is no stack {:?} here", order.stack),
        );
    }
    Ok(())
}

/// The container for an instance whose droplet takes `shared_bytes` of its disk already. Nothing in
/// it is secret: the environment goes to the process.
pub(crate) fn container(
    config: &Config,
    order: &StartInstance,
    instance: &Instance,
    shared_bytes: u64,
) -> Result<ContainerSpec, WardenError> {
    let mut spec = ContainerSpec::new(ContainerId::new(instance.guid.as_str())?);
    if let Some(stack) = config.stacks.get(&order.stack) {
        spec.stack = stack.clone();
    }
    spec.network = NetworkMode::Isolated;
    spec.limits = limits(config, instance);
    let left = instance.limits.disk.bytes().saturating_sub(shared_bytes);
    spec.limits.disk_bytes = Some(left.max(u64::from(MIN_DISK_MB) << 20));
    let note = serde_json::to_string(instance).unwrap_or_default();
    spec.properties.insert(INSTANCE_NOTE.to_owned(), note);
    Ok(spec)
}

/// The process that is the app.
pub(crate) fn process(command: &StartCommand, env: Vec<(String, String)>) -> ProcessSpec {
    let mut spec = ProcessSpec::new(["bash", "-c", &command.script()]);
    spec.name = "web".to_owned();
    spec.env = env;
    spec.cwd = HOME.into();
    spec.umask = 0o077;
    spec.role = ProcessRole::Main;
    spec
}

/// How a droplet is unpacked.
pub(crate) fn unpack(config: &Config) -> Unpack {
    Unpack {
        bytes_max: config.max_inflated_droplet.bytes(),
        entries_max: config.max_droplet_entries,
        // Our own stager packed it: links into the stack are meant, and only seen from inside.
        links: Links::Any,
        ..Unpack::into_dir(HOME)
    }
}

fn limits(config: &Config, instance: &Instance) -> Limits {
    Limits {
        memory_bytes: Some(instance.limits.mem.bytes()),
        cpu_shares: (instance.limits.mem.0 / 8).clamp(2, 256),
        pids: config.containers.max_processes,
        nofile: instance.limits.fds.into(),
        disk_bytes: Some(instance.limits.disk.bytes()),
        disk_inodes: config.containers.max_inodes,
        disk_mode: config.containers.disk_limit,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use cupola_types::{DiskMb, MemoryMb};

    use super::*;
    use crate::instance::tests::{instance, order};

    #[test]
    fn a_sound_order_passes_and_each_fault_is_told() {
        let config = Config::default();
        check(&config, &order("a", 0)).unwrap();
        let refusal = |change: fn(&mut StartInstance)| {
            let mut order = order("a", 0);
            change(&mut order);
            check(&config, &order).unwrap_err().reason
        };
        assert_eq!(refusal(|o| o.limits.mem = MemoryMb(0)), Refusal::Invalid);
        assert_eq!(refusal(|o| o.limits.disk = DiskMb(1)), Refusal::Invalid);
        assert_eq!(
            refusal(|o| o.executable_uri = "file:///etc/shadow".into()),
            Refusal::Invalid
        );
        assert_eq!(
            refusal(|o| o.env = vec!["no pair".into()]),
            Refusal::Invalid
        );
        assert_eq!(
            refusal(|o| o.start_command = Some("x".repeat(40_000))),
            Refusal::Invalid
        );
        assert_eq!(refusal(|o| o.stack = "lucid64".into()), Refusal::NoStack);
    }

    #[test]
    fn limits_become_those_of_the_container() {
        let mut it = instance("a", 0);
        for (mem, shares) in [(8, 2), (256, 32), (8192, 256)] {
            it.limits.mem = MemoryMb(mem);
            let limits = limits(&Config::default(), &it);
            assert_eq!(limits.memory_bytes, Some(u64::from(mem) << 20));
            assert_eq!(limits.cpu_shares, shares);
        }
    }

    #[test]
    fn a_container_carries_its_instance_but_no_secret() {
        let mut order = order("a", 0);
        order.env = vec!["PASSWORD=secret".to_owned()];
        let it = instance("a", 0);
        let spec = container(&Config::default(), &order, &it, 28 << 20).unwrap();
        assert_eq!(
            spec.limits.disk_bytes,
            Some(100 << 20),
            "128 MiB less the droplet"
        );
        let note: Instance = serde_json::from_str(&spec.properties[INSTANCE_NOTE]).unwrap();
        assert_eq!(note, it);
        assert!(!serde_json::to_string(&spec).unwrap().contains("secret"));
    }
}

//! What a room's own tests share: a broker, a client on it, and the room in a process of its own.

mod bus;
mod role_process;

use std::future::Future;
use std::time::{Duration, Instant};

pub use bus::{Broker, connect};
pub use role_process::RoleProcess;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Whether containers can be made here; says so when not.
#[must_use]
pub fn privileged() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this test makes containers and needs root");
    }
    root
}

/// Looks until `look` gives something; `None` when it does not within `within`. Other tasks go on.
pub async fn becomes<T, F: Future<Output = Option<T>>>(
    within: Duration,
    mut look: impl FnMut() -> F,
) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

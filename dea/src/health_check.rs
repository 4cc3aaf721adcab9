//! Waits until an instance accepts connections.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Pause after the first failed try.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
/// Longest pause between tries.
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// How long one try may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Returns whether `endpoint` accepted a connection within `limit`.
///
/// Tries come fast at first, so that an app that is up in 50 ms is not kept waiting for half a
/// second, and then at intervals of an eighth of the time passed. Cancel-safe.
pub(crate) async fn accepts_connections(endpoint: SocketAddrV4, limit: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return false;
        }
        let connect = TcpStream::connect(SocketAddr::V4(endpoint));
        if let Ok(Ok(_)) = timeout(left.min(CONNECT_WITHIN), connect).await {
            return true;
        }
        sleep(pause(begun.elapsed()).min(limit.saturating_sub(begun.elapsed()))).await;
    }
}

fn pause(passed: Duration) -> Duration {
    (passed / 8).clamp(FIRST_PAUSE, LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use tokio::net::TcpListener;

    use super::*;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        match address {
            SocketAddr::V4(v4) => v4,
            SocketAddr::V6(_) => unreachable!("bound to an IPv4 address"),
        }
    }

    #[tokio::test]
    async fn an_open_port_is_found_soon_after_it_opens() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = v4(taken.local_addr().unwrap());
        assert!(accepts_connections(endpoint, Duration::from_secs(5)).await);
        drop(taken);
        let begun = Instant::now();
        let late = async {
            sleep(Duration::from_millis(80)).await;
            let listener = TcpListener::bind(endpoint).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            drop(listener);
        };
        let check = async {
            assert!(accepts_connections(endpoint, Duration::from_secs(5)).await);
            begun.elapsed()
        };
        let (waited, ()) = tokio::join!(check, late);
        assert!(waited < Duration::from_millis(400), "{waited:?}");
    }

    #[tokio::test]
    async fn a_closed_port_is_given_up_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = v4(listener.local_addr().unwrap());
        drop(listener);
        let begun = Instant::now();
        assert!(!accepts_connections(endpoint, Duration::from_millis(150)).await);
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_millis(150) && waited < Duration::from_secs(2));
    }

    #[test]
    fn pauses_grow_from_milliseconds_to_half_a_second() {
        assert_eq!(pause(Duration::ZERO), FIRST_PAUSE);
        assert_eq!(pause(Duration::from_millis(400)), Duration::from_millis(50));
        assert_eq!(pause(Duration::from_secs(60)), LAST_PAUSE);
    }
}

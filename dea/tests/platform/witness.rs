//! Hears and remembers everything that a dea says, in the order in which it was said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_component::Bus;
use cupola_messages::Message;
use cupola_messages::dea::{Advertise, Exited, Heartbeat, Shutdown};
use cupola_messages::logs::{LogBatch, LogLine};
use cupola_messages::router::Registration;
use parking_lot::Mutex;

/// How long a test waits for a message.
const PATIENCE: Duration = Duration::from_secs(15);

/// One message.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Advertise(Advertise),
    Heartbeat(Heartbeat),
    Exited(Exited),
    Shutdown(Shutdown),
    Register(Registration),
    Unregister(Registration),
    Log(LogBatch),
}

/// Who listens.
#[derive(Clone)]
pub(crate) struct Witness {
    heard: Arc<Mutex<Vec<Said>>>,
}

impl Said {
    fn of(subject: &str, payload: &[u8]) -> Option<Self> {
        Some(match subject {
            "dea.advertise" => Self::Advertise(Message::decode(payload).ok()?),
            "dea.heartbeat" => Self::Heartbeat(Message::decode(payload).ok()?),
            "droplet.exited" => Self::Exited(Message::decode(payload).ok()?),
            "dea.shutdown" => Self::Shutdown(Message::decode(payload).ok()?),
            "router.register" => Self::Register(Message::decode(payload).ok()?),
            "router.unregister" => Self::Unregister(Message::decode(payload).ok()?),
            log if log.starts_with("loggregator.log.") => Self::Log(Message::decode(payload).ok()?),
            _ => return None,
        })
    }

    pub(crate) fn advertised(&self) -> Option<Advertise> {
        match self {
            Self::Advertise(said) => Some(said.clone()),
            _ => None,
        }
    }

    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        match self {
            Self::Heartbeat(said) => Some(said.clone()),
            _ => None,
        }
    }

    pub(crate) fn exited(&self) -> Option<Exited> {
        match self {
            Self::Exited(said) => Some(said.clone()),
            _ => None,
        }
    }

    pub(crate) fn registered(&self) -> Option<Registration> {
        match self {
            Self::Register(said) => Some(said.clone()),
            _ => None,
        }
    }

    pub(crate) fn unregistered(&self) -> Option<Registration> {
        match self {
            Self::Unregister(said) => Some(said.clone()),
            _ => None,
        }
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        match self {
            Self::Log(said) => said.lines.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn says(&self, text: &str) -> Option<()> {
        self.lines()
            .iter()
            .any(|line| line.message.contains(text))
            .then_some(())
    }
}

impl Witness {
    /// One subscription hears everything, so that the order is that of the wire.
    pub(crate) async fn listen(bus: &Bus) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut all = bus.subscribe_raw(">", None).await.unwrap();
        bus.flush(Duration::from_secs(5)).await.unwrap();
        let into = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Some(message) = all.next().await {
                if let Some(said) = Said::of(&message.subject, &message.payload) {
                    into.lock().push(said);
                }
            }
        });
        Self { heard }
    }

    /// A point in time: how much was said so far.
    pub(crate) fn now(&self) -> usize {
        self.heard.lock().len()
    }

    pub(crate) fn since(&self, since: usize) -> Vec<Said> {
        self.heard.lock()[since..].to_vec()
    }

    /// Waits until something said since `since` is picked.
    pub(crate) async fn wait<T>(
        &self,
        since: usize,
        what: &str,
        mut pick: impl FnMut(&Said) -> Option<T>,
    ) -> Result<T, String> {
        let begun = Instant::now();
        let mut next = since;
        loop {
            for said in self.since(next) {
                next += 1;
                if let Some(found) = pick(&said) {
                    return Ok(found);
                }
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!(
                    "{what} was not heard; heard: {:#?}",
                    self.since(since)
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Position of the first message since `since` that is picked.
    pub(crate) fn position(&self, since: usize, pick: impl FnMut(&Said) -> bool) -> Option<usize> {
        self.since(since).iter().position(pick).map(|at| at + since)
    }
}

//! Telling the controller how a build ended, for as long as it takes.

use std::time::Duration;

use cupola_component::Backoff;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::journal::{Entry, Journal};
use crate::transfer::Transfer;

/// Pauses between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Delivers results. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    pub(crate) transfer: Transfer,
    pub(crate) journal: Journal,
    pub(crate) within: Duration,
}

/// Whether there is anything left to do about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The controller has it, or does not want it.
    Done,
    /// The controller is away.
    NotYet,
}

impl Reporter {
    /// Tries once.
    pub(crate) async fn tell(&self, entry: &Entry) -> Told {
        let completed = &entry.completed;
        let task = &completed.task_id;
        match self.transfer.post(&entry.completed_uri, completed).await {
            Ok(()) => {}
            Err(error) if error.is_transient() => {
                tracing::debug!(task.id = %task, "the result is not taken yet: {error}");
                return Told::NotYet;
            }
            Err(error) => {
                tracing::warn!(task.id = %task, "the controller does not want the result: {error}");
            }
        }
        if let Err(error) = self.journal.remove(task) {
            tracing::warn!(task.id = %task, "the result will be told again: {error}");
        }
        Told::Done
    }

    /// Tries until the controller has it. What is not told when the time is over or at shutdown
    /// stays in the journal for the next start.
    pub(crate) async fn insist(&self, entry: &Entry, shutdown: &CancellationToken) {
        let deadline = Instant::now() + self.within;
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while self.tell(entry).await == Told::NotYet {
            let pause = Instant::now() + backoff.next_pause();
            if pause > deadline {
                let task = &entry.completed.task_id;
                tracing::error!(task.id = %task, "the result could not be told in time");
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep_until(pause) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use cupola_messages::staging::Completed;
    use cupola_types::{AppGuid, StagingTaskId};
    use wiremock::matchers::{any, body_partial_json};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn reporter(folder: &std::path::Path, within: Duration) -> Reporter {
        let journal = Journal::open(folder.join("journal")).unwrap();
        Reporter {
            transfer: Transfer::new(folder.to_owned()).unwrap(),
            journal,
            within,
        }
    }

    fn entry(uri: String) -> Entry {
        let completed = Completed {
            task_id: StagingTaskId::new("t"),
            app_id: AppGuid::new("a"),
            stager_id: None,
            detected_buildpack: None,
            buildpack_key: None,
            droplet_sha1: Some("abc".into()),
            detected_start_command: None,
            error_info: None,
        };
        Entry {
            completed_uri: uri,
            completed,
        }
    }

    #[tokio::test]
    async fn a_controller_that_is_away_is_told_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), Duration::from_secs(30));
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(502))
            .up_to_n_times(3)
            .mount(&server)
            .await;
        let said = serde_json::json!({"task_id": "t", "droplet_sha1": "abc"});
        Mock::given(body_partial_json(said))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        let entry = entry(server.uri());
        reporter.journal.put(&entry).unwrap();
        reporter.insist(&entry, &CancellationToken::new()).await;
        assert_eq!(server.received_requests().await.unwrap().len(), 4);
        assert!(reporter.journal.entries().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_controller_that_refuses_is_left_in_peace() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), Duration::from_secs(30));
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(403))
            .mount(&server)
            .await;
        let entry = entry(server.uri());
        reporter.journal.put(&entry).unwrap();
        assert_eq!(reporter.tell(&entry).await, Told::Done);
        assert!(reporter.journal.entries().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_could_not_be_told_stays_in_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let reporter = reporter(folder.path(), Duration::from_millis(300));
        let entry = entry("http://127.0.0.1:1/".to_owned());
        reporter.journal.put(&entry).unwrap();
        reporter.insist(&entry, &CancellationToken::new()).await;
        let stopped = CancellationToken::new();
        stopped.cancel();
        reporter.insist(&entry, &stopped).await;
        assert_eq!(reporter.journal.entries().unwrap(), [entry]);
    }
}

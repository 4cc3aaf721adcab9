//! How an end is told: exit status and a short reason (bus contract §1.5).

use cupola_warden::{EndReason, Ended, Exit, WardenError};

use super::StartError;
use crate::instance::Ending;
use crate::output::Departure;

const OUT_OF_MEMORY: &str = "out of memory";
const OUT_OF_DISK: &str = "disk quota exceeded";

/// The end of an instance whose process went by itself.
pub(super) fn of(departure: &Departure) -> Ending {
    let description = match departure {
        Departure {
            out_of_memory: true,
            ..
        } => OUT_OF_MEMORY,
        Departure {
            out_of_disk: true, ..
        } => OUT_OF_DISK,
        Departure { exit: Some(_), .. } => "app instance exited",
        Departure { exit: None, .. } => "cannot be determined",
    };
    Ending {
        status: status(departure.exit),
        description: description.to_owned(),
    }
}

/// The end of an instance that never accepted a connection.
pub(super) fn of_failed_health_check() -> Ending {
    let description = "failed to accept connections within health check timeout";
    Ending {
        status: -1,
        description: description.to_owned(),
    }
}

/// The end of an instance that was never run.
pub(super) fn of_failed_start(error: &StartError) -> Ending {
    let over_disk = match error {
        StartError::OverDisk { .. } => true,
        StartError::Container(WardenError::Refused { message, .. }) => is_about_disk(message),
        _ => false,
    };
    let description = if over_disk {
        OUT_OF_DISK
    } else {
        "failed to start"
    };
    Ending {
        status: -1,
        description: description.to_owned(),
    }
}

/// What is known of a container that ended while no dea looked.
pub(super) fn seen_later(ended: &Ended) -> Departure {
    Departure {
        exit: ended.main,
        out_of_memory: ended.reason == EndReason::OutOfMemory
            || ended.main.is_some_and(|exit| exit.oom),
        out_of_disk: ended.reason == EndReason::OutOfDisk,
    }
}

/// The end for a log line.
pub(super) fn sentence(ending: &Ending) -> String {
    match ending.status {
        -1 => ending.description.clone(),
        status => format!("{}, exit status {status}", ending.description),
    }
}

fn status(exit: Option<Exit>) -> i32 {
    let exit = exit.map(|exit| exit.code.or(exit.signal.map(|signal| 128 + signal)));
    exit.flatten().unwrap_or(-1)
}

fn is_about_disk(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("no space left") || message.contains("quota exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: Option<i32>, signal: Option<i32>) -> Departure {
        Departure {
            exit: Some(Exit {
                code,
                signal,
                oom: false,
            }),
            ..Departure::default()
        }
    }

    #[test]
    fn ends_carry_the_status_of_a_shell_and_the_words_of_the_contract() {
        let told = |departure: &Departure| {
            let ending = of(departure);
            (ending.status, ending.description)
        };
        assert_eq!(
            told(&exit(Some(3), None)),
            (3, "app instance exited".to_owned())
        );
        assert_eq!(
            told(&exit(None, Some(11))),
            (139, "app instance exited".to_owned())
        );
        let oom = Departure {
            out_of_memory: true,
            ..exit(None, Some(9))
        };
        assert_eq!(told(&oom), (137, "out of memory".to_owned()));
        let disk = Departure {
            out_of_disk: true,
            ..exit(None, Some(9))
        };
        assert_eq!(told(&disk), (137, "disk quota exceeded".to_owned()));
        assert_eq!(
            told(&Departure::default()),
            (-1, "cannot be determined".to_owned())
        );
        assert_eq!(sentence(&of(&oom)), "out of memory, exit status 137");
        assert_eq!(
            sentence(&of_failed_health_check()),
            of_failed_health_check().description
        );
    }

    #[test]
    fn an_end_that_was_found_later_is_told_the_same() {
        let ended = |reason, main| Ended {
            reason,
            main,
            at_ms: 0,
        };
        let killed = Exit {
            code: None,
            signal: Some(9),
            oom: true,
        };
        let found = seen_later(&ended(EndReason::OutOfMemory, Some(killed)));
        assert_eq!(of(&found).description, "out of memory");
        let found = seen_later(&ended(EndReason::OutOfDisk, None));
        assert_eq!(of(&found).description, "disk quota exceeded");
    }
}

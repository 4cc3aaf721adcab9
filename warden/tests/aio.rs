//! The handles for tokio programs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{LONG, config, main_shell, shell};
use cupola_warden::{
    ContainerId, ContainerSpec, EndReason, Event, NetworkMode, WardenError,
    aio::{Depot, Recovered},
};

fn spec(id: &str) -> ContainerSpec {
    let mut spec = ContainerSpec::new(ContainerId::new(id).unwrap());
    spec.network = NetworkMode::Offline;
    spec
}

#[tokio::test]
async fn privileged_many_processes_are_followed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let depot = Depot::open(config(dir.path())).await.unwrap();
    let container = depot.create(spec("async")).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..10 {
        let container = container.clone();
        tasks.push(tokio::spawn(async move {
            let process = container
                .run(shell(&format!("sleep 0.1; echo {number}")))
                .await
                .unwrap();
            let mut events = process.attach(0).await.unwrap();
            let mut said = Vec::new();
            while let Some(event) = events.next().await.unwrap() {
                match event {
                    Event::Output { bytes, .. } => said.extend(bytes),
                    Event::Exited(exit) => assert!(exit.success()),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(said, format!("{number}\n").as_bytes());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let process = container.run(main_shell("sleep 1000")).await.unwrap();
    let late = process.wait(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(late, WardenError::Deadline { .. }), "{late}");
    let found = depot.recover().await.unwrap();
    assert!(
        matches!(found.as_slice(), [Recovered::Attached { .. }]),
        "{found:?}"
    );
    let ended = container.stop(Duration::from_secs(5)).await.unwrap();
    assert_eq!(ended.reason, EndReason::Stopped);
    assert_eq!(process.wait(LONG).await.unwrap().signal, Some(15));
    container.destroy().await.unwrap();
}

#[tokio::test]
async fn privileged_a_lost_supervisor_is_an_error_not_a_silence() {
    let dir = tempfile::tempdir().unwrap();
    let depot = Depot::open(config(dir.path())).await.unwrap();
    let container = depot.create(spec("lost")).await.unwrap();
    let process = container.run(shell("sleep 1000")).await.unwrap();
    let mut events = process.attach(0).await.unwrap();
    let supervisor = container.info().await.unwrap().supervisor_pid;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(supervisor).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    assert!(matches!(events.next().await, Err(WardenError::Lost { .. })));
    let found = depot.recover().await.unwrap();
    assert!(
        matches!(found.as_slice(), [Recovered::Lost { .. }]),
        "{found:?}"
    );
}

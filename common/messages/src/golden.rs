//! Golden JSON: each message reads its file in `tests/wire/` and writes the same JSON again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{Message, component, dea, health, logs, router, staging};

fn round_trip<M: Message>(name: &str) {
    let path = format!("{}/tests/wire/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let message = M::decode(&golden).unwrap_or_else(|e| panic!("{name}: {e}: {:?}", e.source));
    let written: serde_json::Value = serde_json::from_slice(&message.encode().unwrap()).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&golden).unwrap();
    assert_eq!(written, expected, "{name}");
}

/// Unknown fields are ignored: a later or another generation of the sender may add some.
fn tolerates_unknown_fields<M: Message>(name: &str) {
    let path = format!("{}/tests/wire/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    if let Some(object) = value.as_object_mut() {
        object.insert("field_of_tomorrow".into(), serde_json::json!({"a": 1}));
    }
    M::decode(&serde_json::to_vec(&value).unwrap()).unwrap();
}

macro_rules! golden {
    ($($test:ident: $message:ty = $file:literal;)+) => {$(
        #[test]
        fn $test() {
            round_trip::<$message>($file);
            tolerates_unknown_fields::<$message>($file);
        }
    )+};
}

golden! {
    dea_start_hello: dea::Hello = "dea.start";
    dea_advertise: dea::Advertise = "dea.advertise";
    dea_shutdown: dea::Shutdown = "dea.shutdown";
    dea_status_reply: dea::Status = "dea.status.reply";
    dea_id_start: dea::StartInstance = "dea.ID.start";
    dea_id_start_accepted: dea::StartAnswer = "dea.ID.start.accepted";
    dea_id_start_refused: dea::StartAnswer = "dea.ID.start.refused";
    dea_stop: dea::InstanceFilter = "dea.stop";
    dea_update: dea::UpdateRoutes = "dea.update";
    dea_find_droplet: dea::FindInstances = "dea.find.droplet";
    dea_find_droplet_reply: dea::FoundInstance = "dea.find.droplet.reply";
    dea_heartbeat: dea::Heartbeat = "dea.heartbeat";
    droplet_exited: dea::Exited = "droplet.exited";
    droplet_updated: health::AppUpdated = "droplet.updated";
    staging_advertise: staging::Advertise = "staging.advertise";
    staging_id_start: staging::StartStaging = "staging.ID.start";
    staging_id_start_accepted: staging::StartAnswer = "staging.ID.start.accepted";
    staging_stop: staging::StopStaging = "staging.stop";
    staging_completed: staging::Completed = "staging.completed";
    staging_completed_failed: staging::Completed = "staging.completed.failed";
    router_start: router::RouterStart = "router.start";
    router_register: router::Registration = "router.register";
    hm9000_start: health::StartProposal = "hm9000.start";
    hm9000_stop: health::StopProposal = "hm9000.stop";
    app_state: health::AppQuery = "app.state";
    app_state_reply: health::AppActual = "app.state.reply";
    app_state_bulk_reply: health::BulkActual = "app.state.bulk.reply";
    loggregator_log: logs::LogBatch = "loggregator.log.APP";
    vcap_component: component::Component = "vcap.component.announce";
}

#[test]
fn an_app_nothing_fresh_is_known_of_is_an_empty_object() {
    assert_eq!(health::AppActual::default().encode().unwrap(), b"{}");
    assert_eq!(
        health::AppActual::decode(b"{}").unwrap(),
        health::AppActual::default()
    );
}

#[test]
fn messages_that_may_be_empty_accept_any_payload() {
    for payload in [&b""[..], b"{}", b"not json"] {
        crate::Nothing::decode(payload).unwrap();
    }
}

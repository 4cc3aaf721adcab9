//! What the health manager proposes, checked against the row. It is never simply trusted: two of
//! them, or one that is behind, can do no harm.

use cupola_messages::dea::{self, InstanceFilter};
use cupola_messages::health::{StartProposal, StopProposal};
use cupola_types::InstanceIndex;

use crate::controller::Controller;
use crate::error::Fail;
use crate::model::app::{self, App};
use crate::model::order::{self, Order};

/// Whether a missing instance shall be started.
fn may_start(app: &App, proposal: &StartProposal) -> bool {
    app.version == proposal.version.as_str()
        && proposal.instance_index.0 < app.wanted()
        && app.droplet_key.is_some()
        && app.is_staged()
        && app.is_started()
}

/// Whether a surplus instance shall be stopped; `None` is an app that does not exist.
fn may_stop(app: Option<&App>, proposal: &StopProposal) -> bool {
    let Some(app) = app else { return true };
    app.has_failed()
        || proposal.is_duplicate
        || app.version != proposal.version.as_str()
        || proposal.instance_index.0 >= app.wanted()
        || !app.is_started()
}

/// An instance is said to be missing.
pub(super) async fn start(controller: &Controller, proposal: StartProposal) -> Result<(), Fail> {
    let index: InstanceIndex = proposal.instance_index;
    let this = controller.clone();
    let accepted = controller
        .decide(move |c, orders| {
            let open = order::of_subject(c, proposal.droplet.as_str())?;
            let is_to_start = |row| this.dispatcher.is_to_start(row, &proposal.version, index);
            if open.iter().any(is_to_start) {
                return Ok(None);
            }
            let app = app::find(c, proposal.droplet.as_str())?;
            let Some(app) = app.filter(|app| may_start(app, &proposal)) else {
                return Ok(None);
            };
            let version = proposal.version.clone();
            orders.give(
                &app.guid,
                Order::Start {
                    version,
                    indices: vec![index],
                },
            );
            Ok(Some(app.guid))
        })
        .await?;
    if let Some(guid) = accepted {
        tracing::info!(
            app.guid = guid,
            instance.index = index.0,
            "restarting a missing instance"
        );
    }
    Ok(())
}

/// An instance is said to be too many.
pub(super) async fn stop(controller: &Controller, proposal: StopProposal) -> Result<(), Fail> {
    let guid = proposal.droplet.as_str().to_owned();
    let app = controller.read(move |c| Ok(app::find(c, &guid)?)).await?;
    if !may_stop(app.as_ref(), &proposal) {
        tracing::debug!(
            ?proposal,
            "a stop was proposed for an instance that is wanted"
        );
        return Ok(());
    }
    let filter = InstanceFilter {
        version: Some(proposal.version),
        instances: Some(vec![proposal.instance_guid]),
        ..InstanceFilter::app(proposal.droplet)
    };
    if let Err(error) = controller.bus.publish(&dea::STOP, &filter).await {
        // It is proposed again as long as the instance is there.
        tracing::debug!("a surplus instance is not stopped yet: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use cupola_types::{AppGuid, AppVersion, InstanceGuid};

    use super::*;

    fn app() -> App {
        App {
            id: 1,
            guid: "app".into(),
            name: "app".into(),
            name_key: "app".into(),
            space_guid: "space".into(),
            stack_guid: "stack".into(),
            memory: 64,
            instances: 2,
            disk_quota: 64,
            state: "STARTED".into(),
            package_state: "STAGED".into(),
            command: None,
            buildpack: None,
            health_check_type: "port".into(),
            health_check_timeout: None,
            health_check_http_endpoint: None,
            diego: false,
            enable_ssh: false,
            environment: None,
            version: "v1".into(),
            staging_task_id: None,
            staging_failed_reason: None,
            staging_failed_description: None,
            detected_buildpack: None,
            detected_buildpack_guid: None,
            detected_start_command: None,
            package_key: Some("package".into()),
            package_sha1: None,
            package_updated_at: None,
            droplet_key: Some("droplet".into()),
            droplet_sha1: Some("sha".into()),
            created_at: cupola_db::now(),
            updated_at: None,
        }
    }

    fn start_of(index: u32) -> StartProposal {
        StartProposal {
            message_id: "m".into(),
            droplet: AppGuid::new("app"),
            version: AppVersion::new("v1"),
            instance_index: InstanceIndex(index),
        }
    }

    fn stop_of(index: u32, version: &str, is_duplicate: bool) -> StopProposal {
        StopProposal {
            message_id: "m".into(),
            droplet: AppGuid::new("app"),
            version: AppVersion::new(version),
            instance_guid: InstanceGuid::new("i"),
            instance_index: InstanceIndex(index),
            is_duplicate,
        }
    }

    #[test]
    fn starts_only_what_the_row_wants() {
        assert!(may_start(&app(), &start_of(1)));
        assert!(!may_start(&app(), &start_of(2)));
        assert!(!may_start(
            &App {
                version: "v2".into(),
                ..app()
            },
            &start_of(0)
        ));
        assert!(!may_start(
            &App {
                state: "STOPPED".into(),
                ..app()
            },
            &start_of(0)
        ));
        assert!(!may_start(
            &App {
                package_state: "PENDING".into(),
                ..app()
            },
            &start_of(0)
        ));
        assert!(!may_start(
            &App {
                package_state: "FAILED".into(),
                ..app()
            },
            &start_of(0)
        ));
        assert!(!may_start(
            &App {
                droplet_key: None,
                ..app()
            },
            &start_of(0)
        ));
    }

    #[test]
    fn stops_only_what_the_row_does_not_want() {
        assert!(!may_stop(Some(&app()), &stop_of(0, "v1", false)));
        assert!(!may_stop(Some(&app()), &stop_of(1, "v1", false)));
        assert!(may_stop(Some(&app()), &stop_of(2, "v1", false)));
        assert!(may_stop(Some(&app()), &stop_of(0, "v0", false)));
        assert!(may_stop(Some(&app()), &stop_of(0, "v1", true)));
        assert!(may_stop(None, &stop_of(0, "v1", false)));
        let stopped = App {
            state: "STOPPED".into(),
            ..app()
        };
        assert!(may_stop(Some(&stopped), &stop_of(0, "v1", false)));
        let failed = App {
            package_state: "FAILED".into(),
            ..app()
        };
        assert!(may_stop(Some(&failed), &stop_of(0, "v1", false)));
        let pending = App {
            package_state: "PENDING".into(),
            ..app()
        };
        assert!(!may_stop(Some(&pending), &stop_of(0, "v1", false)));
    }
}

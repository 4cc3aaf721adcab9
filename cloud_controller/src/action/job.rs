//! Jobs: work that a client polls.

use cupola_http::ApiError;
use cupola_types::JobGuid;

use crate::controller::Controller;
use crate::error::Fail;
use crate::model::job::{self, Job};

/// A job that is under way.
pub(crate) async fn begin(controller: &Controller) -> Result<Job, Fail> {
    let owner = controller.owner.clone();
    let guid = JobGuid::generate().into_string();
    controller
        .write(move |c| Ok(job::insert(c, &guid, job::RUNNING, &owner)?))
        .await
}

/// A job for work that was done before it was asked about: deletions.
pub(crate) async fn already_done(controller: &Controller) -> Result<Job, Fail> {
    let owner = controller.owner.clone();
    let guid = JobGuid::generate().into_string();
    controller
        .write(move |c| Ok(job::insert(c, &guid, job::FINISHED, &owner)?))
        .await
}

/// Ends a job the way its work ended.
pub(crate) async fn end(
    controller: &Controller,
    guid: &str,
    outcome: Result<(), ApiError>,
) -> Result<(), Fail> {
    let error = outcome.err().map(|error| error.to_json());
    let guid = guid.to_owned();
    controller
        .write(move |c| {
            job::finish(c, &guid, error.as_ref())?;
            Ok(())
        })
        .await
}

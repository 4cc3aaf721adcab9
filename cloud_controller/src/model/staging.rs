//! Attempts at staging an app.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::insert_row;
use crate::schema::staging_tasks;

/// A row of `staging_tasks`: an attempt that has not ended yet.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = staging_tasks)]
pub(crate) struct StagingTask {
    pub(crate) guid: String,
    pub(crate) app_guid: String,
    pub(crate) package_key: String,
    pub(crate) stager_id: Option<String>,
    pub(crate) accepted_at: Option<NaiveDateTime>,
    pub(crate) deadline_at: NaiveDateTime,
    /// Digest of the droplet that was uploaded for it.
    pub(crate) droplet_sha1: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = staging_tasks)]
struct NewTask<'a> {
    guid: &'a str,
    app_guid: &'a str,
    package_key: &'a str,
    deadline_at: NaiveDateTime,
    created_at: NaiveDateTime,
}

pub(crate) fn insert(
    c: &mut Conn,
    guid: &str,
    app_guid: &str,
    package_key: &str,
    deadline_at: NaiveDateTime,
) -> QueryResult<StagingTask> {
    let new = NewTask {
        guid,
        app_guid,
        package_key,
        deadline_at,
        created_at: now(),
    };
    insert_row!(c, staging_tasks, StagingTask, &new)
}

pub(crate) fn find(c: &mut Conn, guid: &str) -> QueryResult<Option<StagingTask>> {
    sql!(c, c => staging_tasks::table
        .filter(staging_tasks::guid.eq(guid))
        .select(StagingTask::as_select())
        .first(c))
    .optional()
}

pub(crate) fn of_app(c: &mut Conn, app_guid: &str) -> QueryResult<Vec<StagingTask>> {
    sql!(c, c => staging_tasks::table
        .filter(staging_tasks::app_guid.eq(app_guid))
        .order(staging_tasks::id)
        .select(StagingTask::as_select())
        .load(c))
}

/// Every attempt that has not ended.
pub(crate) fn open(c: &mut Conn) -> QueryResult<Vec<StagingTask>> {
    sql!(c, c => staging_tasks::table
        .order(staging_tasks::id)
        .select(StagingTask::as_select())
        .load(c))
}

pub(crate) fn accepted(c: &mut Conn, guid: &str, stager: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::update(staging_tasks::table.filter(staging_tasks::guid.eq(guid)))
        .set((
            staging_tasks::stager_id.eq(Some(stager)),
            staging_tasks::accepted_at.eq(Some(now())),
        ))
        .execute(c))
}

pub(crate) fn uploaded(c: &mut Conn, guid: &str, sha1: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::update(staging_tasks::table.filter(staging_tasks::guid.eq(guid)))
        .set(staging_tasks::droplet_sha1.eq(Some(sha1)))
        .execute(c))
}

pub(crate) fn end(c: &mut Conn, guid: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::delete(staging_tasks::table.filter(staging_tasks::guid.eq(guid)))
        .execute(c))
}

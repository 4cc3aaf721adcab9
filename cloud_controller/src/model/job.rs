//! Background jobs of the API, as a client polls them.

use chrono::NaiveDateTime;
use cupola_db::{Conn, Json, now, sql};
use diesel::prelude::*;
use serde_json::Value;

use super::insert_row;
use crate::schema::jobs;

/// A row of `jobs`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub(crate) struct Job {
    pub(crate) guid: String,
    pub(crate) status: String,
    pub(crate) error: Option<Json<Value>>,
    pub(crate) created_at: NaiveDateTime,
}

#[derive(Insertable)]
#[diesel(table_name = jobs)]
struct NewJob<'a> {
    guid: &'a str,
    status: &'a str,
    owner: &'a str,
    created_at: NaiveDateTime,
}

pub(crate) const RUNNING: &str = "running";
pub(crate) const FINISHED: &str = "finished";
pub(crate) const FAILED: &str = "failed";

pub(crate) fn insert(c: &mut Conn, guid: &str, status: &str, owner: &str) -> QueryResult<Job> {
    let new = NewJob {
        guid,
        status,
        owner,
        created_at: now(),
    };
    insert_row!(c, jobs, Job, &new)
}

pub(crate) fn find(c: &mut Conn, guid: &str) -> QueryResult<Option<Job>> {
    sql!(c, c => jobs::table.filter(jobs::guid.eq(guid)).select(Job::as_select()).first(c))
        .optional()
}

/// Ends a job; `error` is what the client shall read when it failed.
pub(crate) fn finish(c: &mut Conn, guid: &str, error: Option<&Value>) -> QueryResult<usize> {
    let status = if error.is_some() { FAILED } else { FINISHED };
    sql!(c, c => diesel::update(jobs::table.filter(jobs::guid.eq(guid)))
        .set((
            jobs::status.eq(status),
            jobs::error.eq(error.map(Json)),
            jobs::updated_at.eq(Some(now())),
        ))
        .execute(c))
}

/// Ends the jobs that a controller left behind when it died.
pub(crate) fn fail_orphans(c: &mut Conn, owner: &str, error: &Value) -> QueryResult<usize> {
    sql!(c, c => diesel::update(jobs::table.filter(
            jobs::owner.eq(owner).and(jobs::status.eq(RUNNING))))
        .set((
            jobs::status.eq(FAILED),
            jobs::error.eq(Some(Json(error))),
            jobs::updated_at.eq(Some(now())),
        ))
        .execute(c))
}

/// Forgets ended jobs older than `before`.
pub(crate) fn prune(c: &mut Conn, before: NaiveDateTime) -> QueryResult<usize> {
    sql!(c, c => diesel::delete(jobs::table.filter(
        jobs::created_at.lt(before).and(jobs::status.ne(RUNNING))))
        .execute(c))
}

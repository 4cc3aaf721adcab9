//! Feature flags and groups of environment variables.

use cupola_db::{Conn, sql};
use diesel::prelude::*;
use diesel::upsert::excluded;

use crate::schema::{env_groups, feature_flags};

/// A row of `feature_flags`: one that was changed from its default.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = feature_flags)]
pub(crate) struct FlagRow {
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) error_message: Option<String>,
}

pub(crate) fn flags(c: &mut Conn) -> QueryResult<Vec<FlagRow>> {
    sql!(c, c => feature_flags::table.select(FlagRow::as_select()).load(c))
}

pub(crate) fn flag(c: &mut Conn, name: &str) -> QueryResult<Option<FlagRow>> {
    sql!(c, c => feature_flags::table.find(name).select(FlagRow::as_select()).first(c)).optional()
}

pub(crate) fn set_flag(c: &mut Conn, row: &FlagRow) -> QueryResult<usize> {
    sql!(c, c => diesel::insert_into(feature_flags::table)
        .values(row)
        .on_conflict(feature_flags::name)
        .do_update()
        .set((
            feature_flags::enabled.eq(excluded(feature_flags::enabled)),
            feature_flags::error_message.eq(excluded(feature_flags::error_message)),
        ))
        .execute(c))
}

/// The sealed body of a group.
pub(crate) fn env_group(c: &mut Conn, name: &str) -> QueryResult<Option<String>> {
    sql!(c, c => env_groups::table.find(name).select(env_groups::body).first(c)).optional()
}

pub(crate) fn set_env_group(c: &mut Conn, name: &str, body: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::insert_into(env_groups::table)
        .values((env_groups::name.eq(name), env_groups::body.eq(body)))
        .on_conflict(env_groups::name)
        .do_update()
        .set(env_groups::body.eq(excluded(env_groups::body)))
        .execute(c))
}

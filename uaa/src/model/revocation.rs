//! Access tokens that were called back before their time, by id.

use chrono::NaiveDateTime;
use cupola_db::{Conn, sql};
use diesel::prelude::*;

use crate::schema::revoked_tokens;

/// Calls a token back; it is remembered until it would have expired.
pub(crate) fn insert(c: &mut Conn, jti: &str, expires_at: NaiveDateTime) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(revoked_tokens::table)
        .values((revoked_tokens::id.eq(jti), revoked_tokens::expires_at.eq(expires_at)))
        .on_conflict_do_nothing()
        .execute(c))
    .map(|_| ())
}

pub(crate) fn exists(c: &mut Conn, jti: &str) -> QueryResult<bool> {
    let row: QueryResult<String> =
        sql!(c, c => revoked_tokens::table.find(jti).select(revoked_tokens::id).first(c));
    Ok(row.optional()?.is_some())
}

/// Removes what has expired.
pub(crate) fn sweep(c: &mut Conn, now: NaiveDateTime) -> QueryResult<usize> {
    let expired = revoked_tokens::table.filter(revoked_tokens::expires_at.le(now));
    sql!(c, c => diesel::delete(expired).execute(c))
}

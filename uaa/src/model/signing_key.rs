//! The keys that sign tokens, encrypted.

use chrono::NaiveDateTime;
use cupola_db::{Conn, sql};
use diesel::prelude::*;

use crate::schema::signing_keys;

/// A key, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys)]
pub(crate) struct StoredKey {
    pub(crate) id: String,
    pub(crate) sealed: String,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) activates_at: NaiveDateTime,
}

/// All keys, the first to become active first.
pub(crate) fn all(c: &mut Conn) -> QueryResult<Vec<StoredKey>> {
    sql!(c, c => signing_keys::table
        .order((signing_keys::activates_at, signing_keys::id))
        .select(StoredKey::as_select())
        .load(c))
}

pub(crate) fn insert(c: &mut Conn, key: &StoredKey) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(signing_keys::table).values(key).execute(c)).map(|_| ())
}

pub(crate) fn delete(c: &mut Conn, id: &str) -> QueryResult<bool> {
    let gone: usize = sql!(c, c => diesel::delete(signing_keys::table.find(id)).execute(c))?;
    Ok(gone > 0)
}

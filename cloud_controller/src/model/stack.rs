//! Stacks.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, table_basics, table_delete};
use crate::schema::stacks;

/// A row of `stacks`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = stacks)]
pub(crate) struct Stack {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = stacks)]
struct NewStack<'a> {
    guid: &'a str,
    name: &'a str,
    description: &'a str,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "stacks",
    filters: &[("name", Column::Text("{name}"))],
    sortable: &["id", "name"],
};

table_basics!(stacks, Stack);
table_delete!(stacks);

pub(crate) fn insert(
    c: &mut Conn,
    guid: &str,
    name: &str,
    description: &str,
) -> QueryResult<Stack> {
    let new = NewStack {
        guid,
        name,
        description,
        created_at: now(),
    };
    insert_row!(c, stacks, Stack, &new)
}

pub(crate) fn find_by_name(c: &mut Conn, name: &str) -> QueryResult<Option<Stack>> {
    sql!(c, c => stacks::table
        .filter(stacks::name.eq(name))
        .select(Stack::as_select())
        .first(c))
    .optional()
}

//! Buildpacks: which there are and in which order they are tried. The built-in ones' files live with
//! the stager; a row without a blob names one of those.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, save_row, table_basics};
use crate::schema::buildpacks;

/// A row of `buildpacks`.
#[derive(Debug, Clone, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = buildpacks, treat_none_as_null = true)]
pub(crate) struct Buildpack {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) name: String,
    pub(crate) blob_key: Option<String>,
    /// From 1; lower ones are tried first.
    pub(crate) position: i32,
    pub(crate) enabled: bool,
    pub(crate) locked: bool,
    pub(crate) filename: Option<String>,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = buildpacks)]
struct NewBuildpack<'a> {
    guid: &'a str,
    name: &'a str,
    position: i32,
    enabled: bool,
    locked: bool,
    created_at: NaiveDateTime,
}

pub(crate) static LISTING: Listing = Listing {
    table: "buildpacks",
    filters: &[
        ("name", Column::Text("{name}")),
        // Ours run on any stack, which clients write as null.
        (
            "stack",
            Column::Text("SELECT {stack} FROM (SELECT '' AS stack) AS stackless"),
        ),
    ],
    sortable: &["position"],
};

table_basics!(buildpacks, Buildpack);

pub(crate) fn insert(
    c: &mut Conn,
    guid: &str,
    name: &str,
    position: i32,
    locked: bool,
) -> QueryResult<Buildpack> {
    let new = NewBuildpack {
        guid,
        name,
        position,
        enabled: true,
        locked,
        created_at: now(),
    };
    insert_row!(c, buildpacks, Buildpack, &new)
}

pub(crate) fn save(c: &mut Conn, buildpack: &Buildpack) -> QueryResult<Buildpack> {
    save_row!(c, buildpacks, Buildpack, buildpack)
}

pub(crate) fn find_by_name(c: &mut Conn, name: &str) -> QueryResult<Option<Buildpack>> {
    sql!(c, c => buildpacks::table
        .filter(buildpacks::name.eq(name))
        .select(Buildpack::as_select())
        .first(c))
    .optional()
}

/// All, in the order in which they are tried.
pub(crate) fn in_order(c: &mut Conn) -> QueryResult<Vec<Buildpack>> {
    sql!(c, c => buildpacks::table
        .order((buildpacks::position, buildpacks::id))
        .select(Buildpack::as_select())
        .load(c))
}

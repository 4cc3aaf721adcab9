//! Rows and the queries on them: plain functions over a connection, no rules and no JSON.

pub(crate) mod app;
pub(crate) mod buildpack;
pub(crate) mod domain;
pub(crate) mod event;
pub(crate) mod job;
pub(crate) mod listing;
pub(crate) mod order;
pub(crate) mod org;
pub(crate) mod quota;
pub(crate) mod route;
pub(crate) mod setting;
pub(crate) mod space;
pub(crate) mod stack;
pub(crate) mod staging;
pub(crate) mod user;

/// The functions that every table with an `id` and a `guid` has.
macro_rules! table_basics {
    ($table:ident, $row:ident) => {
        /// The row of that guid.
        pub(crate) fn find(
            c: &mut cupola_db::Conn,
            guid: &str,
        ) -> diesel::QueryResult<Option<$row>> {
            cupola_db::sql!(c, c => $table::table
                .filter($table::guid.eq(guid))
                .select($row::as_select())
                .first(c))
            .optional()
        }

        /// The rows of these ids, in the order of the ids.
        pub(crate) fn by_ids(
            c: &mut cupola_db::Conn,
            ids: &[i64],
        ) -> diesel::QueryResult<Vec<$row>> {
            let mut rows: Vec<$row> = cupola_db::sql!(c, c => $table::table
                .filter($table::id.eq_any(ids))
                .select($row::as_select())
                .load(c))?;
            let place = |id: i64| ids.iter().position(|wanted| *wanted == id);
            rows.sort_by_key(|row| place(row.id));
            Ok(rows)
        }
    };
}
pub(crate) use table_basics;

/// The function that removes a row by its guid.
macro_rules! table_delete {
    ($table:ident) => {
        /// Removes the row of that guid; says whether there was one.
        pub(crate) fn delete(c: &mut cupola_db::Conn, guid: &str) -> diesel::QueryResult<bool> {
            let gone = cupola_db::sql!(c, c => diesel::delete(
                $table::table.filter($table::guid.eq(guid)))
                .execute(c))?;
            Ok(gone > 0)
        }
    };
}
pub(crate) use table_delete;

/// Inserts a row and reads it back with its number.
macro_rules! insert_row {
    ($c:expr, $table:ident, $row:ident, $new:expr) => {
        cupola_db::sql!($c, c => diesel::insert_into($table::table)
            .values($new)
            .returning($row::as_returning())
            .get_result(c))
    };
}
pub(crate) use insert_row;

/// Writes a changed row back, all columns, with `updated_at` set.
macro_rules! save_row {
    ($c:expr, $table:ident, $row:ident, $changed:expr) => {{
        let changed = $row { updated_at: Some(cupola_db::now()), ..$changed.clone() };
        cupola_db::sql!($c, c => diesel::update($table::table.filter($table::id.eq(changed.id)))
            .set(&changed)
            .returning($row::as_returning())
            .get_result(c))
    }};
}
pub(crate) use save_row;

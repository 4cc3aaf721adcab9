//! People.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use super::random_hex;
use crate::schema::users;
use crate::scim::filter::{Expression, Operator, Value};

/// The origin of users whose passwords are kept here.
pub(crate) const INTERNAL: &str = "uaa";

/// A user, as kept.
#[derive(Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = users, treat_none_as_null = true)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) origin: String,
    pub(crate) user_name: String,
    pub(crate) user_key: String,
    pub(crate) password_hash: Option<String>,
    pub(crate) salt: String,
    pub(crate) email: String,
    pub(crate) given_name: String,
    pub(crate) family_name: String,
    pub(crate) external_id: String,
    pub(crate) active: bool,
    pub(crate) verified: bool,
    pub(crate) version: i32,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: NaiveDateTime,
    pub(crate) password_changed_at: NaiveDateTime,
    pub(crate) last_logon_at: Option<NaiveDateTime>,
    pub(crate) previous_logon_at: Option<NaiveDateTime>,
}

// === impl User ===

/// Without the hash, so that it does not reach a log by accident.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("origin", &self.origin)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

impl User {
    /// A new active user whose email is his name.
    pub(crate) fn new(origin: &str, user_name: &str) -> Self {
        let now = now();
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            origin: origin.to_owned(),
            user_name: user_name.to_owned(),
            user_key: key(user_name),
            password_hash: None,
            salt: random_hex(),
            email: user_name.to_owned(),
            given_name: String::new(),
            family_name: String::new(),
            external_id: String::new(),
            active: true,
            verified: true,
            version: 0,
            created_at: now,
            updated_at: now,
            password_changed_at: now,
            last_logon_at: None,
            previous_logon_at: None,
        }
    }
}

/// User names are told apart regardless of case.
pub(crate) fn key(user_name: &str) -> String {
    user_name.to_lowercase()
}

pub(crate) fn find(c: &mut Conn, id: &str) -> QueryResult<Option<User>> {
    let row: QueryResult<User> =
        sql!(c, c => users::table.find(id).select(User::as_select()).first(c));
    row.optional()
}

pub(crate) fn find_by_name(
    c: &mut Conn,
    origin: &str,
    user_name: &str,
) -> QueryResult<Option<User>> {
    let row: QueryResult<User> = sql!(c, c => users::table
        .filter(users::origin.eq(origin))
        .filter(users::user_key.eq(key(user_name)))
        .select(User::as_select())
        .first(c));
    row.optional()
}

pub(crate) fn insert(c: &mut Conn, user: &User) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(users::table).values(user).execute(c)).map(|_| ())
}

/// Writes all of `user` over his row.
pub(crate) fn update(c: &mut Conn, user: &User) -> QueryResult<bool> {
    let changed: usize =
        sql!(c, c => diesel::update(users::table.find(&user.id)).set(user).execute(c))?;
    Ok(changed > 0)
}

pub(crate) fn delete(c: &mut Conn, id: &str) -> QueryResult<bool> {
    let gone: usize = sql!(c, c => diesel::delete(users::table.find(id)).execute(c))?;
    Ok(gone > 0)
}

/// Notes a login.
pub(crate) fn logged_in(c: &mut Conn, id: &str, at: NaiveDateTime) -> QueryResult<()> {
    sql!(c, c => diesel::update(users::table.find(id))
        .set((users::previous_logon_at.eq(users::last_logon_at), users::last_logon_at.eq(at)))
        .execute(c))
    .map(|_| ())
}

/// Ends every token of the user.
pub(crate) fn new_salt(c: &mut Conn, id: &str) -> QueryResult<bool> {
    let changed: usize = sql!(c, c => diesel::update(users::table.find(id))
        .set(users::salt.eq(random_hex()))
        .execute(c))?;
    Ok(changed > 0)
}

/// Which of `ids` exist.
pub(crate) fn existing(c: &mut Conn, ids: &[String]) -> QueryResult<Vec<String>> {
    sql!(c, c => users::table.filter(users::id.eq_any(ids)).select(users::id).load(c))
}

/// How a list of users is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortBy {
    Created,
    UserName,
    Id,
}

/// Which users a list shows.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) filter: Expression,
    pub(crate) sort_by: SortBy,
    pub(crate) descending: bool,
    pub(crate) offset: i64,
    pub(crate) limit: i64,
}

/// The users of a listing's page, and how many match in all.
pub(crate) fn list(c: &mut Conn, listing: &Listing) -> QueryResult<(Vec<User>, i64)> {
    match c {
        Conn::Sqlite(c) => sqlite::list(c, listing),
        Conn::Postgres(c) => postgres::list(c, listing),
    }
}

diesel::define_sql_function! {
    /// SQL's own, for ASCII on SQLite.
    fn lower(text: Text) -> Text;
}

/// The attributes that a filter on users may name, in lower case.
pub(crate) const ATTRIBUTES: &[&str] = &[
    "id",
    "username",
    "email",
    "emails.value",
    "givenname",
    "name.givenname",
    "familyname",
    "name.familyname",
    "origin",
    "externalid",
    "active",
    "verified",
    "created",
    "meta.created",
    "lastmodified",
    "meta.lastmodified",
];

/// Compiles a filter into bound SQL. A boxed expression names its backend, so the same text is
/// compiled once for each.
macro_rules! listing {
    ($module:ident, $connection:ty, $backend:ty) => {
        mod $module {
            use super::*;

            type Condition = Box<dyn BoxableExpression<users::table, $backend, SqlType = Bool>>;

            pub(super) fn list(
                c: &mut $connection,
                listing: &Listing,
            ) -> QueryResult<(Vec<User>, i64)> {
                let total: i64 = users::table
                    .filter(condition(&listing.filter))
                    .count()
                    .get_result(c)?;
                let mut query = users::table
                    .filter(condition(&listing.filter))
                    .offset(listing.offset)
                    .limit(listing.limit)
                    .select(User::as_select())
                    .into_boxed::<$backend>();
                query = match (listing.sort_by, listing.descending) {
                    (SortBy::Created, false) => query.order((users::created_at.asc(), users::id)),
                    (SortBy::Created, true) => query.order((users::created_at.desc(), users::id)),
                    (SortBy::UserName, false) => query.order((users::user_key.asc(), users::id)),
                    (SortBy::UserName, true) => query.order((users::user_key.desc(), users::id)),
                    (SortBy::Id, false) => query.order(users::id.asc()),
                    (SortBy::Id, true) => query.order(users::id.desc()),
                };
                Ok((query.load(c)?, total))
            }

            fn condition(expression: &Expression) -> Condition {
                match expression {
                    Expression::Everything => Box::new(users::id.ne("")),
                    Expression::And(left, right) => Box::new(condition(left).and(condition(right))),
                    Expression::Or(left, right) => Box::new(condition(left).or(condition(right))),
                    Expression::Compare {
                        attribute,
                        operator,
                        value,
                    } => compare(attribute, *operator, value),
                }
            }

            macro_rules! text {
                ($column:expr, $operator:expr, $value:expr) => {
                    match ($operator, $value.to_text().to_lowercase()) {
                        (Operator::Present, _) => Box::new($column.ne("")) as Condition,
                        (Operator::Equal, text) => Box::new(lower($column).eq(text)),
                        (Operator::Contains, text) => {
                            Box::new(lower($column).like(like("%", &text)).escape('\\'))
                        }
                        (Operator::StartsWith, text) => {
                            Box::new(lower($column).like(like("", &text)).escape('\\'))
                        }
                        (Operator::Greater, text) => Box::new(lower($column).gt(text)),
                        (Operator::AtLeast, text) => Box::new(lower($column).ge(text)),
                        (Operator::Less, text) => Box::new(lower($column).lt(text)),
                        (Operator::AtMost, text) => Box::new(lower($column).le(text)),
                    }
                };
            }

            macro_rules! time {
                ($column:expr, $operator:expr, $value:expr) => {
                    match ($operator, $value.to_time()) {
                        (Operator::Present, _) => Box::new(users::id.ne("")) as Condition,
                        (_, None) => nothing(),
                        (Operator::Greater, Some(time)) => Box::new($column.gt(time)),
                        (Operator::AtLeast, Some(time)) => Box::new($column.ge(time)),
                        (Operator::Less, Some(time)) => Box::new($column.lt(time)),
                        (Operator::AtMost, Some(time)) => Box::new($column.le(time)),
                        (_, Some(time)) => Box::new($column.eq(time)),
                    }
                };
            }

            fn compare(attribute: &str, operator: Operator, value: &Value) -> Condition {
                match attribute {
                    "id" => text!(users::id, operator, value),
                    "username" => text!(users::user_key, operator, value),
                    "email" | "emails.value" => text!(users::email, operator, value),
                    "givenname" | "name.givenname" => text!(users::given_name, operator, value),
                    "familyname" | "name.familyname" => text!(users::family_name, operator, value),
                    "origin" => text!(users::origin, operator, value),
                    "externalid" => text!(users::external_id, operator, value),
                    "active" => Box::new(users::active.eq(value.to_bool())),
                    "verified" => Box::new(users::verified.eq(value.to_bool())),
                    "created" | "meta.created" => time!(users::created_at, operator, value),
                    "lastmodified" | "meta.lastmodified" => {
                        time!(users::updated_at, operator, value)
                    }
                    // Attributes are checked against the list above before it comes to this.
                    _ => nothing(),
                }
            }

            fn nothing() -> Condition {
                Box::new(users::id.eq(""))
            }
        }
    };
}

listing!(
    sqlite,
    diesel::sqlite::SqliteConnection,
    diesel::sqlite::Sqlite
);
listing!(postgres, cupola_db::PgConn, diesel::pg::Pg);

/// A LIKE pattern in which the user's text stands for itself.
fn like(before: &str, text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("{before}{escaped}%")
}

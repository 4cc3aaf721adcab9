//! OAuth clients.

use chrono::NaiveDateTime;
use cupola_db::{Conn, Json, now, sql};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Names, random_hex};
use crate::schema::clients;

/// Which scopes need no approval by the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AutoApprove {
    /// All, or none.
    All(bool),
    /// These.
    Scopes(Vec<String>),
}

/// A client, as kept.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = clients, treat_none_as_null = true)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Hashes; empty text stands for the empty secret.
    pub(crate) secrets: Names,
    pub(crate) seed: Option<String>,
    pub(crate) scopes: Names,
    pub(crate) authorities: Names,
    pub(crate) grant_types: Names,
    pub(crate) redirect_uris: Names,
    pub(crate) auto_approve: Json<AutoApprove>,
    pub(crate) access_validity: Option<i32>,
    pub(crate) refresh_validity: Option<i32>,
    pub(crate) salt: String,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: NaiveDateTime,
}

// === impl AutoApprove ===

impl Default for AutoApprove {
    fn default() -> Self {
        Self::All(false)
    }
}

impl AutoApprove {
    /// Whether `scope` may be granted without asking the user.
    #[must_use]
    pub fn covers(&self, scope: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::Scopes(scopes) => scopes.iter().any(|s| s == scope || s == "true"),
        }
    }
}

// === impl Client ===

impl Client {
    /// A client that may do nothing yet.
    pub(crate) fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        let now = now();
        Self {
            name: id.clone(),
            id,
            secrets: Json(Vec::new()),
            seed: None,
            scopes: Json(Vec::new()),
            authorities: Json(Vec::new()),
            grant_types: Json(Vec::new()),
            redirect_uris: Json(Vec::new()),
            auto_approve: Json(AutoApprove::default()),
            access_validity: None,
            refresh_validity: None,
            salt: random_hex(),
            created_at: now,
            updated_at: now,
        }
    }

    pub(crate) fn may_use(&self, grant_type: &str) -> bool {
        self.grant_types.0.iter().any(|grant| grant == grant_type)
    }

    pub(crate) fn has_authority(&self, authority: &str) -> bool {
        self.authorities.0.iter().any(|a| a == authority)
    }
}

pub(crate) fn find(c: &mut Conn, id: &str) -> QueryResult<Option<Client>> {
    let row: QueryResult<Client> =
        sql!(c, c => clients::table.find(id).select(Client::as_select()).first(c));
    row.optional()
}

pub(crate) fn insert(c: &mut Conn, client: &Client) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(clients::table).values(client).execute(c)).map(|_| ())
}

/// Writes all of `client` over the row of the same id; `false` when there is none.
pub(crate) fn update(c: &mut Conn, client: &Client) -> QueryResult<bool> {
    let changed: usize =
        sql!(c, c => diesel::update(clients::table.find(&client.id)).set(client).execute(c))?;
    Ok(changed > 0)
}

pub(crate) fn delete(c: &mut Conn, id: &str) -> QueryResult<bool> {
    let gone: usize = sql!(c, c => diesel::delete(clients::table.find(id)).execute(c))?;
    Ok(gone > 0)
}

/// A page of clients by id, and how many there are in all.
pub(crate) fn list(c: &mut Conn, offset: i64, limit: i64) -> QueryResult<(Vec<Client>, i64)> {
    let total: i64 = sql!(c, c => clients::table.count().get_result(c))?;
    let page = sql!(c, c => clients::table
        .order(clients::id)
        .offset(offset)
        .limit(limit)
        .select(Client::as_select())
        .load(c))?;
    Ok((page, total))
}

/// Ids with the digest of the configuration that each was made from.
pub(crate) fn seeds(c: &mut Conn) -> QueryResult<Vec<(String, Option<String>)>> {
    sql!(c, c => clients::table
        .filter(clients::seed.is_not_null())
        .select((clients::id, clients::seed))
        .load(c))
}

/// The longest time that an access token of any client lives, in seconds, if one sets it.
pub(crate) fn longest_access_validity(c: &mut Conn) -> QueryResult<Option<i32>> {
    sql!(c, c => clients::table
        .select(diesel::dsl::max(clients::access_validity))
        .first(c))
}

//! Refresh tokens: opaque, kept by digest, revocable.

use chrono::NaiveDateTime;
use cupola_db::{Conn, sql};
use diesel::prelude::*;

use super::{Names, digest_id, random_hex};
use crate::schema::refresh_tokens;

/// Most live tokens of one user with one client; the oldest give way.
const MAX_PER_OWNER: i64 = 100;

/// A refresh token, as kept.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = refresh_tokens)]
pub(crate) struct RefreshToken {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) scopes: Names,
    /// What of user and client the token depends on; see `token::revocation_signature`.
    pub(crate) signature: String,
    /// How the user proved who he is.
    pub(crate) grant_type: String,
    pub(crate) authenticated_at: NaiveDateTime,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) expires_at: NaiveDateTime,
}

/// A new token's text: no JWT, and marked by its ending.
pub(crate) fn generate() -> String {
    format!("{}-r", random_hex())
}

pub(crate) fn find(c: &mut Conn, token: &str) -> QueryResult<Option<RefreshToken>> {
    let row: QueryResult<RefreshToken> = sql!(c, c => refresh_tokens::table
        .find(digest_id(token))
        .select(RefreshToken::as_select())
        .first(c));
    row.optional()
}

/// Keeps a token and drops the oldest of the same owner beyond the limit.
pub(crate) fn insert(c: &mut Conn, token: &RefreshToken) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(refresh_tokens::table).values(token).execute(c))?;
    let surplus: Vec<String> = sql!(c, c => refresh_tokens::table
        .filter(refresh_tokens::user_id.eq(&token.user_id))
        .filter(refresh_tokens::client_id.eq(&token.client_id))
        .order((refresh_tokens::created_at.desc(), refresh_tokens::id))
        .offset(MAX_PER_OWNER)
        .limit(MAX_PER_OWNER)
        .select(refresh_tokens::id)
        .load(c))?;
    if !surplus.is_empty() {
        let old = refresh_tokens::table.filter(refresh_tokens::id.eq_any(&surplus));
        sql!(c, c => diesel::delete(old).execute(c))?;
    }
    Ok(())
}

/// Removes one token by its digest; `false` when it is not there.
pub(crate) fn delete(c: &mut Conn, id: &str) -> QueryResult<bool> {
    let gone: usize = sql!(c, c => diesel::delete(refresh_tokens::table.find(id)).execute(c))?;
    Ok(gone > 0)
}

/// Removes all tokens of a user, or those with one client.
pub(crate) fn delete_of_user(
    c: &mut Conn,
    user_id: &str,
    client_id: Option<&str>,
) -> QueryResult<usize> {
    let of_user = refresh_tokens::table.filter(refresh_tokens::user_id.eq(user_id));
    match client_id {
        Some(client) => {
            let both = of_user.filter(refresh_tokens::client_id.eq(client));
            sql!(c, c => diesel::delete(both).execute(c))
        }
        None => sql!(c, c => diesel::delete(of_user).execute(c)),
    }
}

/// Removes what has expired.
pub(crate) fn sweep(c: &mut Conn, now: NaiveDateTime) -> QueryResult<usize> {
    let expired = refresh_tokens::table.filter(refresh_tokens::expires_at.le(now));
    sql!(c, c => diesel::delete(expired).execute(c))
}

//! Groups: a group's name is a scope, its members hold it.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::user::lower;
use crate::schema::{group_members, groups};

/// A group, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = groups)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) version: i32,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: NaiveDateTime,
}

// === impl Group ===

impl Group {
    pub(crate) fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        let now = now();
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            name: name.into(),
            description: description.into(),
            version: 0,
            created_at: now,
            updated_at: now,
        }
    }
}

pub(crate) fn find(c: &mut Conn, id: &str) -> QueryResult<Option<Group>> {
    let row: QueryResult<Group> =
        sql!(c, c => groups::table.find(id).select(Group::as_select()).first(c));
    row.optional()
}

pub(crate) fn insert(c: &mut Conn, group: &Group) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(groups::table).values(group).execute(c)).map(|_| ())
}

pub(crate) fn delete(c: &mut Conn, id: &str) -> QueryResult<bool> {
    let gone: usize = sql!(c, c => diesel::delete(groups::table.find(id)).execute(c))?;
    Ok(gone > 0)
}

pub(crate) fn names(c: &mut Conn) -> QueryResult<Vec<String>> {
    sql!(c, c => groups::table.select(groups::name).load(c))
}

/// A page of groups by name, and how many match in all.
pub(crate) fn list(
    c: &mut Conn,
    name: Option<&str>,
    offset: i64,
    limit: i64,
) -> QueryResult<(Vec<Group>, i64)> {
    match name {
        Some(name) => {
            let name = name.to_lowercase();
            let all: Vec<Group> = sql!(c, c => groups::table
                .filter(lower(groups::name).eq(&name))
                .select(Group::as_select())
                .load(c))?;
            let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
            Ok((if offset == 0 { all } else { Vec::new() }, total))
        }
        None => {
            let total: i64 = sql!(c, c => groups::table.count().get_result(c))?;
            let page = sql!(c, c => groups::table
                .order(groups::name)
                .offset(offset)
                .limit(limit)
                .select(Group::as_select())
                .load(c))?;
            Ok((page, total))
        }
    }
}

/// Ids of the members of `group_id`, at most `limit`.
pub(crate) fn members(c: &mut Conn, group_id: &str, limit: i64) -> QueryResult<Vec<String>> {
    sql!(c, c => group_members::table
        .filter(group_members::group_id.eq(group_id))
        .order(group_members::user_id)
        .limit(limit)
        .select(group_members::user_id)
        .load(c))
}

/// Adds a member; `false` when he is one already.
pub(crate) fn add_member(c: &mut Conn, group_id: &str, user_id: &str) -> QueryResult<bool> {
    let added: usize = sql!(c, c => diesel::insert_into(group_members::table)
        .values((group_members::group_id.eq(group_id), group_members::user_id.eq(user_id)))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(added > 0)
}

/// Takes a member out; `false` when he was none.
pub(crate) fn remove_member(c: &mut Conn, group_id: &str, user_id: &str) -> QueryResult<bool> {
    let row = group_members::table.find((group_id, user_id));
    let removed: usize = sql!(c, c => diesel::delete(row).execute(c))?;
    Ok(removed > 0)
}

/// Makes exactly `user_ids` the members.
pub(crate) fn set_members(c: &mut Conn, group_id: &str, user_ids: &[String]) -> QueryResult<()> {
    let of_group = group_members::table.filter(group_members::group_id.eq(group_id));
    sql!(c, c => diesel::delete(of_group).execute(c))?;
    for user_id in user_ids {
        add_member(c, group_id, user_id)?;
    }
    Ok(())
}

/// Counts a change, so that who saw the older version notices.
pub(crate) fn touch(c: &mut Conn, id: &str, description: Option<&str>) -> QueryResult<()> {
    let row = groups::table.find(id);
    sql!(c, c => diesel::update(row)
        .set((groups::version.eq(groups::version + 1), groups::updated_at.eq(now())))
        .execute(c))?;
    if let Some(text) = description {
        sql!(c, c => diesel::update(row).set(groups::description.eq(text)).execute(c))?;
    }
    Ok(())
}

/// The groups of a user, by name, with their ids.
pub(crate) fn of_user(c: &mut Conn, user_id: &str) -> QueryResult<Vec<(String, String)>> {
    sql!(c, c => group_members::table
        .inner_join(groups::table)
        .filter(group_members::user_id.eq(user_id))
        .order(groups::name)
        .select((groups::name, groups::id))
        .load(c))
}

/// The groups of several users, by user id.
pub(crate) fn of_users(
    c: &mut Conn,
    user_ids: &[&str],
) -> QueryResult<BTreeMap<String, Vec<(String, String)>>> {
    let rows: Vec<(String, String, String)> = sql!(c, c => group_members::table
        .inner_join(groups::table)
        .filter(group_members::user_id.eq_any(user_ids))
        .order((group_members::user_id, groups::name))
        .select((group_members::user_id, groups::name, groups::id))
        .load(c))?;
    let mut by_user: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (user, name, id) in rows {
        by_user.entry(user).or_default().push((name, id));
    }
    Ok(by_user)
}

/// The id of the group `name`, made if it is not there.
pub(crate) fn ensure(c: &mut Conn, name: &str) -> QueryResult<String> {
    let id: Option<String> = {
        let found: QueryResult<String> = sql!(c, c => groups::table
            .filter(groups::name.eq(name))
            .select(groups::id)
            .first(c));
        found.optional()?
    };
    match id {
        Some(id) => Ok(id),
        None => {
            let group = Group::new(name, "");
            insert(c, &group)?;
            Ok(group.id)
        }
    }
}

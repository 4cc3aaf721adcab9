//! Users, as far as the controller knows them, and their roles.

use chrono::NaiveDateTime;
use cupola_db::{Conn, now, sql};
use diesel::prelude::*;

use super::listing::{Column, Listing};
use super::{insert_row, table_basics, table_delete};
use crate::schema::{org_roles, space_roles, users};

/// A row of `users`; identity itself lives in UAA.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = users)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) guid: String,
    pub(crate) username: Option<String>,
    pub(crate) admin: bool,
    pub(crate) active: bool,
    pub(crate) default_space_guid: Option<String>,
    pub(crate) created_at: NaiveDateTime,
    pub(crate) updated_at: Option<NaiveDateTime>,
}

#[derive(Insertable)]
#[diesel(table_name = users)]
struct NewUser<'a> {
    guid: &'a str,
    username: Option<&'a str>,
    username_key: Option<String>,
    admin: bool,
    active: bool,
    created_at: NaiveDateTime,
}

/// A role in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrgRole {
    User,
    Manager,
    BillingManager,
    Auditor,
}

/// A role in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpaceRole {
    Manager,
    Developer,
    Auditor,
}

pub(crate) static LISTING: Listing = Listing {
    table: "users",
    filters: &[
        (
            "space_guid",
            Column::Text("guid IN (SELECT user_guid FROM space_roles WHERE {space_guid})"),
        ),
        (
            "organization_guid",
            Column::Text("guid IN (SELECT user_guid FROM org_roles WHERE {org_guid})"),
        ),
        (
            "managed_organization_guid",
            Column::Text(
                "guid IN (SELECT user_guid FROM org_roles WHERE role = 'manager' AND ({org_guid}))",
            ),
        ),
        (
            "audited_organization_guid",
            Column::Text(
                "guid IN (SELECT user_guid FROM org_roles WHERE role = 'auditor' AND ({org_guid}))",
            ),
        ),
        (
            "managed_space_guid",
            Column::Text(
                "guid IN (SELECT user_guid FROM space_roles WHERE role = 'manager' AND ({space_guid}))",
            ),
        ),
        (
            "audited_space_guid",
            Column::Text(
                "guid IN (SELECT user_guid FROM space_roles WHERE role = 'auditor' AND ({space_guid}))",
            ),
        ),
    ],
    sortable: &["id"],
};

table_basics!(users, User);
table_delete!(users);

// === impl OrgRole ===

impl OrgRole {
    pub(crate) const ALL: [OrgRole; 4] = [
        OrgRole::User,
        OrgRole::Manager,
        OrgRole::BillingManager,
        OrgRole::Auditor,
    ];

    /// In the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            OrgRole::User => "user",
            OrgRole::Manager => "manager",
            OrgRole::BillingManager => "billing_manager",
            OrgRole::Auditor => "auditor",
        }
    }

    /// The relation's name in paths.
    pub(crate) fn relation(self) -> &'static str {
        match self {
            OrgRole::User => "users",
            OrgRole::Manager => "managers",
            OrgRole::BillingManager => "billing_managers",
            OrgRole::Auditor => "auditors",
        }
    }

    /// In `organization_roles` of a user list and in event types.
    pub(crate) fn public_name(self) -> &'static str {
        match self {
            OrgRole::User => "org_user",
            OrgRole::Manager => "org_manager",
            OrgRole::BillingManager => "billing_manager",
            OrgRole::Auditor => "org_auditor",
        }
    }

    /// The role of that relation.
    pub(crate) fn of_relation(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.relation() == name)
    }

    fn of_str(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

// === impl SpaceRole ===

impl SpaceRole {
    pub(crate) const ALL: [SpaceRole; 3] =
        [SpaceRole::Manager, SpaceRole::Developer, SpaceRole::Auditor];

    /// In the table.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            SpaceRole::Manager => "manager",
            SpaceRole::Developer => "developer",
            SpaceRole::Auditor => "auditor",
        }
    }

    /// The relation's name in paths.
    pub(crate) fn relation(self) -> &'static str {
        match self {
            SpaceRole::Manager => "managers",
            SpaceRole::Developer => "developers",
            SpaceRole::Auditor => "auditors",
        }
    }

    /// In `space_roles` of a user list and in event types.
    pub(crate) fn public_name(self) -> &'static str {
        match self {
            SpaceRole::Manager => "space_manager",
            SpaceRole::Developer => "space_developer",
            SpaceRole::Auditor => "space_auditor",
        }
    }

    /// The role of that relation.
    pub(crate) fn of_relation(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.relation() == name)
    }

    fn of_str(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// Makes the user known, or learns the name of one who was nameless.
pub(crate) fn ensure(c: &mut Conn, guid: &str, username: Option<&str>) -> QueryResult<User> {
    if let Some(user) = find(c, guid)? {
        if username.is_none() || user.username.as_deref() == username {
            return Ok(user);
        }
        let key = username.map(str::to_lowercase);
        return sql!(c, c => diesel::update(users::table.filter(users::guid.eq(guid)))
            .set((
                users::username.eq(username),
                users::username_key.eq(key),
                users::updated_at.eq(Some(now())),
            ))
            .returning(User::as_returning())
            .get_result(c));
    }
    let new = NewUser {
        guid,
        username,
        username_key: username.map(str::to_lowercase),
        admin: false,
        active: true,
        created_at: now(),
    };
    insert_row!(c, users, User, &new)
}

pub(crate) fn find_by_username(c: &mut Conn, username: &str) -> QueryResult<Option<User>> {
    let key = username.to_lowercase();
    sql!(c, c => users::table
        .filter(users::username_key.eq(Some(&key)))
        .order(users::id)
        .select(User::as_select())
        .first(c))
    .optional()
}

pub(crate) fn set_admin(c: &mut Conn, guid: &str) -> QueryResult<usize> {
    sql!(c, c => diesel::update(users::table.filter(users::guid.eq(guid)))
        .set(users::admin.eq(true))
        .execute(c))
}

pub(crate) fn set_default_space(
    c: &mut Conn,
    guid: &str,
    space: Option<&str>,
) -> QueryResult<User> {
    sql!(c, c => diesel::update(users::table.filter(users::guid.eq(guid)))
        .set((users::default_space_guid.eq(space), users::updated_at.eq(Some(now()))))
        .returning(User::as_returning())
        .get_result(c))
}

pub(crate) fn roles_in_org(c: &mut Conn, org: &str, user: &str) -> QueryResult<Vec<OrgRole>> {
    let names: Vec<String> = sql!(c, c => org_roles::table
        .filter(org_roles::org_guid.eq(org).and(org_roles::user_guid.eq(user)))
        .select(org_roles::role)
        .load(c))?;
    Ok(names
        .iter()
        .filter_map(|name| OrgRole::of_str(name))
        .collect())
}

pub(crate) fn roles_in_space(c: &mut Conn, space: &str, user: &str) -> QueryResult<Vec<SpaceRole>> {
    let names: Vec<String> = sql!(c, c => space_roles::table
        .filter(space_roles::space_guid.eq(space).and(space_roles::user_guid.eq(user)))
        .select(space_roles::role)
        .load(c))?;
    Ok(names
        .iter()
        .filter_map(|name| SpaceRole::of_str(name))
        .collect())
}

pub(crate) fn add_org_role(
    c: &mut Conn,
    org: &str,
    user: &str,
    role: OrgRole,
) -> QueryResult<bool> {
    let added = sql!(c, c => diesel::insert_into(org_roles::table)
        .values((
            org_roles::org_guid.eq(org),
            org_roles::user_guid.eq(user),
            org_roles::role.eq(role.as_str()),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(added > 0)
}

pub(crate) fn remove_org_role(
    c: &mut Conn,
    org: &str,
    user: &str,
    role: OrgRole,
) -> QueryResult<bool> {
    let gone = sql!(c, c => diesel::delete(org_roles::table.filter(
        org_roles::org_guid.eq(org)
            .and(org_roles::user_guid.eq(user))
            .and(org_roles::role.eq(role.as_str()))))
        .execute(c))?;
    Ok(gone > 0)
}

pub(crate) fn count_org_role(c: &mut Conn, org: &str, role: OrgRole) -> QueryResult<i64> {
    sql!(c, c => org_roles::table
        .filter(org_roles::org_guid.eq(org).and(org_roles::role.eq(role.as_str())))
        .count()
        .get_result(c))
}

pub(crate) fn add_space_role(
    c: &mut Conn,
    space: &str,
    user: &str,
    role: SpaceRole,
) -> QueryResult<bool> {
    let added = sql!(c, c => diesel::insert_into(space_roles::table)
        .values((
            space_roles::space_guid.eq(space),
            space_roles::user_guid.eq(user),
            space_roles::role.eq(role.as_str()),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(added > 0)
}

pub(crate) fn remove_space_role(
    c: &mut Conn,
    space: &str,
    user: &str,
    role: SpaceRole,
) -> QueryResult<bool> {
    let gone = sql!(c, c => diesel::delete(space_roles::table.filter(
        space_roles::space_guid.eq(space)
            .and(space_roles::user_guid.eq(user))
            .and(space_roles::role.eq(role.as_str()))))
        .execute(c))?;
    Ok(gone > 0)
}

/// Takes a user out of every space of an organization, as leaving the organization does.
pub(crate) fn remove_from_spaces_of(c: &mut Conn, org: &str, user: &str) -> QueryResult<usize> {
    use crate::schema::spaces;
    let inside: Vec<String> = sql!(c, c => spaces::table
        .filter(spaces::org_guid.eq(org))
        .select(spaces::guid)
        .load(c))?;
    sql!(c, c => diesel::delete(space_roles::table.filter(
        space_roles::user_guid.eq(user).and(space_roles::space_guid.eq_any(&inside))))
        .execute(c))
}

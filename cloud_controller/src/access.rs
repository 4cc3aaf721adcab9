//! Who may do what: roles in organizations and spaces.
//!
//! Two tables of rights ([`OrgRight`], [`SpaceRight`]), one question
//! ([`Actor::require_in_space`] and its kin), and the same rules as a condition for lists, so that
//! what a list hides a look-up refuses.

use cupola_db::Conn;
use cupola_http::api_error;

use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::org::{self, Org};
use crate::model::space::{self, Space};
use crate::model::user::{self, OrgRole, SpaceRole};

/// Something one may be allowed to do in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrgRight {
    /// See it.
    Read,
    /// Rename it, give roles, make spaces and domains.
    Manage,
}

/// Something one may be allowed to do in a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpaceRight {
    /// See it and what is in it.
    Read,
    /// See the secrets of what is in it.
    ReadSecrets,
    /// Make, change and remove apps and routes.
    Develop,
    /// Rename it, give roles.
    Manage,
    /// Remove it.
    Delete,
}

const SUSPENDED: &str = "suspended";

impl Actor {
    /// Checks a right in an organization.
    ///
    /// # Errors
    /// `NotAuthorized`.
    pub(crate) fn require_in_org(
        &self,
        c: &mut Conn,
        right: OrgRight,
        org: &Org,
    ) -> Result<(), Fail> {
        if self.is_admin || (right == OrgRight::Read && self.reads_all) {
            return Ok(());
        }
        let roles = user::roles_in_org(c, &org.guid, &self.guid)?;
        let allowed = match right {
            OrgRight::Read => !roles.is_empty(),
            OrgRight::Manage => roles.contains(&OrgRole::Manager) && org.status != SUSPENDED,
        };
        permit(allowed)
    }

    /// Checks a right in a space.
    ///
    /// # Errors
    /// `NotAuthorized`.
    pub(crate) fn require_in_space(
        &self,
        c: &mut Conn,
        right: SpaceRight,
        space: &Space,
    ) -> Result<(), Fail> {
        let allowed = self.may_in_space(c, right, space)?;
        permit(allowed)
    }

    /// Whether the actor has a right in a space.
    pub(crate) fn may_in_space(
        &self,
        c: &mut Conn,
        right: SpaceRight,
        space: &Space,
    ) -> Result<bool, Fail> {
        let reads = match right {
            SpaceRight::Read => self.reads_all,
            SpaceRight::ReadSecrets => self.reads_secrets,
            _ => false,
        };
        if self.is_admin || reads {
            return Ok(true);
        }
        let here = user::roles_in_space(c, &space.guid, &self.guid)?;
        let developer = here.contains(&SpaceRole::Developer);
        if matches!(right, SpaceRight::ReadSecrets) {
            return Ok(developer);
        }
        if matches!(right, SpaceRight::Read) && !here.is_empty() {
            return Ok(true);
        }
        let org_manager =
            user::roles_in_org(c, &space.org_guid, &self.guid)?.contains(&OrgRole::Manager);
        if right == SpaceRight::Read {
            return Ok(org_manager);
        }
        let has_role = match right {
            SpaceRight::Develop => developer,
            SpaceRight::Manage => org_manager || here.contains(&SpaceRole::Manager),
            SpaceRight::Delete => org_manager,
            SpaceRight::Read | SpaceRight::ReadSecrets => false,
        };
        if !has_role {
            return Ok(false);
        }
        let suspended = org::find(c, &space.org_guid)?.is_none_or(|org| org.status == SUSPENDED);
        Ok(!suspended)
    }

    /// Checks that the actor may do everything.
    ///
    /// # Errors
    /// `NotAuthorized`.
    pub(crate) fn require_admin(&self) -> Result<(), Fail> {
        permit(self.is_admin)
    }

    /// The organization of that guid, if it exists and the actor has `right` in it.
    ///
    /// # Errors
    /// `OrganizationNotFound`, `NotAuthorized`.
    pub(crate) fn org(&self, c: &mut Conn, guid: &str, right: OrgRight) -> Result<Org, Fail> {
        let org =
            org::find(c, guid)?.ok_or_else(|| api_error::ORGANIZATION_NOT_FOUND.with(guid))?;
        self.require_in_org(c, right, &org)?;
        Ok(org)
    }

    /// The space of that guid, if it exists and the actor has `right` in it.
    ///
    /// # Errors
    /// `SpaceNotFound`, `NotAuthorized`.
    pub(crate) fn space(&self, c: &mut Conn, guid: &str, right: SpaceRight) -> Result<Space, Fail> {
        let space = space::find(c, guid)?.ok_or_else(|| api_error::SPACE_NOT_FOUND.with(guid))?;
        self.require_in_space(c, right, &space)?;
        Ok(space)
    }

    /// The organizations that the actor sees, as a condition on `organizations`.
    pub(crate) fn sees_orgs(&self) -> Where {
        if self.reads_all {
            return Where::all();
        }
        Where::all().and(
            "guid IN (SELECT org_guid FROM org_roles WHERE user_guid = ?)",
            [&self.guid],
        )
    }

    /// The spaces that the actor sees, as a condition on `spaces`.
    pub(crate) fn sees_spaces(&self) -> Where {
        if self.reads_all {
            return Where::all();
        }
        Where::all().and(
            "guid IN (SELECT space_guid FROM space_roles WHERE user_guid = ?) OR org_guid IN \
             (SELECT org_guid FROM org_roles WHERE user_guid = ? AND role = 'manager')",
            [&self.guid, &self.guid],
        )
    }

    /// What lies in spaces that the actor sees, as a condition on a table with `space_guid`.
    pub(crate) fn sees_in_spaces(&self) -> Where {
        if self.reads_all {
            return Where::all();
        }
        Where::all().and(
            "space_guid IN (SELECT space_guid FROM space_roles WHERE user_guid = ?) OR space_guid IN \
             (SELECT s.guid FROM spaces AS s JOIN org_roles AS r ON r.org_guid = s.org_guid \
              WHERE r.user_guid = ? AND r.role = 'manager')",
            [&self.guid, &self.guid],
        )
    }

    /// The private domains that the actor sees, as a condition on `domains`.
    pub(crate) fn sees_private_domains(&self) -> Where {
        let private = Where::all().and("owner_org_guid IS NOT NULL", []);
        if self.reads_all {
            return private;
        }
        private.and(
            "owner_org_guid IN (SELECT org_guid FROM org_roles WHERE user_guid = ?) OR guid IN \
             (SELECT d.domain_guid FROM domain_shares AS d JOIN org_roles AS r \
              ON r.org_guid = d.org_guid WHERE r.user_guid = ?)",
            [&self.guid, &self.guid],
        )
    }
}

fn permit(allowed: bool) -> Result<(), Fail> {
    if allowed {
        Ok(())
    } else {
        Err(api_error::NOT_AUTHORIZED.bare().into())
    }
}

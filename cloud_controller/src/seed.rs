//! What a platform has before anybody has made anything. Doing it again changes nothing.

use cupola_db::Conn;
use cupola_types::{BuildpackGuid, DomainGuid, OrgGuid, QuotaGuid, SpaceGuid, StackGuid};

use crate::action::org::DEFAULT_QUOTA;
use crate::config::Config;
use crate::error::Fail;
use crate::model::quota::NewQuota;
use crate::model::user::{OrgRole, SpaceRole};
use crate::model::{buildpack, domain, org, quota, space, stack, user};

/// The buildpacks that every stager carries, in the order in which they are tried: the specific
/// ones before those that take whatever has a Procfile.
const BUILDPACKS: [&str; 5] = ["staticfile", "python", "nodejs", "binary", "procfile"];

/// Makes what is missing.
pub(crate) fn seed(c: &mut Conn, config: &Config) -> Result<(), Fail> {
    let wanted = &config.seed;
    let quota = match quota::find_by_name(c, DEFAULT_QUOTA)? {
        Some(quota) => quota,
        None => {
            let new = NewQuota {
                memory_limit: wanted.quota_memory_mb,
                total_routes: wanted.quota_routes,
                total_services: 100,
                ..NewQuota::unlimited(QuotaGuid::generate().into_string(), DEFAULT_QUOTA)
            };
            quota::insert(c, &new)?
        }
    };
    if stack::find_by_name(c, &wanted.stack)?.is_none() {
        let description = "The system of the machine that the app runs on, read-only";
        stack::insert(
            c,
            StackGuid::generate().as_str(),
            &wanted.stack,
            description,
        )?;
    }
    let name = config.domain.to_lowercase();
    if domain::find_by_name(c, &name)?.is_none() {
        domain::insert(c, DomainGuid::generate().as_str(), &name, None, false)?;
    }
    seed_buildpacks(c)?;
    seed_org(c, config, &quota.guid)
}

/// New ones of a newer release go behind those there are, whose order an operator may have changed.
fn seed_buildpacks(c: &mut Conn) -> Result<(), Fail> {
    let known = buildpack::in_order(c)?;
    let mut last = known
        .iter()
        .map(|buildpack| buildpack.position)
        .max()
        .unwrap_or_default();
    for name in BUILDPACKS {
        if known.iter().any(|buildpack| buildpack.name == name) {
            continue;
        }
        last += 1;
        buildpack::insert(c, BuildpackGuid::generate().as_str(), name, last, true)?;
    }
    Ok(())
}

/// Organization and space are made together with the administrator, once: whoever deletes
/// them later does not find them back.
fn seed_org(c: &mut Conn, config: &Config, quota_guid: &str) -> Result<(), Fail> {
    let wanted = &config.seed;
    let is_first_start = org::LISTING
        .all(c, &crate::model::listing::Where::all(), 1)?
        .is_empty();
    let admin = match &wanted.admin_guid {
        Some(guid) => {
            let admin = user::ensure(c, guid, wanted.admin_name.as_deref())?;
            if !admin.admin {
                user::set_admin(c, guid)?;
            }
            Some(admin)
        }
        None => None,
    };
    if !is_first_start {
        return Ok(());
    }
    let org = org::insert(c, OrgGuid::generate().as_str(), &wanted.org, quota_guid)?;
    let space = space::insert(c, SpaceGuid::generate().as_str(), &wanted.space, &org.guid)?;
    if let Some(admin) = admin {
        user::add_org_role(c, &org.guid, &admin.guid, OrgRole::User)?;
        user::add_org_role(c, &org.guid, &admin.guid, OrgRole::Manager)?;
        user::add_space_role(c, &space.guid, &admin.guid, SpaceRole::Manager)?;
        user::add_space_role(c, &space.guid, &admin.guid, SpaceRole::Developer)?;
    }
    Ok(())
}

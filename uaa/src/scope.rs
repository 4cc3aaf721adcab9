//! Scopes: which are granted, and which audience they speak to.

use std::collections::BTreeSet;

/// A set of scopes.
pub(crate) type Scopes = BTreeSet<String>;

/// What every user holds without being a member of the group.
pub(crate) const EVERY_USER: &[&str] = &[
    "openid",
    "scim.me",
    "cloud_controller.read",
    "cloud_controller.write",
    "cloud_controller_service_permissions.read",
    "password.write",
    "scim.userids",
    "uaa.user",
    "approvals.me",
    "oauth.approvals",
    "profile",
    "roles",
    "user_attributes",
    "uaa.offline_token",
];

/// Groups that exist from the start, so that an admin can put members into them.
pub(crate) const KNOWN_GROUPS: &[&str] = &[
    "clients.admin",
    "clients.read",
    "clients.secret",
    "clients.write",
    "cloud_controller.admin",
    "cloud_controller.admin_read_only",
    "cloud_controller.global_auditor",
    "doppler.firehose",
    "groups.update",
    "network.admin",
    "network.write",
    "routing.router_groups.read",
    "routing.router_groups.write",
    "scim.create",
    "scim.invite",
    "scim.read",
    "scim.write",
    "tokens.list",
    "tokens.revoke",
    "uaa.admin",
];

/// Groups of the first admin.
pub(crate) const FIRST_ADMIN: &[&str] = &[
    "clients.read",
    "cloud_controller.admin",
    "doppler.firehose",
    "network.admin",
    "routing.router_groups.read",
    "routing.router_groups.write",
    "scim.read",
    "scim.write",
];

/// The scopes of a user who is in these groups (names with ids).
pub(crate) fn of_user(groups: &[(String, String)]) -> Scopes {
    let everybody = EVERY_USER.iter().map(|scope| (*scope).to_owned());
    everybody
        .chain(groups.iter().map(|(name, _)| name.clone()))
        .collect()
}

/// Splits a `scope` parameter. `None` and the empty text ask for everything.
pub(crate) fn requested(parameter: Option<&str>) -> Option<Scopes> {
    let scopes: Scopes = parameter?
        .split([' ', ',', '+'])
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect();
    (!scopes.is_empty()).then_some(scopes)
}

/// `held ∩ allowed ∩ requested`. A `*` in `allowed` stands for any part without dots.
pub(crate) fn grant(held: &Scopes, allowed: &[String], requested: Option<&Scopes>) -> Scopes {
    let may = |scope: &&String| allowed.iter().any(|pattern| covers(pattern, scope));
    let asked = |scope: &&String| requested.is_none_or(|wanted| wanted.contains(*scope));
    held.iter().filter(may).filter(asked).cloned().collect()
}

/// Whether a client's scope pattern covers `scope`.
fn covers(pattern: &str, scope: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == scope;
    }
    let (mut pattern, mut scope) = (pattern.split('.'), scope.split('.'));
    loop {
        match (pattern.next(), scope.next()) {
            (None, None) => return true,
            (Some("*"), Some(part)) if !part.is_empty() => {}
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
}

/// Who a token with these scopes is meant for: the client, and of each scope the part before its
/// last dot.
pub(crate) fn audience<'a>(
    client_id: &'a str,
    scopes: impl Iterator<Item = &'a str>,
) -> BTreeSet<&'a str> {
    let resource = |scope: &'a str| {
        scope
            .rsplit_once('.')
            .map_or(scope, |(resource, _)| resource)
    };
    scopes.map(resource).chain([client_id]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> Scopes {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn grants_what_is_held_allowed_and_asked_for() {
        let (held, allowed) = (set("a.x b.y c.z"), list("a.x b.y d.w"));
        assert_eq!(grant(&held, &allowed, None), set("a.x b.y"));
        assert_eq!(grant(&held, &allowed, Some(&set("b.y d.w"))), set("b.y"));
        assert_eq!(grant(&held, &allowed, Some(&set("A.X"))), set(""));
    }

    #[test]
    fn a_star_covers_one_part_on_the_clients_side_only() {
        assert_eq!(
            grant(&set("zones.7.admin"), &list("zones.*.admin"), None).len(),
            1
        );
        assert_eq!(
            grant(&set("zones.7.8.admin"), &list("zones.*.admin"), None).len(),
            0
        );
        assert_eq!(
            grant(&set("zones..admin"), &list("zones.*.admin"), None).len(),
            0
        );
        assert_eq!(grant(&set("a.*"), &list("a.b"), None).len(), 0);
    }

    #[test]
    fn an_empty_request_asks_for_everything() {
        assert_eq!(requested(None), None);
        assert_eq!(requested(Some("")), None);
        assert_eq!(requested(Some("a b")), Some(set("a b")));
    }

    #[test]
    fn the_audience_is_the_part_before_the_last_dot() {
        let scopes = [
            "openid",
            "cloud_controller.read",
            "routing.router_groups.write",
        ];
        let audience: Vec<_> = audience("cf", scopes.into_iter()).into_iter().collect();
        assert_eq!(
            audience,
            ["cf", "cloud_controller", "openid", "routing.router_groups"]
        );
    }

    proptest! {
        #[test]
        fn never_grants_what_is_not_held(
            held in prop::collection::btree_set("[ab*](\\.[ab*]){0,2}", 0..6),
            allowed in prop::collection::vec("[ab*](\\.[ab*]){0,2}", 0..6),
            wanted in prop::option::of(prop::collection::btree_set("[ab](\\.[ab]){0,2}", 0..6)),
        ) {
            let granted = grant(&held, &allowed, wanted.as_ref());
            prop_assert!(granted.is_subset(&held));
            if let Some(wanted) = wanted {
                prop_assert!(granted.is_subset(&wanted));
            }
        }
    }
}

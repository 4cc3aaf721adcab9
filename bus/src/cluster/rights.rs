//! What crosses routes, when not everything may.
//!
//! Both rules are about interest, in all accounts: `import` names what a server asks its peers for, `export`
//! what they may ask it for. A peer whose interest is wider than something denied gets the rest of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::Identity;
use crate::config::{self, RoutePermissions, SubjectRules};
use crate::permissions::{BadRule, Permissions};

/// The rules of one server, ready to be asked; cheap to share.
#[derive(Clone, Debug)]
pub(crate) struct RouteRights {
    import: Arc<Permissions>,
    export: Arc<Identity>,
}

/// Rules as INFO tells them; what is empty allows everything, or denies nothing.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Told {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

/// What a peer's interest comes to.
#[derive(Debug)]
pub(super) enum Export {
    /// It may not have that.
    Nothing,
    /// It may have all of it.
    Whole,
    /// It may have what is not denied.
    Part(Arc<Identity>),
}

// === impl RouteRights ===

impl RouteRights {
    /// # Errors
    /// A rule is not a subject.
    pub(crate) fn compile(from: &RoutePermissions) -> Result<Self, BadRule> {
        let compile = |rules: &Option<SubjectRules>| {
            Permissions::compile(&config::Permissions {
                publish: rules.clone(),
                subscribe: rules.clone(),
                allow_responses: None,
            })
        };
        Ok(RouteRights {
            import: Arc::new(compile(&from.import)?),
            export: Arc::new(Identity::of_routes(compile(&from.export)?)),
        })
    }

    /// What a peer has told of what it exports; `None` is everything, also when that makes no sense: it
    /// looks itself.
    pub(super) fn told(export: Option<&Told>) -> Option<Self> {
        let export = export.map(Told::rules);
        export.as_ref()?;
        Self::compile(&RoutePermissions {
            import: None,
            export,
        })
        .ok()
    }

    /// Whether peers are asked for this subject: all of it must be allowed. What is wider than something
    /// denied is asked for, but not when a wildcard of the rule stands where it has its own, as with
    /// nats-server.
    pub(super) fn imports(&self, subject: &[u8]) -> bool {
        self.import.may_subscribe(subject, None) && self.import.may_publish(subject)
    }

    /// What a peer gets that asks for this subject.
    pub(super) fn export(&self, subject: &[u8]) -> Export {
        let Some(permissions) = &self.export.permissions else {
            return Export::Whole;
        };
        if !permissions.may_subscribe(subject, None) {
            Export::Nothing
        } else if permissions.needs_filter(subject, None) {
            Export::Part(Arc::clone(&self.export))
        } else {
            Export::Whole
        }
    }

    /// Whether a peer gets any of it.
    pub(super) fn exports(&self, subject: &[u8]) -> bool {
        !matches!(self.export(subject), Export::Nothing)
    }
}

// === impl Told ===

impl Told {
    pub(super) fn of(rules: &SubjectRules) -> Self {
        Told {
            allow: rules.allow.clone().unwrap_or_default(),
            deny: rules.deny.clone(),
        }
    }

    fn rules(&self) -> SubjectRules {
        SubjectRules {
            allow: (!self.allow.is_empty()).then(|| self.allow.clone()),
            deny: self.deny.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn rights(json: serde_json::Value) -> RouteRights {
        RouteRights::compile(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn interest_is_asked_for_and_granted_by_different_rules() {
        let rights = rights(serde_json::json!({
            "import": { "allow": ["foo", "a.*", "b.>"], "deny": ["a.b", "b.*"] },
            "export": { "allow": ["bar", "x.>"], "deny": ["x.no", "y"] },
        }));
        for (subject, imported) in [
            ("foo", true),
            ("bar", false),
            ("a.c", true),
            ("a.b", false),
            // Wider than what is allowed, and wider than what is denied.
            ("a.>", false),
            ("a.*", true),
            ("b.>", false),
            ("b.c.d", true),
        ] {
            assert_eq!(rights.imports(subject.as_bytes()), imported, "{subject}");
        }
        assert!(rights.exports(b"bar") && !rights.exports(b"foo"));
        assert!(matches!(rights.export(b"x.yes"), Export::Whole));
        assert!(matches!(rights.export(b"x.*"), Export::Part(_)));
        assert!(matches!(rights.export(b"x.no"), Export::Nothing));
    }

    #[test]
    fn what_is_told_of_rules_is_read_again() {
        let rules = SubjectRules {
            allow: Some(vec!["a".into()]),
            deny: Vec::new(),
        };
        let told = Told::of(&rules);
        assert_eq!(serde_json::to_string(&told).unwrap(), r#"{"allow":["a"]}"#);
        let read = RouteRights::told(Some(&told)).unwrap();
        assert!(read.exports(b"a") && !read.exports(b"b"));
        assert!(RouteRights::told(None).is_none());
    }
}

//! An account as its JWT describes it, in the form the configuration file would.

use std::time::Duration;

use crate::config::accounts::{
    Account, AccountLimits, Crossing, Destination, Export, Import, Latency, Mapping, MessageTrace,
    ResponseType, Sampling,
};
use crate::config::{AllowResponses, Permissions, SubjectRules};
use crate::subject;

use super::claims::{
    AccountClaims, ActivationClaims, ExportClaim, ImportClaim, LatencyClaim, PermissionsClaim,
    RulesClaim, Scope, SigningKey,
};
use super::token::{Token, TokenError};

/// The JWT of an account, signed by whoever it says.
#[derive(Clone, Debug)]
pub(crate) struct AccountToken(Token<AccountClaims>);

/// In what capacity a key signs for an account.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer<'a> {
    /// For anybody.
    Any,
    /// For users who are all as this says.
    Scoped(&'a Scope),
}

// === impl AccountToken ===

impl AccountToken {
    /// Reads the JWT of an account.
    ///
    /// # Errors
    /// It is none, or not signed by its issuer.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        Token::parse(text).map(AccountToken)
    }

    /// Its public key, which is its name to the broker.
    pub(crate) fn key(&self) -> &str {
        &self.0.subject
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn tags(&self) -> &[String] {
        &self.0.claims.tags
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// When it ends, in seconds since 1970.
    pub(crate) fn expires(&self) -> Option<i64> {
        self.0.expires
    }

    /// Whether its time has come and is not over.
    pub(crate) fn is_current(&self, now: i64) -> bool {
        self.0.expires.is_none_or(|end| now < end) && self.0.is_current(now)
    }

    pub(super) fn forbids_bearers(&self) -> bool {
        self.0.claims.limits.disallow_bearer
    }

    /// In what capacity a key signs for this account, if it does. Its own key does not when its operator
    /// is `strict`.
    pub(super) fn signer(&self, key: &str, strict: bool) -> Option<Signer<'_>> {
        let listed = self
            .0
            .claims
            .signing_keys
            .iter()
            .find_map(|known| match known {
                SigningKey::Plain(known) => (known == key).then_some(Signer::Any),
                SigningKey::Scoped(scope) => (scope.key == key).then_some(Signer::Scoped(scope)),
            });
        listed.or_else(|| (key == self.key() && !strict).then_some(Signer::Any))
    }

    /// Whether a key signs for this account.
    pub(crate) fn is_signer(&self, key: &str, strict: bool) -> bool {
        self.signer(key, strict).is_some()
    }

    /// Whether what was issued then to this user has been withdrawn.
    pub(crate) fn has_revoked(&self, user: &str, issued_at: i64) -> bool {
        is_revoked(&self.0.claims.revocations, user, issued_at)
    }

    /// What an operator's limits forbid, if anything.
    pub(crate) fn violation(&self) -> Option<&'static str> {
        let claims = &self.0.claims;
        let above = |limit: i64, count: usize| {
            limit >= 0 && usize::try_from(limit).is_ok_and(|limit| count > limit)
        };
        if above(claims.limits.imports, claims.imports.len()) {
            return Some("has more imports than its operator allows");
        }
        if above(claims.limits.exports, claims.exports.len()) {
            return Some("has more exports than its operator allows");
        }
        let wild = |export: &ExportClaim| subject::has_wildcard(export.subject.as_bytes());
        if claims.limits.exports >= 0 && !claims.limits.wildcards && claims.exports.iter().any(wild)
        {
            return Some("exports wildcards, which its operator does not allow");
        }
        None
    }

    /// Its limits, exports, imports and mappings. Entries that make no sense are left out.
    pub(crate) fn describe(&self) -> Account {
        let claims = &self.0.claims;
        Account {
            name: self.key().to_owned(),
            users: Vec::new(),
            default_permissions: permissions(&claims.default_permissions),
            exports: claims.exports.iter().filter_map(export).collect(),
            imports: claims.imports.iter().filter_map(import).collect(),
            mappings: claims
                .mappings
                .iter()
                .map(|(subject, to)| Mapping {
                    subject: subject.clone(),
                    destinations: to
                        .iter()
                        .map(|to| Destination {
                            subject: to.subject.clone(),
                            weight: if to.weight == 0 { 100 } else { to.weight },
                            cluster: (!to.cluster.is_empty()).then(|| to.cluster.clone()),
                        })
                        .collect(),
                })
                .collect(),
            limits: AccountLimits {
                max_connections: limit(claims.limits.conn),
                max_subscriptions: limit(claims.limits.subs),
                max_payload: limit(claims.limits.payload),
            },
            trace: claims
                .trace
                .as_ref()
                .filter(|trace| subject::is_literal(trace.dest.as_bytes()))
                .map(|trace| MessageTrace {
                    destination: trace.dest.clone(),
                    sampling: match trace.sampling {
                        0 | 101.. => 100,
                        percent => percent,
                    },
                }),
        }
    }

    /// Whether an export's consent to an importer has been withdrawn.
    fn has_revoked_activation(&self, export: &str, importer: &str, issued_at: i64) -> bool {
        let found = self
            .0
            .claims
            .exports
            .iter()
            .find(|known| known.subject == export);
        found.is_some_and(|export| is_revoked(&export.revocations, importer, issued_at))
    }
}

/// Whether a token is the exporter's valid consent that `importer` takes `import` from `export`.
pub(crate) fn activation_grants(
    token: &str,
    exporter: &AccountToken,
    strict: bool,
    export: &Export,
    importer: &str,
    import: &Import,
    now: i64,
) -> bool {
    let Ok(token) = Token::<ActivationClaims>::parse(token) else {
        return false;
    };
    let claims = &token.claims;
    let signed_for = if claims.issuer_account.is_empty() {
        token.issuer == exporter.key()
    } else {
        claims.issuer_account == exporter.key() && exporter.signer(&token.issuer, strict).is_some()
    };
    signed_for
        && token.subject == importer
        && crossing(&claims.kind) == Some(import.kind)
        && subject::covers(claims.subject.as_bytes(), import.subject.as_bytes())
        && token.is_current(now)
        && !exporter.has_revoked_activation(&export.subject, importer, token.issued_at)
}

/// Revocations are by key or for all (`*`), of what was issued until then.
fn is_revoked(
    revocations: &std::collections::BTreeMap<String, i64>,
    key: &str,
    issued_at: i64,
) -> bool {
    [key, "*"]
        .iter()
        .filter_map(|key| revocations.get(*key))
        .any(|until| *until >= issued_at)
}

/// Negative numbers are no limit; zero is nothing at all.
pub(super) fn limit<T: TryFrom<i64>>(number: i64) -> Option<T> {
    (number >= 0).then(|| T::try_from(number).ok()).flatten()
}

fn crossing(text: &str) -> Option<Crossing> {
    match text {
        "stream" => Some(Crossing::Stream),
        "service" => Some(Crossing::Service),
        _ => None,
    }
}

fn export(claim: &ExportClaim) -> Option<Export> {
    Some(Export {
        kind: crossing(&claim.kind)?,
        subject: claim.subject.clone(),
        accounts: None,
        token_required: claim.token_req,
        account_token_position: claim.account_token_position,
        response: match claim.response_type.to_ascii_lowercase().as_str() {
            "stream" => ResponseType::Stream,
            "chunked" => ResponseType::Chunked,
            _ => ResponseType::Singleton,
        },
        response_threshold: u64::try_from(claim.response_threshold)
            .ok()
            .filter(|nanos| *nanos > 0)
            .map(Duration::from_nanos),
        latency: claim.service_latency.as_ref().and_then(latency),
        allow_trace: claim.allow_trace,
    })
}

fn latency(claim: &LatencyClaim) -> Option<Latency> {
    let sampling = match &claim.sampling {
        serde_json::Value::Number(number) => match number.as_u64() {
            Some(0) => Sampling::Headers,
            percent => Sampling::Percent(
                percent
                    .and_then(|n| u8::try_from(n).ok())
                    .filter(|n| *n <= 100)?,
            ),
        },
        serde_json::Value::String(text) if text.eq_ignore_ascii_case("headers") => {
            Sampling::Headers
        }
        _ => return None,
    };
    subject::is_literal(claim.results.as_bytes()).then(|| Latency {
        sampling,
        subject: claim.results.clone(),
    })
}

fn import(claim: &ImportClaim) -> Option<Import> {
    let kind = crossing(&claim.kind)?;
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    // Of old, `to` was the exporter's subject of a service, and the prefix of a stream.
    let (subject, to, prefix) = match (kind, text(&claim.local_subject), text(&claim.to)) {
        (_, Some(local), _) => (claim.subject.clone(), Some(local), None),
        (Crossing::Service, None, Some(remote)) => (remote, Some(claim.subject.clone()), None),
        (Crossing::Stream, None, prefix) => (claim.subject.clone(), None, prefix),
        (Crossing::Service, None, None) => (claim.subject.clone(), None, None),
    };
    Some(Import {
        kind,
        account: claim.account.clone(),
        subject,
        to,
        prefix,
        share: claim.share,
        allow_trace: claim.allow_trace,
        token: text(&claim.token),
    })
}

/// Permissions as the configuration has them; `None` when nothing is restricted.
pub(super) fn permissions(claim: &PermissionsClaim) -> Option<Permissions> {
    let answers = claim.resp.as_ref().map(|resp| AllowResponses {
        // As often as it likes is negative there and 0 here; 0 there is the default.
        max: match resp.max {
            0 => AllowResponses::default().max,
            max => u32::try_from(max).unwrap_or(0),
        },
        expires: match resp.ttl {
            0 => AllowResponses::default().expires,
            nanos => u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos),
        },
    });
    let granted = Permissions {
        publish: rules(&claim.publish),
        subscribe: rules(&claim.subscribe),
        allow_responses: answers,
    };
    let restricted = granted.publish.is_some()
        || granted.subscribe.is_some()
        || granted.allow_responses.is_some();
    restricted.then_some(granted)
}

/// An empty list of allowed subjects allows all.
fn rules(claim: &RulesClaim) -> Option<SubjectRules> {
    (!claim.allow.is_empty() || !claim.deny.is_empty()).then(|| SubjectRules {
        allow: (!claim.allow.is_empty()).then(|| claim.allow.clone()),
        deny: claim.deny.clone(),
    })
}

//! Who may take what from whom: checks exports and imports, and pairs them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::config::accounts::{Account, Crossing, Export, Import, ResponseType};
use crate::jwt::{AccountToken, activation_grants};
use crate::mapping::{BadMapping, Mappings, Pairing};
use crate::subject;

use super::latency::LatencySampling;
use super::{RESPONSE_THRESHOLD, ServiceExport};

/// Accounts a service request may pass on its way.
const MOST_HOPS: usize = 64;

/// An account as it was configured or signed.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) account: Account,
    /// Its JWT, if that is where it comes from.
    pub(crate) token: Option<Arc<AccountToken>>,
    /// Its own key does not sign activations.
    pub(crate) strict: bool,
}

/// What is to become of all accounts.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) accounts: Vec<Planned>,
}

/// What is to become of one account.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) account: Account,
    pub(crate) expires: Option<i64>,
    pub(crate) token: Option<Arc<AccountToken>>,
    pub(crate) mappings: Option<Arc<Mappings>>,
    pub(crate) streams: Vec<PlannedStream>,
    pub(crate) services: Vec<PlannedService>,
}

#[derive(Debug)]
pub(crate) struct PlannedStream {
    pub(crate) exporter: String,
    pub(crate) pairing: Pairing,
    pub(crate) allow_trace: bool,
}

#[derive(Debug)]
pub(crate) struct PlannedService {
    pub(crate) exporter: String,
    pub(crate) pairing: Pairing,
    pub(crate) export: Arc<ServiceExport>,
    pub(crate) share: bool,
}

/// Accounts that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Two accounts of one name.
    #[error("account {0:?} is defined twice")]
    TwoAccounts(String),
    /// An account without a name.
    #[error("an account has no name")]
    Nameless,
    /// An export that makes no sense.
    #[error("account {account:?}: export of {subject:?} {reason}")]
    Export {
        /// Whose.
        account: String,
        /// Of what.
        subject: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An export names an account that is not there.
    #[error(
        "account {account:?}: export of {subject:?} is for account {unknown:?}, which is not defined"
    )]
    UnknownImporter {
        /// Whose.
        account: String,
        /// Of what.
        subject: String,
        /// For whom.
        unknown: String,
    },
    /// An import that makes no sense, or is not allowed.
    #[error("account {account:?}: import of {subject:?} from {exporter:?} {reason}")]
    Import {
        /// Whose.
        account: String,
        /// Of what.
        subject: String,
        /// From whom.
        exporter: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The subjects of an import do not fit together.
    #[error("account {account:?}: import")]
    ImportSubjects {
        /// Whose.
        account: String,
        /// What is wrong.
        source: BadMapping,
    },
    /// A mapping that makes no sense.
    #[error("account {account:?}")]
    Mapping {
        /// Whose.
        account: String,
        /// What is wrong.
        source: BadMapping,
    },
}

/// What is known while a plan is made.
struct Draft<'a> {
    parties: HashMap<&'a str, &'a Party>,
    now: i64,
}

// === impl Plan ===

impl Plan {
    /// Pairs all imports with exports. `now` is in seconds since 1970, `cluster` the name of our own.
    ///
    /// What is wrong with an account of the configuration is an error; what is wrong in a JWT, which
    /// somebody else wrote, is left out and reported to `leave_out`.
    ///
    /// # Errors
    /// An account, export, import or mapping of the configuration makes no sense.
    pub(crate) fn make(
        parties: &[Party],
        cluster: Option<&str>,
        now: i64,
        leave_out: &mut dyn FnMut(ExchangeError),
    ) -> Result<Self, ExchangeError> {
        let mut by_name = HashMap::new();
        for party in parties {
            let name = party.account.name.as_str();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(ExchangeError::Nameless);
            }
            if by_name.insert(name, party).is_some() {
                return Err(ExchangeError::TwoAccounts(name.to_owned()));
            }
        }
        let draft = Draft {
            parties: by_name,
            now,
        };
        let mut plan = Plan::default();
        for party in parties {
            for export in &party.account.exports {
                draft
                    .check_export(party, export)
                    .or_else(|error| tolerate(party, error, leave_out))?;
            }
            plan.accounts.push(draft.plan(party, cluster, leave_out)?);
        }
        Ok(plan)
    }
}

/// Errors in what was signed elsewhere do not keep the server from starting.
fn tolerate(
    party: &Party,
    error: ExchangeError,
    leave_out: &mut dyn FnMut(ExchangeError),
) -> Result<(), ExchangeError> {
    if party.token.is_none() {
        return Err(error);
    }
    leave_out(error);
    Ok(())
}

impl<'a> Draft<'a> {
    fn plan(
        &self,
        party: &'a Party,
        cluster: Option<&str>,
        leave_out: &mut dyn FnMut(ExchangeError),
    ) -> Result<Planned, ExchangeError> {
        let account = &party.account;
        let mut planned = Planned {
            account: account.clone(),
            expires: party.token.as_ref().and_then(|token| token.expires()),
            token: party.token.clone(),
            mappings: None,
            streams: Vec::new(),
            services: Vec::new(),
        };
        match Mappings::compile(&account.mappings, cluster) {
            Ok(mappings) if mappings.is_empty() => {}
            Ok(mappings) => planned.mappings = Some(Arc::new(mappings)),
            Err(source) => {
                let error = ExchangeError::Mapping {
                    account: account.name.clone(),
                    source,
                };
                tolerate(party, error, leave_out)?;
            }
        }
        for import in &account.imports {
            self.take(party, import, &mut planned)
                .or_else(|error| tolerate(party, error, leave_out))?;
        }
        Ok(planned)
    }

    fn check_export(&self, party: &Party, export: &Export) -> Result<(), ExchangeError> {
        let wrong = |reason| {
            Err(ExchangeError::Export {
                account: party.account.name.clone(),
                subject: export.subject.clone(),
                reason,
            })
        };
        if !subject::is_valid(export.subject.as_bytes()) {
            return wrong("is not a subject");
        }
        let position = export.account_token_position;
        if position > 0 && export.subject.split('.').nth(position - 1) != Some("*") {
            return wrong("has an account_token_position where there is no \"*\"");
        }
        if export.kind == Crossing::Stream {
            if export.latency.is_some() || export.response_threshold.is_some() {
                return wrong("has settings of a service");
            }
        } else if let Some(latency) = &export.latency {
            if export.response != ResponseType::Singleton {
                return wrong("measures latency, which needs a single response");
            }
            let covered = subject::covers(export.subject.as_bytes(), latency.subject.as_bytes());
            if !subject::is_literal(latency.subject.as_bytes()) || covered {
                return wrong("has a latency subject that is no other subject");
            }
            if matches!(
                latency.sampling,
                crate::config::accounts::Sampling::Percent(0 | 101..)
            ) {
                return wrong("has a latency sampling that is not between 1 and 100 percent");
            }
        }
        for name in export.accounts.iter().flatten() {
            if !self.parties.contains_key(name.as_str()) && party.token.is_none() {
                return Err(ExchangeError::UnknownImporter {
                    account: party.account.name.clone(),
                    subject: export.subject.clone(),
                    unknown: name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Checks one import and adds it to what is planned.
    fn take(
        &self,
        party: &'a Party,
        import: &Import,
        planned: &mut Planned,
    ) -> Result<(), ExchangeError> {
        let name = &party.account.name;
        let wrong = |reason| ExchangeError::Import {
            account: name.clone(),
            subject: import.subject.clone(),
            exporter: import.account.clone(),
            reason,
        };
        let Some(exporter) = self.parties.get(import.account.as_str()) else {
            return Err(wrong("fails, as there is no such account"));
        };
        let Some(export) = self.export_for(exporter, name, import) else {
            return Err(wrong("is not allowed by any of its exports"));
        };
        let pairing = pairing(import).map_err(|source| ExchangeError::ImportSubjects {
            account: name.clone(),
            source,
        })?;
        let exporter = import.account.clone();
        match import.kind {
            Crossing::Stream => {
                let known = |other: &PlannedStream| {
                    other.exporter == exporter
                        && other.pairing.remote == pairing.remote
                        && other.pairing.local == pairing.local
                };
                if planned.streams.iter().any(known) {
                    return Err(wrong("occurs twice"));
                }
                planned.streams.push(PlannedStream {
                    exporter,
                    pairing,
                    allow_trace: import.allow_trace,
                });
            }
            Crossing::Service => {
                let known = |other: &PlannedService| {
                    other.exporter == exporter && other.pairing.local == pairing.local
                };
                if planned.services.iter().any(known) {
                    return Err(wrong("occurs twice"));
                }
                if self.is_circle(party, import, &pairing.remote) {
                    return Err(wrong("would lead back to the account itself"));
                }
                planned.services.push(PlannedService {
                    exporter,
                    pairing,
                    export: Arc::new(ServiceExport {
                        response: export.response,
                        threshold: export.response_threshold.unwrap_or(RESPONSE_THRESHOLD),
                        latency: export.latency.as_ref().map(LatencySampling::new),
                        allow_trace: export.allow_trace,
                    }),
                    share: import.share,
                });
            }
        }
        Ok(())
    }

    /// The export that lets `importer` take this: one of the same subject before one that covers it.
    fn export_for(
        &self,
        exporter: &'a Party,
        importer: &str,
        import: &Import,
    ) -> Option<&'a Export> {
        let candidates = || {
            exporter.account.exports.iter().filter(|export| {
                export.kind == import.kind
                    && subject::covers(export.subject.as_bytes(), import.subject.as_bytes())
            })
        };
        let allowed = |export: &&'a Export| self.is_allowed(exporter, export, importer, import);
        candidates()
            .filter(|export| export.subject == import.subject)
            .find(allowed)
            .or_else(|| candidates().find(allowed))
    }

    fn is_allowed(
        &self,
        exporter: &Party,
        export: &Export,
        importer: &str,
        import: &Import,
    ) -> bool {
        if export.account_token_position > 0 {
            let token = import
                .subject
                .split('.')
                .nth(export.account_token_position - 1);
            return token == Some(importer);
        }
        if export.token_required {
            let (Some(token), Some(account)) = (&import.token, &exporter.token) else {
                return false;
            };
            return activation_grants(
                token,
                account,
                exporter.strict,
                export,
                importer,
                import,
                self.now,
            );
        }
        export
            .accounts
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|name| name == importer))
    }

    /// Whether requests by this import would come back to the account. One to the account itself is none:
    /// they are passed on once.
    fn is_circle(&self, party: &'a Party, import: &Import, remote: &[u8]) -> bool {
        let name = party.account.name.as_str();
        let mut passed = HashSet::from([name]);
        if import.account != name {
            return self.comes_back(&import.account, remote, &mut passed);
        }
        let others = party.account.imports.iter();
        others
            .filter(|other| other.kind == Crossing::Service && !std::ptr::eq(*other, import))
            .filter_map(|other| Some((other, pairing(other).ok()?)))
            .filter(|(_, pairing)| subject::overlaps(&pairing.local, remote))
            .any(|(other, pairing)| self.comes_back(&other.account, &pairing.remote, &mut passed))
    }

    /// Whether a request on `subject` in `account` would go on to one of those it has passed.
    fn comes_back(&self, account: &str, subject: &[u8], passed: &mut HashSet<&'a str>) -> bool {
        let Some((name, party)) = self.parties.get_key_value(account) else {
            return false;
        };
        if passed.contains(name) || passed.len() >= MOST_HOPS {
            return true;
        }
        passed.insert(name);
        let back = party
            .account
            .imports
            .iter()
            .filter(|import| import.kind == Crossing::Service)
            .filter_map(|import| Some((import, pairing(import).ok()?)))
            .filter(|(_, pairing)| subject::overlaps(&pairing.local, subject))
            .any(|(import, pairing)| self.comes_back(&import.account, &pairing.remote, passed));
        passed.remove(name);
        back
    }
}

/// The subject of an import on both sides.
fn pairing(import: &Import) -> Result<Pairing, BadMapping> {
    match (&import.to, &import.prefix) {
        (Some(local), _) => Pairing::new(&import.subject, local),
        (None, Some(prefix)) if !prefix.is_empty() => {
            let prefix = prefix.trim_end_matches('.');
            Pairing::new(&import.subject, &format!("{prefix}.{}", import.subject))
        }
        (None, _) => Pairing::same(&import.subject),
    }
}

#[cfg(test)]
mod tests;

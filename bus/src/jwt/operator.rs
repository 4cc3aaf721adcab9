//! Whom to believe, and where accounts are found.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::accounts::{Operator, Resolver};

use super::account::AccountToken;
use super::claims::OperatorClaims;
use super::key::{self, KeyKind};
use super::token::{Token, TokenError, undecorated};

/// Longest file that is read for an account.
const LONGEST_FILE: u64 = 1 << 20;
/// Files that are looked at in a folder.
const MOST_FILES: usize = 100_000;

/// The operators' keys and the accounts they vouch for.
#[derive(Debug)]
pub(crate) struct Trust {
    keys: HashSet<String>,
    /// Operators whose accounts must not sign users with their own key.
    strict: HashSet<String>,
    accounts: BTreeMap<String, Arc<AccountToken>>,
    /// The system account, if an operator names one.
    pub(crate) system_account: Option<String>,
}

/// An operator section that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No operator's JWT.
    #[error("the operator's JWT")]
    Token(#[source] TokenError),
    /// A trusted key is none.
    #[error("trusted key {0:?} is not the public key of an operator (it begins with an O)")]
    Key(String),
    /// Operators and keys.
    #[error("operator and trusted_keys exclude each other: a JWT brings its keys along")]
    Both,
    /// The JWT of an account is not in order.
    #[error("the JWT of account {account} in resolver_preload")]
    Account {
        /// Its public key.
        account: String,
        /// What is wrong.
        source: TokenError,
    },
    /// The JWT belongs to another account.
    #[error("the JWT of account {account} in resolver_preload belongs to {found}")]
    WrongAccount {
        /// Where it stands.
        account: String,
        /// Whose it is.
        found: String,
    },
    /// The configuration and the JWT name different system accounts.
    #[error("system_account {config:?} is not the one of the operator's JWT, {operator:?}")]
    SystemAccount {
        /// In the configuration.
        config: String,
        /// In the JWT.
        operator: String,
    },
    /// Accounts and users of the configuration beside those of the operator.
    #[error("accounts and users come as JWTs when there is an operator; remove them here")]
    Configured,
    /// The folder of accounts is not there.
    #[error("cannot read the resolver's folder {path}")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

// === impl Trust ===

impl Trust {
    /// Takes over what was configured.
    ///
    /// # Errors
    /// A JWT or a key is not in order.
    pub(crate) fn compile(
        from: &Operator,
        system_account: Option<&str>,
    ) -> Result<Self, OperatorError> {
        if !from.jwts.is_empty() && !from.trusted_keys.is_empty() {
            return Err(OperatorError::Both);
        }
        let mut trust = Trust {
            keys: HashSet::new(),
            strict: HashSet::new(),
            accounts: BTreeMap::new(),
            system_account: system_account.map(str::to_owned),
        };
        let mut named = Vec::new();
        for text in &from.jwts {
            let token =
                Token::<OperatorClaims>::parse(undecorated(text)).map_err(OperatorError::Token)?;
            trust.vouch(token, &mut named);
        }
        for key in &from.trusted_keys {
            trust.keys.insert(key.clone());
        }
        if let Some(bad) = trust
            .keys
            .iter()
            .find(|key| key::kind(key) != Some(KeyKind::Operator))
        {
            return Err(OperatorError::Key(bad.clone()));
        }
        match (&trust.system_account, named.first()) {
            (Some(config), Some(operator)) if !named.contains(config) => {
                return Err(OperatorError::SystemAccount {
                    config: config.clone(),
                    operator: operator.clone(),
                });
            }
            (None, Some(operator)) => trust.system_account = Some(operator.clone()),
            _ => {}
        }
        for (account, text) in &from.preload {
            trust.know(account, text)?;
        }
        if let Resolver::Directory(path) = &from.resolver {
            trust.read_folder(path)?;
        }
        Ok(trust)
    }

    fn know(&mut self, account: &str, text: &str) -> Result<(), OperatorError> {
        let token =
            AccountToken::parse(undecorated(text)).map_err(|source| OperatorError::Account {
                account: account.to_owned(),
                source,
            })?;
        if token.key() != account {
            return Err(OperatorError::WrongAccount {
                account: account.to_owned(),
                found: token.key().to_owned(),
            });
        }
        self.accounts.insert(account.to_owned(), Arc::new(token));
        Ok(())
    }

    /// Takes over the accounts in a folder's files `<key>.jwt`.
    fn read_folder(&mut self, path: &Path) -> Result<(), OperatorError> {
        let failed = |source| OperatorError::Folder {
            path: path.to_owned(),
            source,
        };
        for entry in std::fs::read_dir(path).map_err(failed)?.take(MOST_FILES) {
            let file = entry.map_err(failed)?.path();
            let stem = file.file_stem().and_then(|stem| stem.to_str());
            let (Some(key), Some("jwt")) = (stem, file.extension().and_then(|end| end.to_str()))
            else {
                continue;
            };
            let short = std::fs::metadata(&file).is_ok_and(|file| file.len() <= LONGEST_FILE);
            if key::kind(key) != Some(KeyKind::Account) || !short {
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(failed)?;
            self.know(key, &text)?;
        }
        Ok(())
    }

    fn vouch(&mut self, token: Token<OperatorClaims>, system: &mut Vec<String>) {
        let claims = token.claims;
        if claims.strict_signing_key_usage {
            self.strict.insert(token.subject);
            self.strict.extend(claims.signing_keys.iter().cloned());
        } else {
            self.keys.insert(token.subject);
        }
        self.keys.extend(claims.signing_keys);
        if !claims.system_account.is_empty() {
            system.push(claims.system_account);
        }
    }

    /// All accounts that somebody trusted signed.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Arc<AccountToken>> {
        self.accounts
            .values()
            .filter(|token| self.keys.contains(token.issuer()))
    }

    /// Finds an account by its public key: signed by somebody trusted, whether or not its time is over.
    pub(crate) fn account(&self, key: &str) -> Option<Arc<AccountToken>> {
        let token = self.accounts.get(key)?;
        self.keys
            .contains(token.issuer())
            .then(|| Arc::clone(token))
    }

    /// Whether the accounts of this operator must not sign users with their own key.
    pub(crate) fn is_strict(&self, issuer: &str) -> bool {
        self.strict.contains(issuer)
    }
}

//! Who may come in and what crosses between accounts, checked as one: from the configuration, at the start
//! and at each reload.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::account::{Accounts, GLOBAL, SYSTEM};
use crate::auth::{AuthConfigError, Users};
use crate::client::Client;
use crate::config::accounts::Account;
use crate::config::{Authorization, Config};
use crate::exchange::{ExchangeError, Party, Plan};
use crate::jwt::{OperatorError, Trust};

/// What is to become of the accounts, checked and ready to be put into force.
#[derive(Debug)]
pub(crate) struct Access {
    plan: Plan,
    system: System,
}

/// Where the server speaks of itself.
#[derive(Debug)]
enum System {
    /// In the account of its own that is there unless it is not wanted.
    Usual,
    /// In this account.
    Named(String),
    /// Nowhere.
    None,
}

/// Users, accounts or operators that make no sense.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The users.
    #[error("authorization")]
    Users(#[from] AuthConfigError),
    /// The accounts.
    #[error("accounts")]
    Accounts(#[from] ExchangeError),
    /// The operator.
    #[error("operator")]
    Operator(#[from] OperatorError),
    /// A name with a meaning of its own.
    #[error("account {0:?} is always there and cannot be defined")]
    Reserved(String),
    /// The system account is none.
    #[error("system_account {0:?} is not among the accounts")]
    UnknownSystemAccount(String),
}

// === impl AccessError ===

impl AccessError {
    /// The settings of nats-server's file that say what is wrong, the likeliest first.
    pub(crate) fn keys(&self) -> &'static [&'static str] {
        match self {
            AccessError::Users(_) => &["authorization", "no_auth_user", "accounts"],
            AccessError::Accounts(_) | AccessError::Reserved(_) => &["accounts", "mappings"],
            AccessError::Operator(_) => &["operator", "resolver", "resolver_preload"],
            AccessError::UnknownSystemAccount(_) => &["system_account", "system"],
        }
    }
}

// === impl Access ===

impl Access {
    /// Checks what was configured: the users, and the accounts they belong to.
    ///
    /// # Errors
    /// It makes no sense.
    pub(crate) fn compile(config: &Config) -> Result<(Users, Self), AccessError> {
        let cluster = config.cluster.as_ref().and_then(|it| it.name.as_deref());
        let system = config.system_account.as_deref();
        let trust = config
            .operator
            .as_ref()
            .map(|operator| Trust::compile(operator, system))
            .transpose()?;
        let mut parties = vec![Party {
            account: Account {
                name: GLOBAL.to_owned(),
                mappings: config.mappings.clone(),
                ..Account::default()
            },
            token: None,
            strict: false,
        }];
        match &trust {
            Some(trust) => {
                if !config.accounts.is_empty() || has_users(&config.authorization) {
                    return Err(OperatorError::Configured.into());
                }
                parties.extend(trust.accounts().map(|token| Party {
                    account: token.describe(),
                    strict: trust.is_strict(token.issuer()),
                    token: Some(Arc::clone(token)),
                }));
            }
            None => {
                if let Some(reserved) = config.accounts.iter().find(|known| known.name == GLOBAL) {
                    return Err(AccessError::Reserved(reserved.name.clone()));
                }
                parties.extend(config.accounts.iter().cloned().map(|account| Party {
                    account,
                    token: None,
                    strict: false,
                }));
            }
        }
        let named = match &trust {
            Some(trust) => trust.system_account.clone(),
            None => config.system_account.clone(),
        };
        if let Some(name) = &named
            && name != SYSTEM
            && !parties.iter().any(|party| party.account.name == *name)
        {
            return Err(AccessError::UnknownSystemAccount(name.clone()));
        }
        let plan = Plan::make(&parties, cluster, now(), &mut |error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "part of an account's JWT has no effect");
        })?;
        let users = Users::compile(&config.authorization, &config.accounts, trust)?
            .beside_certificates(config);
        Ok((
            users,
            Access {
                plan,
                system: match named {
                    Some(name) => System::Named(name),
                    None if config.no_system_account => System::None,
                    None => System::Usual,
                },
            },
        ))
    }

    /// Puts it into force. The connections are to look at themselves afterwards.
    pub(crate) fn apply(self, accounts: &Accounts, own: &Arc<Client>) {
        match &self.system {
            System::Usual => {}
            System::Named(name) => accounts.set_system(Some(accounts.get_or_create(name))),
            System::None => accounts.set_system(None),
        }
        self.plan.apply(accounts, own);
    }
}

fn has_users(authorization: &Authorization) -> bool {
    !authorization.users.is_empty() || authorization.token.is_some()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

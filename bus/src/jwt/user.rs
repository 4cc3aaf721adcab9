//! One connection with a JWT: may it come in, as whom, and for how long.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};

use crate::config::Permissions;

use super::account::{self, AccountToken, Signer};
use super::claims::UserClaims;
use super::operator::Trust;
use super::token::{Token, TokenError};
use super::{key, template, times};

/// What a connection presents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presented<'a> {
    /// The user's JWT.
    pub jwt: &'a str,
    /// The signed nonce, if it sent one.
    pub signature: Option<&'a str>,
    /// What it had to sign.
    pub nonce: &'a str,
    /// Where it comes from.
    pub address: IpAddr,
    /// How it comes: `STANDARD` or `WEBSOCKET`.
    pub way: &'a str,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A user that has been let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Its public key.
    pub key: String,
    /// Its name for people.
    pub name: String,
    /// Its account.
    pub account: Arc<AccountToken>,
    /// Who signed for it: the account, or one of its signing keys.
    pub issuer: String,
    /// When its JWT was made.
    pub issued_at: i64,
    /// What it may do, if not everything or what is usual in its account.
    pub permissions: Option<Permissions>,
    /// Its own bounds.
    pub max_subscriptions: Option<u32>,
    /// Its own bounds.
    pub max_payload: Option<usize>,
    /// How long it may stay.
    pub left: Option<Duration>,
}

/// Why a user is not let in; for the log, as the user is told nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserRefusal {
    #[error("the user's JWT {0}")]
    Token(TokenError),
    #[error("no account {0} that a trusted operator signed")]
    UnknownAccount(String),
    #[error("the account's JWT is not valid at this time")]
    AccountTime,
    #[error("the account {0}")]
    Account(&'static str),
    #[error("the issuer does not sign for this account")]
    UnknownIssuer,
    #[error("a user of a scoped key has permissions or limits of its own")]
    ScopedWithOwn,
    #[error("the scope's permissions cannot be filled in for this user")]
    Template,
    #[error("the account allows no bearer tokens")]
    Bearer,
    #[error("the user must come by a trusted proxy")]
    Proxy,
    #[error("the user may not come this way")]
    Way,
    #[error("the nonce is not signed by the user")]
    Signature,
    #[error("the user's JWT has been revoked")]
    Revoked,
    #[error("the user may not come from this address")]
    Source,
    #[error("the user may not come at this time of the day")]
    Times,
}

impl Trust {
    /// Checks what a connection presents, all the way up to an operator.
    ///
    /// # Errors
    /// Something on the way is not in order.
    pub(crate) fn admit(&self, presented: &Presented<'_>) -> Result<Admitted, UserRefusal> {
        let mut user = Token::<UserClaims>::parse(presented.jwt).map_err(UserRefusal::Token)?;
        let now = presented.now.timestamp();
        if !user.is_current(now) {
            return Err(UserRefusal::Token(TokenError::Time));
        }
        let named = match user.claims.issuer_account.as_str() {
            "" => user.issuer.clone(),
            account => account.to_owned(),
        };
        let Some(account) = self.account(&named) else {
            return Err(UserRefusal::UnknownAccount(named));
        };
        if !account.is_current(now) {
            return Err(UserRefusal::AccountTime);
        }
        if let Some(violation) = account.violation() {
            return Err(UserRefusal::Account(violation));
        }
        self.take_scope(&mut user, &account)?;
        let claims = &user.claims;
        if claims.proxy_required {
            return Err(UserRefusal::Proxy);
        }
        if claims.bearer_token && account.forbids_bearers() {
            return Err(UserRefusal::Bearer);
        }
        let ways = &claims.allowed_connection_types;
        if !ways.is_empty()
            && !ways
                .iter()
                .any(|way| way.eq_ignore_ascii_case(presented.way))
        {
            return Err(UserRefusal::Way);
        }
        if !claims.bearer_token && !is_signed(&user.subject, presented) {
            return Err(UserRefusal::Signature);
        }
        if account.has_revoked(&user.subject, user.issued_at) {
            return Err(UserRefusal::Revoked);
        }
        if !comes_from(&claims.src, presented.address) {
            return Err(UserRefusal::Source);
        }
        let today = times::allowed(&claims.times, &claims.times_location, presented.now)
            .ok_or(UserRefusal::Times)?;
        let lifetime = user.expires.map(|end| {
            // It is over when its last second is.
            Duration::from_secs(u64::try_from(end.saturating_sub(now)).unwrap_or(0))
        });
        Ok(Admitted {
            permissions: account::permissions(&claims.permissions),
            max_subscriptions: account::limit(claims.subs),
            max_payload: account::limit(claims.payload),
            left: lifetime.into_iter().chain(today).min(),
            issued_at: user.issued_at,
            key: user.subject,
            name: user.name,
            issuer: user.issuer,
            account,
        })
    }

    /// Checks that the issuer signs for the account; its scope, if there is one, says what the user is.
    fn take_scope(
        &self,
        user: &mut Token<UserClaims>,
        account: &AccountToken,
    ) -> Result<(), UserRefusal> {
        let strict = self.is_strict(account.issuer());
        let scope = match account.signer(&user.issuer, strict) {
            None => return Err(UserRefusal::UnknownIssuer),
            Some(Signer::Any) => return Ok(()),
            Some(Signer::Scoped(scope)) => scope,
        };
        let bare = UserClaims {
            issuer_account: user.claims.issuer_account.clone(),
            tags: user.claims.tags.clone(),
            ..UserClaims::default()
        };
        if user.claims != bare {
            return Err(UserRefusal::ScopedWithOwn);
        }
        user.claims =
            template::fill(&scope.template, user, account).ok_or(UserRefusal::Template)?;
        Ok(())
    }
}

fn is_signed(user: &str, presented: &Presented<'_>) -> bool {
    let Some(signature) = presented.signature else {
        return false;
    };
    let decoded = URL_SAFE_NO_PAD
        .decode(signature)
        .or_else(|_| STANDARD.decode(signature));
    decoded.is_ok_and(|signature| key::is_signed(user, presented.nonce.as_bytes(), &signature))
}

/// Whether an address is in one of the networks; in any when there are none.
fn comes_from(networks: &[String], address: IpAddr) -> bool {
    networks.is_empty()
        || networks
            .iter()
            .any(|network| contains(network, address.to_canonical()).unwrap_or(false))
}

/// Whether a network like `192.0.2.0/24` contains an address; `None` when it is no network.
fn contains(network: &str, address: IpAddr) -> Option<bool> {
    let (base, bits) = network.split_once('/')?;
    let (base, bits) = (
        base.trim().parse::<IpAddr>().ok()?,
        bits.trim().parse::<u32>().ok()?,
    );
    let same = |one: u128, other: u128, width: u32| {
        let shift = width.checked_sub(bits)?;
        Some(one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0))
    };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            same(u32::from(base).into(), u32::from(address).into(), 32)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => same(base.into(), address.into(), 128),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_should() {
        let from = |networks: &[&str], address: &str| {
            let networks: Vec<String> = networks.iter().map(|text| (*text).to_owned()).collect();
            address
                .parse()
                .is_ok_and(|address| comes_from(&networks, address))
        };
        assert!(from(&[], "1.2.3.4"));
        assert!(from(&["10.0.0.0/8"], "10.9.9.9") && !from(&["10.0.0.0/8"], "11.0.0.1"));
        assert!(from(&["0.0.0.0/0"], "1.2.3.4") && from(&["1.2.3.4/32"], "1.2.3.4"));
        assert!(from(&["nonsense", "::1/128"], "::1") && !from(&["::/0"], "1.2.3.4"));
        assert!(!from(&["10.0.0.0/99"], "10.0.0.1") && !from(&["10.0.0.0"], "10.0.0.0"));
        assert!(from(&["127.0.0.0/8"], "::ffff:127.0.0.1"));
    }
}

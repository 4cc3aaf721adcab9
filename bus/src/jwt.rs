//! Trust by signature: an operator vouches for accounts, an account for its users and for what others may
//! import from it.
//!
//! [`token`] reads a JWT and checks that its issuer signed it; [`claims`] says what it may contain;
//! [`operator`] knows whom to believe; [`user`] decides about one connection. Nothing here knows of sockets.

pub(crate) mod account;
mod claims;
mod key;
mod operator;
mod template;
mod times;
mod token;
pub(crate) mod user;

pub(crate) use account::{AccountToken, activation_grants};
pub use operator::OperatorError;
pub(crate) use operator::Trust;
pub use token::TokenError;
pub(crate) use user::Presented;

/// Whether this is the public nkey of an account.
pub(crate) fn is_account_key(text: &str) -> bool {
    key::kind(text) == Some(key::KeyKind::Account)
}

#[cfg(test)]
pub(crate) mod tests;

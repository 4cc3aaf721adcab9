//! The rules: what each call of the API means, one file per noun. An action checks who asks, looks
//! at rows, changes them and writes the audit event, all in one transaction, and gives orders to
//! whoever has to be told.

pub(crate) mod app;
pub(crate) mod app_fields;
pub(crate) mod app_life;
pub(crate) mod bits;
pub(crate) mod domain;
pub(crate) mod flag;
pub(crate) mod instances;
pub(crate) mod job;
pub(crate) mod org;
pub(crate) mod quota;
pub(crate) mod role;
pub(crate) mod route;
pub(crate) mod space;
pub(crate) mod staging;

use serde::{Deserialize, Deserializer};

/// Reads a field so that `null` differs from absence: `Some(None)` and `None`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// Names of orgs, spaces and apps: something to read, of bounded length, on one line.
pub(crate) fn is_usable_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= 255 && !name.chars().any(char::is_control)
}

//! SCIM: the filter grammar, list parameters and the JSON of users and groups.

pub(crate) mod filter;
pub(crate) mod json;
pub(crate) mod listing;

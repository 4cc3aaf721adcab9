//! What is kept: one file per noun, plain functions on a connection.

pub(crate) mod authorization_code;
pub(crate) mod client;
pub(crate) mod group;
pub(crate) mod login_failure;
pub(crate) mod refresh_token;
pub(crate) mod revocation;
pub(crate) mod signing_key;
pub(crate) mod user;

use aws_lc_rs::digest;
use cupola_db::{EmbeddedMigrations, Json, Migrations, embed_migrations};

/// Scopes, grant types and the like, as a JSON list in one column.
pub(crate) type Names = Json<Vec<String>>;

fn all() -> EmbeddedMigrations {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations");
    ALL
}

/// The schema of this room's database.
pub const MIGRATIONS: Migrations = Migrations::new(all);

/// Under which id a bearer secret (refresh token, code) is kept: its digest, so that who reads
/// the table cannot use it. The secrets are random, so an unsalted digest is enough.
pub(crate) fn digest_id(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// A new random text of 32 hex digits.
pub(crate) fn random_hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests;

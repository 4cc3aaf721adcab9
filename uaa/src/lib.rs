//! Who you are: users, clients, and the tokens that every other room trusts.
//!
//! Speaks the protocol of Cloud Foundry's UAA as far as its clients use it: OAuth2 grants, SCIM users
//! and groups, token keys. Knows nothing of organizations, spaces or apps; what a scope allows is for
//! the room that it names to say.
//!
//! ```text
//!  cf/cup ── POST /oauth/token ──► routes ─► grant ─► password (argon2id, rationed)
//!                                              │────► keyring  (RS256, keys take turns)
//!                                              └────► model    (SQLite | PostgreSQL)
//!  other rooms ── GET /token_keys (now and then) ──► verify tokens by themselves
//! ```
//!
//! Any number of UAAs share one database and agree through its rows alone.

#![forbid(unsafe_code)]

mod body;
mod bootstrap;
mod caller;
mod config;
mod grant;
mod keyring;
mod model;
mod password;
mod refusal;
mod room;
mod routes;
mod schema;
mod scim;
mod scope;
mod seal;
mod state;
mod token;

pub use config::{AutoApprove, Config, FirstAdmin, Lockout, SeedClient};
pub use model::MIGRATIONS;
pub use room::{Room, build};

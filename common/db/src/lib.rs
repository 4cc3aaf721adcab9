//! The database of a room: SQLite out of the box, PostgreSQL by one line of configuration.
//!
//! ```text
//!   handler ── db.read(|c| ..).await ──► queue of reads  ──► worker threads, each owning
//!           ── db.write(|c| ..).await ─► queue of writes ──► one connection for life
//! ```
//!
//! Models are plain functions `fn(&mut Conn, ..) -> QueryResult<..>`. [`Conn`] is one of two
//! connections, and the [`sql!`] macro compiles one query body for both, so that upserts, RETURNING
//! and batch inserts, which diesel's own multi-connection refuses, stay available and checked.
//!
//! A worker thread owns its connection, therefore the pool of threads *is* the pool of
//! connections: nothing is checked out, nothing can leak, and the bound on one is the bound on the other.
//! Every closure runs in a transaction: reads see one snapshot, writes happen wholly or not at
//! all and behave as if they ran one after the other (BEGIN IMMEDIATE on SQLite,
//! SERIALIZABLE with retries on PostgreSQL), so a check followed by a change needs no lock of its own.
//!
//! What it is not: a query builder, a cache, or a place for any room's tables.

#![forbid(unsafe_code)]

mod config;
mod conn;
mod error;
mod migrate;
mod pool;
mod postgres;
mod queue;
mod sqlite;
mod time;
mod value;

#[cfg(feature = "testkit")]
pub mod testkit;

pub use config::{DatabaseConfig, DatabaseUrl};
pub use conn::{Conn, Engine, PgConn};
pub use diesel_migrations::{EmbeddedMigrations, embed_migrations};
pub use error::{DbError, Failure};
pub use migrate::Migrations;
pub use pool::Db;
pub use time::{now, since_epoch};
pub use value::Json;

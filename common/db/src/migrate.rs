//! Bringing a schema up to date.

use std::time::Duration;

use diesel::backend::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::migration::{Migration, MigrationSource, Result};
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use crate::conn::{Conn, Engine, PgConn};
use crate::error::DbError;
use crate::sqlite;

/// An arbitrary number that all of our processes agree on.
const MIGRATION_LOCK: i64 = 0x6375_706f_6c61;
/// How long to wait for another process to migrate a file.
const MIGRATION_WAIT: Duration = Duration::from_secs(600);

/// The migrations of a room, in the SQL both engines understand, plus replacements where one does not.
///
/// A replacement is a migration of the same version in the folder of that engine.
#[derive(Clone, Copy)]
pub struct Migrations {
    common: fn() -> EmbeddedMigrations,
    postgres: Option<fn() -> EmbeddedMigrations>,
}

struct ForEngine<'a>(&'a Migrations, Engine);

// === impl Migrations ===

impl Migrations {
    /// Migrations that run unchanged on both engines.
    #[must_use]
    pub const fn new(common: fn() -> EmbeddedMigrations) -> Self {
        Self {
            common,
            postgres: None,
        }
    }

    /// Replaces migrations of the same version when the engine is PostgreSQL.
    #[must_use]
    pub const fn with_postgres(mut self, overriding: fn() -> EmbeddedMigrations) -> Self {
        self.postgres = Some(overriding);
        self
    }

    /// Says how many were lacking. Of several processes that start at once one migrates, the others wait.
    pub(crate) fn run(&self, conn: &mut Conn) -> std::result::Result<usize, DbError> {
        let outcome = match conn {
            Conn::Postgres(c) => self.run_on_postgres(c),
            Conn::Sqlite(c) => self.run_on_sqlite(c),
        };
        outcome.map_err(|error| DbError::Migrate(error.to_string()))
    }

    fn run_on_postgres(&self, conn: &mut PgConn) -> Result<usize> {
        conn.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
        let outcome = self.run_pending(conn, Engine::Postgres);
        conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
        outcome
    }

    fn run_on_sqlite(&self, conn: &mut SqliteConnection) -> Result<usize> {
        let engine = Engine::Sqlite;
        // The lock is the one of all who write, so it is left alone where nothing is lacking.
        if !conn.has_pending_migration(ForEngine(self, engine))? {
            return Ok(0);
        }
        conn.batch_execute(&sqlite::wait_for_others(MIGRATION_WAIT))?;
        let outcome = conn.immediate_transaction(|conn| self.run_pending(conn, engine));
        conn.batch_execute(&sqlite::wait_for_others(sqlite::BUSY_TIMEOUT))?;
        outcome
    }

    fn run_pending<DB: Backend>(
        &self,
        conn: &mut impl MigrationHarness<DB>,
        engine: Engine,
    ) -> Result<usize>
    where
        EmbeddedMigrations: MigrationSource<DB>,
    {
        let done = conn.run_pending_migrations(ForEngine(self, engine))?;
        Ok(done.len())
    }
}

impl std::fmt::Debug for Migrations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Migrations")
    }
}

impl<DB: Backend> MigrationSource<DB> for ForEngine<'_>
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    fn migrations(&self) -> Result<Vec<Box<dyn Migration<DB>>>> {
        let mut all = (self.0.common)().migrations()?;
        if let (Engine::Postgres, Some(overriding)) = (self.1, self.0.postgres) {
            for replacement in overriding().migrations()? {
                all.retain(|m| m.name().version() != replacement.name().version());
                all.push(replacement);
            }
        }
        Ok(all)
    }
}

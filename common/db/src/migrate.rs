//! Bringing a schema up to date.

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource, Result};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use crate::conn::{Conn, Engine};
use crate::error::DbError;
use crate::sql;

/// An arbitrary number that all of our processes agree on: one of them migrates, the others wait.
const MIGRATION_LOCK: i64 = 0x6375_706f_6c61;

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

    pub(crate) fn run(&self, conn: &mut Conn) -> std::result::Result<usize, DbError> {
        let failed = |e: Box<dyn std::error::Error + Send + Sync>| DbError::Migrate(e.to_string());
        let engine = conn.engine();
        if engine == Engine::Postgres {
            conn.batch(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
        }
        let outcome = sql!(conn, c => {
            c.run_pending_migrations(ForEngine(self, engine)).map(|done| done.len())
        })
        .map_err(failed);
        if engine == Engine::Postgres {
            conn.batch(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
        }
        outcome
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

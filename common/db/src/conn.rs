//! One connection type over two engines.

use std::fmt;

use diesel::connection::SimpleConnection;
use diesel::result::QueryResult;
use diesel::sqlite::SqliteConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;

use crate::postgres::WorkerRuntime;

/// PostgreSQL behind diesel's synchronous face, driven by the runtime of the worker that owns it.
pub type PgConn = AsyncConnectionWrapper<AsyncPgConnection, WorkerRuntime>;

/// The engine a database runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded one.
    Sqlite,
    /// A server.
    Postgres,
}

/// An open connection; use the [`sql!`](crate::sql) macro to run a query on it.
///
/// The transaction around a closure is the pool's business: a model never begins or commits one.
pub enum Conn {
    /// SQLite.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(Box<PgConn>),
}

/// Runs one query body on whichever engine the connection is of.
///
/// ```ignore
/// sql!(conn, c => apps::table.find(id).first::<App>(c))
/// ```
/// The body is compiled once for each engine, so it may use whatever both understand.
#[macro_export]
macro_rules! sql {
    ($conn:expr, $c:ident => $body:expr) => {
        match $conn {
            $crate::Conn::Sqlite($c) => $body,
            $crate::Conn::Postgres(boxed) => {
                let $c = &mut **boxed;
                $body
            }
        }
    };
}

// === impl Conn ===

impl Conn {
    /// The engine behind this connection, for the rare statement that only one of them needs.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self {
            Conn::Sqlite(_) => Engine::Sqlite,
            Conn::Postgres(_) => Engine::Postgres,
        }
    }

    pub(crate) fn batch(&mut self, statements: &str) -> QueryResult<()> {
        sql!(self, c => c.batch_execute(statements))
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conn({:?})", self.engine())
    }
}

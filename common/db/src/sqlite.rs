//! Opening SQLite the way a server wants it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::error::{DbError, is_conflict};

/// How long to wait for another process that writes.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts where SQLite leaves it to us to wait.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// - `synchronous=NORMAL`: a commit survives the death of the process; a power cut may lose the last
///   ones but never corrupts.
/// - 1 MiB of page cache per connection: the tables of a platform are small.
const PRAGMAS: &str = "
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -1024;
    PRAGMA journal_size_limit = 8388608;
";

pub(crate) fn open(path: &Path) -> Result<SqliteConnection, DbError> {
    let text = path
        .to_str()
        .ok_or_else(|| DbError::Url("the path is not UTF-8".into()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| DbError::Connect(format!("create {}: {e}", folder.display())))?;
    }
    let mut conn = SqliteConnection::establish(text)
        .map_err(|e| DbError::Connect(format!("open {}: {e}", path.display())))?;
    set_up(&mut conn).map_err(|e| DbError::Connect(format!("set up {}: {e}", path.display())))?;
    private(path)?;
    Ok(conn)
}

/// WAL: readers never wait for the writer.
#[expect(
    clippy::disallowed_methods,
    reason = "each connection has a thread of its own, which waits"
)]
fn set_up(conn: &mut SqliteConnection) -> QueryResult<()> {
    conn.batch_execute(&wait_for_others(BUSY_TIMEOUT))?;
    // The first one to open a file changes it for good. For that SQLite does not wait for others, who may be
    // about to do the same.
    let begun = Instant::now();
    while let Err(error) = conn.batch_execute("PRAGMA journal_mode = WAL;") {
        if !is_conflict(&error) || begun.elapsed() >= BUSY_TIMEOUT {
            return Err(error);
        }
        thread::sleep(BUSY_PAUSE);
    }
    conn.batch_execute(PRAGMAS)
}

/// The statement that has a connection wait for others that write.
pub(crate) fn wait_for_others(at_most: Duration) -> String {
    format!("PRAGMA busy_timeout = {};", at_most.as_millis())
}

/// Rows may hold (encrypted) secrets: nobody else on the machine reads the file.
fn private(path: &Path) -> Result<(), DbError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| DbError::Connect(format!("set mode of {}: {e}", path.display())))
}

//! Opening SQLite the way a server wants it.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::error::DbError;

/// - WAL: readers never wait for the writer.
/// - `synchronous=NORMAL`: a commit survives the death of the process; a power cut may lose the last
///   ones but never corrupts.
/// - 1 MiB of page cache per connection: the tables of a platform are small.
const PRAGMAS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
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
    conn.batch_execute(PRAGMAS)
        .map_err(|e| DbError::Connect(format!("set up {}: {e}", path.display())))?;
    private(path)?;
    Ok(conn)
}

/// Rows may hold (encrypted) secrets: nobody else on the machine reads the file.
fn private(path: &Path) -> Result<(), DbError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| DbError::Connect(format!("set mode of {}: {e}", path.display())))
}

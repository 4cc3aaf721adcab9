-- SQLite numbers an INTEGER PRIMARY KEY by itself; PostgreSQL has a version of this migration of its own.
SELECT 1;

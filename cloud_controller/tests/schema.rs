//! Both engines have the same tables with the same columns in the same order.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use cupola_cloud_controller::MIGRATIONS;
use cupola_db::testkit::{self, PostgresServer, TestDb};
use cupola_db::{DbError, Engine, sql};
use diesel::prelude::*;
use diesel::sql_types::Text;

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    described: String,
}

const SQLITE: &str = "
    SELECT m.name || '.' || p.name || CASE p.\"notnull\" WHEN 1 THEN '' ELSE '?' END AS described
    FROM sqlite_master AS m, pragma_table_info(m.name) AS p
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\'
    ORDER BY m.name, p.cid";
const POSTGRES: &str = "
    SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN '' ELSE '?' END
        AS described
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'
    ORDER BY table_name, ordinal_position";

async fn columns(test: &TestDb) -> Vec<String> {
    let query = if test.db.engine() == Engine::Sqlite {
        SQLITE
    } else {
        POSTGRES
    };
    let rows: Vec<Column> = test
        .db
        .read::<_, DbError, _>(move |c| Ok(sql!(c, c => diesel::sql_query(query).load(c))?))
        .await
        .unwrap();
    rows.into_iter().map(|row| row.described).collect()
}

#[tokio::test]
async fn both_engines_have_the_same_schema() {
    let server = PostgresServer::start();
    let sqlite = columns(&testkit::sqlite(MIGRATIONS).await).await;
    let postgres = columns(&server.fresh(MIGRATIONS).await).await;
    assert!(sqlite.len() > 100, "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

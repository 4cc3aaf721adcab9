//! The seam over both engines: what every room's models rely on.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::NaiveDateTime;
use cupola_db::testkit::{PostgresServer, TestDb};
use cupola_db::{
    Conn, DatabaseConfig, Db, DbError, EmbeddedMigrations, Engine, Json, Migrations,
    embed_migrations, now, sql, testkit,
};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::upsert::excluded;

diesel::table! {
    things (id) {
        id -> Text,
        count -> Integer,
        notes -> Text,
        made_at -> Timestamp,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Insertable, Selectable)]
#[diesel(table_name = things)]
struct Thing {
    id: String,
    count: i32,
    notes: Json<Vec<String>>,
    made_at: NaiveDateTime,
}

fn common() -> EmbeddedMigrations {
    const ALL: EmbeddedMigrations = embed_migrations!("tests/migrations");
    ALL
}

fn for_postgres() -> EmbeddedMigrations {
    const ALL: EmbeddedMigrations = embed_migrations!("tests/postgres");
    ALL
}

const MIGRATIONS: Migrations = Migrations::new(common).with_postgres(for_postgres);

fn thing(id: &str, count: i32) -> Thing {
    Thing {
        id: id.into(),
        count,
        notes: Json(vec!["a\"b".into()]),
        made_at: now(),
    }
}

fn count_of(c: &mut Conn, id: &str) -> QueryResult<i32> {
    sql!(c, c => things::table.find(id).select(things::count).first(c))
}

async fn behaves(test: &TestDb, engine: Engine) {
    let db = &test.db;
    assert_eq!(db.engine(), engine);
    overrides_migrations(db, engine).await;
    upserts_and_returns(db).await;
    rolls_back_when_the_closure_fails(db).await;
    rolls_back_when_the_caller_leaves(db).await;
    loses_no_update(db).await;
    survives_a_panic(db).await;
    opens_again_without_migrating_twice(test).await;
}

async fn overrides_migrations(db: &Db, engine: Engine) {
    let seed: Thing = db
        .read::<_, DbError, _>(|c| {
            Ok(sql!(c, c => things::table.find("seed").select(Thing::as_select()).first(c))?)
        })
        .await
        .unwrap();
    let expected = if engine == Engine::Sqlite {
        "common"
    } else {
        "postgres"
    };
    assert_eq!(seed.notes.0, [expected]);
    assert_eq!(seed.made_at.and_utc().timestamp_subsec_micros(), 123_456);
}

async fn upserts_and_returns(db: &Db) {
    let one = thing("upsert", 1);
    let stored = db
        .write::<_, DbError, _>(move |c| {
            sql!(c, c => diesel::insert_into(things::table).values(&one).execute(c))?;
            let returned: Thing = sql!(c, c => diesel::insert_into(things::table)
                .values(&thing("upsert", 7))
                .on_conflict(things::id)
                .do_update()
                .set(things::count.eq(excluded(things::count)))
                .returning(Thing::as_returning())
                .get_result(c))?;
            Ok((one.clone(), returned))
        })
        .await
        .unwrap();
    assert_eq!(
        stored.1,
        Thing {
            count: 7,
            ..stored.0
        }
    );
}

async fn rolls_back_when_the_closure_fails(db: &Db) {
    let outcome: Result<(), DbError> = db
        .write(|c| {
            sql!(c, c => diesel::insert_into(things::table).values(&thing("undone", 1)).execute(c))?;
            sql!(c, c => diesel::insert_into(things::table).values(&thing("undone", 2)).execute(c))?;
            Ok(())
        })
        .await;
    assert!(outcome.unwrap_err().is_unique_violation());
    let missing = db
        .read::<_, DbError, _>(|c| Ok(count_of(c, "undone").optional()?))
        .await
        .unwrap();
    assert_eq!(missing, None);
}

async fn rolls_back_when_the_caller_leaves(db: &Db) {
    let (entered, has_entered) = std::sync::mpsc::channel();
    let (leave, may_leave) = std::sync::mpsc::channel::<()>();
    let may_leave = parking_lot::Mutex::new(may_leave);
    let handle = db.clone();
    let caller = tokio::spawn(async move {
        handle
            .write::<_, DbError, _>(move |c| {
                let row = thing("abandoned", 1);
                sql!(c, c => diesel::insert_into(things::table).values(&row).execute(c))?;
                entered.send(()).unwrap();
                may_leave.lock().recv().unwrap();
                Ok(())
            })
            .await
    });
    tokio::task::spawn_blocking(move || has_entered.recv().unwrap())
        .await
        .unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    leave.send(()).unwrap();
    let found = db
        .write::<_, DbError, _>(|c| Ok(count_of(c, "abandoned").optional()?))
        .await
        .unwrap();
    assert_eq!(found, None);
}

async fn loses_no_update(db: &Db) {
    db.write::<_, DbError, _>(|c| {
        sql!(c, c => diesel::insert_into(things::table).values(&thing("counter", 0)).execute(c))?;
        Ok(())
    })
    .await
    .unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (db, runs) = (db.clone(), runs.clone());
        writers.spawn(async move {
            db.write::<_, DbError, _>(move |c| {
                runs.fetch_add(1, Ordering::Relaxed);
                let seen = count_of(c, "counter")?;
                sql!(c, c => diesel::update(things::table.find("counter"))
                    .set(things::count.eq(seen + 1)).execute(c))?;
                Ok(())
            })
            .await
        });
    }
    while let Some(outcome) = writers.join_next().await {
        outcome.unwrap().unwrap();
    }
    let total = db
        .read::<_, DbError, _>(|c| Ok(count_of(c, "counter")?))
        .await
        .unwrap();
    assert_eq!(total, 40, "after {} runs", runs.load(Ordering::Relaxed));
}

async fn survives_a_panic(db: &Db) {
    let outcome: Result<(), DbError> = db.write(|_| panic!("on purpose")).await;
    assert!(matches!(outcome, Err(DbError::NoAnswer)));
    assert_eq!(
        db.write::<_, DbError, _>(|c| Ok(count_of(c, "counter")?))
            .await
            .unwrap(),
        40
    );
}

async fn opens_again_without_migrating_twice(test: &TestDb) {
    let again = Db::open(test.config.clone(), MIGRATIONS).await.unwrap();
    assert_eq!(
        again
            .read::<_, DbError, _>(|c| Ok(count_of(c, "counter")?))
            .await
            .unwrap(),
        40
    );
}

/// Several processes start at once on a database that nobody has opened before.
async fn opens_at_once(config: DatabaseConfig) {
    let opening = (0..3).map(|_| tokio::spawn(Db::open(config.clone(), MIGRATIONS)));
    for open in opening.collect::<Vec<_>>() {
        let db = open.await.unwrap().unwrap();
        let seeds = db
            .read::<_, DbError, _>(|c| Ok(sql!(c, c => things::table.count().first::<i64>(c))?))
            .await
            .unwrap();
        assert_eq!(seeds, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_open_a_new_sqlite_file_at_once() {
    for _ in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/new.db", folder.path().display());
        opens_at_once(DatabaseConfig::at(url)).await;
    }
}

#[tokio::test]
async fn a_sqlite_file_that_lacks_nothing_opens_while_somebody_writes() {
    let test = testkit::sqlite(MIGRATIONS).await;
    let path = test.url.strip_prefix("sqlite://").unwrap();
    let mut writer = SqliteConnection::establish(path).unwrap();
    writer.batch_execute("BEGIN IMMEDIATE").unwrap();
    let open = Db::open(test.config.clone(), MIGRATIONS);
    let open = tokio::time::timeout(Duration::from_secs(20), open).await;
    open.expect("it waits for nobody").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_open_a_new_postgres_database_at_once() {
    let server = PostgresServer::start();
    for _ in 0..3 {
        opens_at_once(DatabaseConfig::at(server.empty_database().await)).await;
    }
}

#[tokio::test]
async fn sqlite_behaves() {
    let test = testkit::sqlite(MIGRATIONS).await;
    behaves(&test, Engine::Sqlite).await;
}

#[tokio::test]
async fn postgres_behaves_and_outlives_killed_connections() {
    let server = PostgresServer::start();
    let test = server.fresh(MIGRATIONS).await;
    behaves(&test, Engine::Postgres).await;
    server.kill_clients().await;
    for _ in 0..4 {
        let db = &test.db;
        assert_eq!(
            db.read::<_, DbError, _>(|c| Ok(count_of(c, "counter")?))
                .await
                .unwrap(),
            40
        );
        assert_eq!(
            db.write::<_, DbError, _>(|c| Ok(count_of(c, "counter")?))
                .await
                .unwrap(),
            40
        );
    }
}

#[tokio::test]
async fn answers_within_the_deadline_and_refuses_beyond_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let mut config =
        cupola_db::DatabaseConfig::at(format!("sqlite://{}/slow.db", folder.path().display()));
    config.queue = 1;
    config.deadline_ms = 1_000;
    let db = Db::open(config, MIGRATIONS).await.unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let entered = parking_lot::Mutex::new(Some(entered));
    let slow = {
        let db = db.clone();
        tokio::spawn(async move {
            db.write::<_, DbError, _>(move |_| {
                entered.lock().take().unwrap().send(()).unwrap();
                wait.lock().recv().unwrap();
                Ok(())
            })
            .await
        })
    };
    has_entered.await.unwrap();
    let queued = {
        let db = db.clone();
        tokio::spawn(async move { db.write::<_, DbError, _>(|_| Ok(())).await })
    };
    tokio::task::yield_now().await; // On this one-threaded runtime the write above is queued now.
    assert!(matches!(
        db.write::<_, DbError, _>(|_| Ok(())).await,
        Err(DbError::Busy(1))
    ));
    assert!(matches!(slow.await.unwrap(), Err(DbError::Deadline)));
    assert!(matches!(queued.await.unwrap(), Err(DbError::Deadline)));
    release.send(()).unwrap();
}

//! The pool: named threads, each with a connection of its own, fed by bounded queues.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::oneshot;

use crate::config::{DatabaseConfig, Target};
use crate::conn::{Conn, Engine};
use crate::error::{DbError, Failure, is_conflict, is_connection_lost};
use crate::migrate::Migrations;
use crate::queue::Queue;
use crate::{postgres, sqlite};

/// How often a write that lost against another one is run again.
const CONFLICT_ATTEMPTS: u32 = 12;

/// A handle on a room's database. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    reads: Arc<Queue<Job>>,
    writes: Arc<Queue<Job>>,
    deadline: Duration,
    engine: Engine,
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A thread's own connection, made when first needed and again when it broke.
struct Worker {
    target: Arc<Target>,
    config: Arc<DatabaseConfig>,
    conn: Option<Conn>,
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
}

// === impl Db ===

impl Db {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached or a migration fails.
    pub async fn open(config: DatabaseConfig, migrations: Migrations) -> Result<Self, DbError> {
        let target = Arc::new(config.url.target()?);
        let engine = config.url.engine()?;
        let config = Arc::new(config);
        let reads = Arc::new(Queue::new(config.queue));
        let writes = Arc::new(Queue::new(config.queue));
        // SQLite has one writer by nature; a second would only wait for the first.
        let writers = if engine == Engine::Sqlite {
            1
        } else {
            config.writers.max(1)
        };
        let mut threads = vec![("db-write", &writes); writers];
        threads.extend(vec![("db-read", &reads); config.readers.max(1)]);
        let db = Self {
            inner: Arc::new(Inner {
                reads: reads.clone(),
                writes: writes.clone(),
                deadline: config.deadline(),
                engine,
            }),
        };
        for (name, queue) in threads {
            let queue = queue.clone();
            let mut worker = Worker {
                target: target.clone(),
                config: config.clone(),
                conn: None,
            };
            std::thread::Builder::new()
                .name(name.to_owned())
                .stack_size(1 << 20)
                .spawn(move || {
                    while let Some(job) = queue.pop() {
                        job(&mut worker);
                    }
                })
                .map_err(|e| DbError::Connect(format!("start a worker thread: {e}")))?;
        }
        let applied = db
            .submit(
                &writes,
                Duration::from_secs(300),
                move |worker, _| -> Result<_, DbError> { migrations.run(worker.ready()?) },
            )
            .await?;
        tracing::debug!(db.engine = ?engine, db.migrations_applied = applied, "database is open");
        Ok(db)
    }

    /// The engine behind.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }

    /// Runs `work` on one consistent snapshot.
    ///
    /// # Errors
    /// What `work` returns, or the database's own failure.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure,
        F: Fn(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let run = move |worker: &mut Worker, abandoned: &dyn Fn() -> bool| {
            worker.transaction(Kind::Read, &work, abandoned)
        };
        self.submit(&self.inner.reads, self.inner.deadline, run)
            .await
    }

    /// Runs `work` in a transaction: all of it happens when it returns `Ok`, nothing otherwise.
    ///
    /// `work` may run more than once (only the last run takes effect), so it does nothing but
    /// talk to the database. Dropping the future before it is done rolls the work back, unless
    /// it was already being committed.
    ///
    /// # Errors
    /// What `work` returns, or the database's own failure.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure,
        F: Fn(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let run = move |worker: &mut Worker, abandoned: &dyn Fn() -> bool| {
            worker.transaction(Kind::Write, &work, abandoned)
        };
        self.submit(&self.inner.writes, self.inner.deadline, run)
            .await
    }

    async fn submit<T, E, F>(&self, queue: &Queue<Job>, within: Duration, run: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure,
        F: FnOnce(&mut Worker, &dyn Fn() -> bool) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            if answer.is_closed() {
                return; // The caller gave up while we were queued.
            }
            let abandoned = || answer.is_closed();
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(worker, &abandoned)));
            match outcome {
                Ok(outcome) => {
                    // A caller that left in this very moment has no use for the answer.
                    let _ = answer.send(outcome);
                }
                Err(_) => {
                    // The panic hook has reported it; the connection's state is unknown.
                    worker.conn = None;
                }
            }
        });
        queue
            .push(job)
            .map_err(|waiting| E::from(DbError::Busy(waiting)))?;
        match tokio::time::timeout(within, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(E::from(DbError::NoAnswer)),
            Err(_) => Err(E::from(DbError::Deadline)),
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db({:?})", self.inner.engine)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
    }
}

// === impl Worker ===

impl Worker {
    fn ready(&mut self) -> Result<&mut Conn, DbError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => match &*self.target {
                Target::Sqlite(path) => Conn::Sqlite(sqlite::open(path)?),
                Target::Postgres(url) => {
                    let ca = self.config.ca_file.as_deref();
                    let limit = self.config.deadline();
                    Conn::Postgres(Box::new(postgres::connect(url, ca, limit)?))
                }
            },
        };
        Ok(self.conn.insert(conn))
    }

    /// Opens a transaction; a connection found dead is replaced once, for nothing was lost yet.
    fn begin(&mut self, kind: Kind) -> Result<&mut Conn, DbError> {
        let had_one = self.conn.is_some();
        let conn = self.ready()?;
        let statement = kind.begin(conn.engine());
        match conn.batch(statement) {
            Ok(()) => {}
            Err(e) if had_one && is_connection_lost(&e) => {
                self.conn = None;
                self.ready()?.batch(statement)?;
            }
            Err(e) => return Err(e.into()),
        }
        self.ready()
    }

    fn transaction<T, E: Failure>(
        &mut self,
        kind: Kind,
        work: &dyn Fn(&mut Conn) -> Result<T, E>,
        abandoned: &dyn Fn() -> bool,
    ) -> Result<T, E> {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let conn = self.begin(kind)?;
            let outcome = work(conn);
            let error = match outcome {
                Ok(_) if abandoned() => {
                    self.rollback();
                    return Err(DbError::Deadline.into());
                }
                Ok(value) => match conn.batch("COMMIT") {
                    Ok(()) => return Ok(value),
                    Err(e) => E::from(DbError::Query(e)),
                },
                Err(e) => e,
            };
            self.rollback();
            let again = error.database().is_some_and(is_conflict)
                && attempt < CONFLICT_ATTEMPTS
                && started.elapsed() < self.config.deadline()
                && !abandoned();
            if !again {
                return Err(error);
            }
            let ceiling_ms = 1_u64 << attempt.min(7);
            #[expect(clippy::disallowed_methods, reason = "this thread serves no runtime")]
            std::thread::sleep(Duration::from_millis(
                rand::rng().random_range(0..=ceiling_ms),
            ));
            attempt += 1;
        }
    }

    /// Leaves the connection as good as new, or leaves it.
    fn rollback(&mut self) {
        if let Some(conn) = &mut self.conn
            && conn.batch("ROLLBACK").is_err()
        {
            self.conn = None;
        }
    }
}

// === impl Kind ===

impl Kind {
    fn begin(self, engine: Engine) -> &'static str {
        match (self, engine) {
            (Kind::Read, Engine::Sqlite) => "BEGIN",
            (Kind::Write, Engine::Sqlite) => "BEGIN IMMEDIATE",
            (Kind::Read, Engine::Postgres) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Kind::Write, Engine::Postgres) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

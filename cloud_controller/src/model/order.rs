//! Orders: what has been decided and must still be told to a DEA, a stager or the health manager.
//!
//! An order is written in the transaction that decides it and removed when it was carried out, so
//! that a controller killed in between tells it after its restart. One controller owns an
//! order for a while; when it does not come back, another takes over.

use chrono::{Duration, NaiveDateTime};
use cupola_db::{Conn, Json, now, sql};
use cupola_types::{AppVersion, InstanceGuid, InstanceIndex, StagingTaskId};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::schema::orders;

/// How long an order stays with the controller that wrote it.
const CLAIM_SECONDS: i64 = 30;

/// What is to be done about an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Find a stager for this task.
    Stage { task: StagingTaskId },
    /// Tell every stager to give up the app.
    StopStaging,
    /// Find DEAs for these instances.
    Start {
        version: AppVersion,
        indices: Vec<InstanceIndex>,
    },
    /// Stop instances; what is absent does not restrict.
    Stop {
        version: Option<AppVersion>,
        indices: Option<Vec<InstanceIndex>>,
        instances: Option<Vec<InstanceGuid>>,
    },
    /// Tell the DEAs the app's routes as they are now.
    Routes,
    /// Remove a blob that nothing refers to any more.
    DropBlob { bucket: String, key: String },
}

/// A row of `orders`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = orders)]
pub(crate) struct OrderRow {
    pub(crate) id: i64,
    pub(crate) body: Json<Order>,
    pub(crate) created_at: NaiveDateTime,
    /// Whether it was another controller's first, which may have carried out some of it.
    pub(crate) adopted: bool,
}

#[derive(Insertable)]
#[diesel(table_name = orders)]
struct NewOrder<'a> {
    subject: &'a str,
    body: Json<&'a Order>,
    owner: &'a str,
    claimed_until: NaiveDateTime,
    created_at: NaiveDateTime,
}

/// Adds an order to those of the transaction's controller.
pub(crate) fn give(c: &mut Conn, owner: &str, app_guid: &str, order: &Order) -> QueryResult<()> {
    let created_at = now();
    let new = NewOrder {
        subject: app_guid,
        body: Json(order),
        owner,
        claimed_until: created_at + Duration::seconds(CLAIM_SECONDS),
        created_at,
    };
    sql!(c, c => diesel::insert_into(orders::table).values(&new).execute(c))?;
    Ok(())
}

/// The apps about which `owner` has orders to carry out, up to `most`.
pub(crate) fn subjects_of(c: &mut Conn, owner: &str, most: i64) -> QueryResult<Vec<String>> {
    sql!(c, c => orders::table
        .filter(orders::owner.eq(owner))
        .select(orders::subject)
        .distinct()
        .limit(most)
        .load(c))
}

/// The orders about an app that `owner` has to carry out, oldest first.
pub(crate) fn of_owner(c: &mut Conn, owner: &str, app_guid: &str) -> QueryResult<Vec<OrderRow>> {
    sql!(c, c => orders::table
        .filter(orders::owner.eq(owner).and(orders::subject.eq(app_guid)))
        .order(orders::id)
        .select(OrderRow::as_select())
        .load(c))
}

/// The orders about an app that have not been carried out, whoever has to.
pub(crate) fn of_subject(c: &mut Conn, app_guid: &str) -> QueryResult<Vec<OrderRow>> {
    sql!(c, c => orders::table
        .filter(orders::subject.eq(app_guid))
        .order(orders::id)
        .select(OrderRow::as_select())
        .load(c))
}

/// Takes over what other controllers have left lying.
pub(crate) fn adopt(c: &mut Conn, owner: &str) -> QueryResult<usize> {
    let at = now();
    sql!(c, c => diesel::update(orders::table.filter(
            orders::owner.ne(owner).and(orders::claimed_until.lt(at))))
        .set((
            orders::owner.eq(owner),
            orders::adopted.eq(true),
            orders::claimed_until.eq(at + Duration::seconds(CLAIM_SECONDS)),
        ))
        .execute(c))
}

/// Keeps what is being worked on from being taken over.
pub(crate) fn renew(c: &mut Conn, owner: &str) -> QueryResult<usize> {
    let until = now() + Duration::seconds(CLAIM_SECONDS);
    sql!(c, c => diesel::update(orders::table.filter(orders::owner.eq(owner)))
        .set(orders::claimed_until.eq(until))
        .execute(c))
}

/// Whether an order is still to be carried out by `owner`.
pub(crate) fn is_open(c: &mut Conn, owner: &str, id: i64) -> QueryResult<bool> {
    let found: i64 = sql!(c, c => orders::table
        .filter(orders::id.eq(id).and(orders::owner.eq(owner)))
        .count()
        .get_result(c))?;
    Ok(found > 0)
}

/// Removes an order that was carried out.
pub(crate) fn done(c: &mut Conn, id: i64) -> QueryResult<usize> {
    sql!(c, c => diesel::delete(orders::table.filter(orders::id.eq(id))).execute(c))
}

/// Whether there is any order at all.
pub(crate) fn any(c: &mut Conn) -> QueryResult<bool> {
    let first: Option<i64> = sql!(c, c => orders::table.select(orders::id).first(c)).optional()?;
    Ok(first.is_some())
}

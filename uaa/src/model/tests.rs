//! The models, on both engines.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use chrono::TimeDelta;
use cupola_db::testkit::{self, PostgresServer, TestDb};
use cupola_db::{Conn, Db, DbError, Json, now};

use super::authorization_code::{self, AuthorizationCode};
use super::client::{self, AutoApprove, Client};
use super::login_failure::{self, Failures};
use super::refresh_token::{self, RefreshToken};
use super::signing_key::{self, StoredKey};
use super::user::{self, Listing, SortBy, User};
use super::{MIGRATIONS, digest_id, group, revocation};
use crate::scim::filter::Expression;

async fn write<T: Send + 'static>(
    db: &Db,
    work: impl Fn(&mut Conn) -> diesel::QueryResult<T> + Send + 'static,
) -> T {
    db.write::<_, DbError, _>(move |c| Ok(work(c)?))
        .await
        .unwrap()
}

async fn behaves(test: &TestDb) {
    let db = &test.db;
    users_are_unique_in_any_case(db).await;
    filters_compile(db).await;
    groups_and_members(db).await;
    clients_round_trip(db).await;
    refresh_tokens_are_bounded_and_swept(db).await;
    a_code_is_redeemed_once(db).await;
    failures_are_kept_and_cleared(db).await;
    deleting_a_user_takes_all_that_is_his(db).await;
    keys_and_revocations(db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_on_sqlite() {
    behaves(&testkit::sqlite(MIGRATIONS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_on_postgres() {
    let server = PostgresServer::start();
    behaves(&server.fresh(MIGRATIONS).await).await;
}

fn named(name: &str) -> User {
    User::new("uaa", name)
}

async fn make_user(db: &Db, name: &str) -> User {
    let user = named(name);
    let kept = user.clone();
    write(db, move |c| user::insert(c, &kept)).await;
    user
}

async fn users_are_unique_in_any_case(db: &Db) {
    let user = make_user(db, "Zoë").await;
    let found = write(db, |c| user::find_by_name(c, "uaa", "zOË")).await;
    assert_eq!(found, Some(user.clone()));
    assert_eq!(
        write(db, |c| user::find_by_name(c, "ldap", "zoë")).await,
        None
    );
    let twin = named("zoë");
    let refused = db
        .write::<_, DbError, _>(move |c| Ok(user::insert(c, &twin)?))
        .await;
    assert!(refused.unwrap_err().is_unique_violation());
    let (id, at) = (user.id.clone(), now());
    write(db, move |c| user::logged_in(c, &id, at)).await;
    let (id, later) = (user.id.clone(), at + TimeDelta::seconds(1));
    write(db, move |c| user::logged_in(c, &id, later)).await;
    let id = user.id;
    let seen = write(db, move |c| user::find(c, &id)).await.unwrap();
    assert_eq!(
        (seen.previous_logon_at, seen.last_logon_at),
        (Some(at), Some(later))
    );
}

async fn filters_compile(db: &Db) {
    for name in ["f-ann", "f-anna", "f_bob", "fxbob"] {
        make_user(db, name).await;
    }
    let long_ago = "1999-01-01T00:00:00Z";
    for (filter, expected) in [
        (r#"userName eq "F-ANN""#.to_owned(), vec!["f-ann"]),
        (r#"userName sw "f-ann""#.to_owned(), vec!["f-ann", "f-anna"]),
        (r#"userName sw "f_b""#.to_owned(), vec!["f_bob"]),
        (r#"userName co "_BO""#.to_owned(), vec!["f_bob"]),
        (
            r#"userName gt "f-ann" and userName lt "f_""#.to_owned(),
            vec!["f-anna"],
        ),
        (
            r#"userName eq "f-ann" or userName eq "fxbob""#.to_owned(),
            vec!["f-ann", "fxbob"],
        ),
        (r#"userName sw "f" and active eq false"#.to_owned(), vec![]),
        (
            format!(r#"userName eq "fxbob" and created gt "{long_ago}""#),
            vec!["fxbob"],
        ),
        (
            format!(r#"userName eq "fxbob" and lastModified lt "{long_ago}""#),
            vec![],
        ),
        (
            r#"userName eq "fxbob" and created eq "soon""#.to_owned(),
            vec![],
        ),
        (
            r#"userName eq "fxbob" and externalId pr"#.to_owned(),
            vec![],
        ),
        (
            r#"userName eq "fxbob" and id pr and created pr"#.to_owned(),
            vec!["fxbob"],
        ),
        (r#"userName eq "\\' or 1=1""#.to_owned(), vec![]),
    ] {
        let listing = Listing {
            filter: Expression::parse(&filter, user::ATTRIBUTES).unwrap(),
            sort_by: SortBy::UserName,
            descending: false,
            offset: 0,
            limit: 10,
        };
        let (users, total) = write(db, move |c| user::list(c, &listing)).await;
        let mut names: Vec<_> = users.iter().map(|user| user.user_name.as_str()).collect();
        // Collations differ between the engines; membership does not.
        names.sort_unstable();
        assert_eq!(names, expected, "{filter}");
        assert_eq!(total, i64::try_from(expected.len()).unwrap());
    }
    for (sort_by, descending) in [
        (SortBy::Created, true),
        (SortBy::Id, false),
        (SortBy::Id, true),
        (SortBy::UserName, true),
    ] {
        let filter = Expression::Everything;
        let listing = Listing {
            filter,
            sort_by,
            descending,
            offset: 1,
            limit: 2,
        };
        let (users, total) = write(db, move |c| user::list(c, &listing)).await;
        assert_eq!((users.len(), total), (2, 5));
    }
}

async fn groups_and_members(db: &Db) {
    let user = make_user(db, "member").await;
    let id = user.id.clone();
    let (first, again) = write(db, move |c| {
        let group = group::ensure(c, "team.red")?;
        assert_eq!(group::ensure(c, "team.red")?, group);
        Ok((
            group::add_member(c, &group, &id)?,
            group::add_member(c, &group, &id)?,
        ))
    })
    .await;
    assert_eq!((first, again), (true, false));
    let id = user.id.clone();
    let groups = write(db, move |c| group::of_user(c, &id)).await;
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].0, "team.red");
    let group_id = groups[0].1.clone();
    let ids = user.id.clone();
    let by_user = write(db, move |c| group::of_users(c, &[&ids])).await;
    assert_eq!(by_user[&user.id], groups);
    let (found, total) = write(db, |c| group::list(c, Some("TEAM.red"), 0, 10)).await;
    assert_eq!((found.len(), total), (1, 1));
    let removed = write(db, move |c| {
        group::touch(c, &group_id, Some("text"))?;
        let touched = group::find(c, &group_id)?;
        assert!(touched.is_some_and(|g| g.version == 1 && g.description == "text"));
        group::set_members(c, &group_id, &[])?;
        group::delete(c, &group_id)
    })
    .await;
    assert!(removed);
}

async fn clients_round_trip(db: &Db) {
    let mut made = Client::new("one");
    made.scopes = Json(vec!["a".to_owned(), "b \"c\"".to_owned()]);
    made.auto_approve = Json(AutoApprove::Scopes(vec!["a".to_owned()]));
    made.access_validity = Some(60);
    made.seed = Some("s".to_owned());
    let kept = made.clone();
    let found = write(db, move |c| {
        client::insert(c, &kept)?;
        client::find(c, "one")
    })
    .await;
    assert_eq!(found, Some(made.clone()));
    made.access_validity = None;
    made.seed = None;
    let kept = made.clone();
    let (changed, found, longest) = write(db, move |c| {
        let changed = client::update(c, &kept)?;
        Ok((
            changed,
            client::find(c, "one")?,
            client::longest_access_validity(c)?,
        ))
    })
    .await;
    assert!(changed);
    assert_eq!(
        (found, longest),
        (Some(made), None),
        "nulls are written, too"
    );
}

fn refresh(user: &User, token: &str, age: i64) -> RefreshToken {
    let created_at = now() - TimeDelta::seconds(age);
    RefreshToken {
        id: digest_id(token),
        user_id: user.id.clone(),
        client_id: "one".to_owned(),
        scopes: Json(vec!["a".to_owned()]),
        signature: "s".to_owned(),
        grant_type: "password".to_owned(),
        authenticated_at: created_at,
        created_at,
        expires_at: created_at + TimeDelta::seconds(1000),
    }
}

async fn refresh_tokens_are_bounded_and_swept(db: &Db) {
    let user = make_user(db, "refresher").await;
    let tokens: Vec<_> = (0..105)
        .map(|n| refresh(&user, &format!("t{n}"), 500 - n))
        .collect();
    write(db, move |c| {
        tokens
            .iter()
            .try_for_each(|token| refresh_token::insert(c, token))
    })
    .await;
    let (oldest, newest) = write(db, |c| {
        Ok((
            refresh_token::find(c, "t4")?,
            refresh_token::find(c, "t104")?,
        ))
    })
    .await;
    assert!(oldest.is_none() && newest.is_some(), "the oldest give way");
    let then = now() + TimeDelta::seconds(1000);
    assert_eq!(write(db, move |c| refresh_token::sweep(c, then)).await, 100);
}

async fn a_code_is_redeemed_once(db: &Db) {
    let user = make_user(db, "coder").await;
    let code = AuthorizationCode {
        id: digest_id("code"),
        user_id: user.id,
        client_id: "one".to_owned(),
        scopes: Json(vec![]),
        redirect_uri: String::new(),
        challenge: None,
        challenge_method: None,
        authenticated_at: now(),
        expires_at: now(),
    };
    let kept = code.clone();
    write(db, move |c| authorization_code::insert(c, &kept)).await;
    let redeem = || write(db, |c| authorization_code::redeem(c, "code"));
    let outcomes = tokio::join!(redeem(), redeem(), redeem());
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    assert_eq!(outcomes.iter().flatten().collect::<Vec<_>>(), [&code]);
    assert_eq!(write(db, |c| authorization_code::sweep(c, now())).await, 0);
}

async fn failures_are_kept_and_cleared(db: &Db) {
    let user = make_user(db, "forgetful").await;
    let failures = Failures {
        count: 1,
        first_at: now(),
        last_at: now(),
    };
    let more = Failures {
        count: 2,
        ..failures
    };
    let id = user.id.clone();
    let found = write(db, move |c| {
        login_failure::store(c, &id, failures)?;
        login_failure::store(c, &id, more)?;
        login_failure::of_user(c, &id)
    })
    .await;
    assert_eq!(found, Some(more));
    let found = write(db, move |c| {
        login_failure::clear(c, &user.id)?;
        login_failure::of_user(c, &user.id)
    })
    .await;
    assert_eq!(found, None);
}

async fn deleting_a_user_takes_all_that_is_his(db: &Db) {
    let user = make_user(db, "leaver").await;
    let token = refresh(&user, "leaving", 0);
    let left = write(db, move |c| {
        let group = group::ensure(c, "left.behind")?;
        group::add_member(c, &group, &user.id)?;
        refresh_token::insert(c, &token)?;
        let failures = Failures {
            count: 1,
            first_at: now(),
            last_at: now(),
        };
        login_failure::store(c, &user.id, failures)?;
        assert!(user::delete(c, &user.id)?);
        Ok((
            group::members(c, &group, 10)?,
            refresh_token::find(c, "leaving")?,
            login_failure::of_user(c, &user.id)?,
        ))
    })
    .await;
    assert_eq!(left, (vec![], None, None));
}

async fn keys_and_revocations(db: &Db) {
    let at = now();
    let key = |id: &str, hours| StoredKey {
        id: id.to_owned(),
        sealed: "x".to_owned(),
        created_at: at,
        activates_at: at + TimeDelta::hours(hours),
    };
    let (second, first) = (key("a", 1), key("b", 0));
    let all = write(db, move |c| {
        signing_key::insert(c, &second)?;
        signing_key::insert(c, &first)?;
        signing_key::all(c)
    })
    .await;
    let ids: Vec<_> = all.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["b", "a"]);
    let (known, unknown, swept) = write(db, move |c| {
        revocation::insert(c, "jti", at)?;
        revocation::insert(c, "jti", at)?;
        let seen = (
            revocation::exists(c, "jti")?,
            revocation::exists(c, "other")?,
        );
        Ok((seen.0, seen.1, revocation::sweep(c, at)?))
    })
    .await;
    assert_eq!((known, unknown, swept), (true, false, 1));
}

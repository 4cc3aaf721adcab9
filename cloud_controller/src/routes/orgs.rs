//! `/v2/organizations`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use serde_json::{Value, json};

use super::{Answer, Api, created, gone, is_true, nothing, ok, page, users};
use crate::access::OrgRight;
use crate::action::domain as domain_actions;
use crate::action::org::{self as actions, OrgFields};
use crate::action::role::{self, ByName, Change, Subject};
use crate::actor::Actor;
use crate::error::Fail;
use crate::model::listing::Where;
use crate::model::org::Org;
use crate::model::user::{self, OrgRole, User};
use crate::model::{app, domain, org, space};
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/organizations")
            .route("", web::get().to(list))
            .route("", web::post().to(create))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update))
            .route("/{guid}", web::delete().to(delete))
            .route("/{guid}/spaces", web::get().to(spaces))
            .route("/{guid}/domains", web::get().to(domains))
            .route("/{guid}/private_domains", web::get().to(private_domains))
            .route(
                "/{guid}/private_domains/{domain}",
                web::put().to(share_domain),
            )
            .route(
                "/{guid}/private_domains/{domain}",
                web::delete().to(unshare_domain),
            )
            .route("/{guid}/summary", web::get().to(summary))
            .route("/{guid}/memory_usage", web::get().to(memory_usage))
            .route("/{guid}/instance_usage", web::get().to(instance_usage))
            .route("/{guid}/user_roles", web::get().to(user_roles))
            .route("/{guid}/{relation}", web::get().to(members))
            .route("/{guid}/{relation}", web::put().to(give_by_name))
            .route("/{guid}/{relation}", web::delete().to(take_by_name))
            .route("/{guid}/{relation}/remove", web::post().to(take_by_name))
            .route("/{guid}/{relation}/{user}", web::put().to(give))
            .route("/{guid}/{relation}/{user}", web::delete().to(take)),
    );
}

async fn written(api: &Api, actor: &Actor, org: Org, depth: u8) -> Result<Value, Fail> {
    let (actor, sealer) = (actor.clone(), api.sealer.clone());
    api.read(move |c| present::org(c, &View::one(&actor, &sealer), &org, depth))
        .await
}

async fn readable(api: &Api, actor: &Actor, guid: &str) -> Result<Org, Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    api.read(move |c| actor.org(c, &guid, OrgRight::Read)).await
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, actor: &Actor| Ok(actor.sees_orgs());
    page(
        &api,
        &actor,
        &request,
        query,
        (&org::LISTING, org::by_ids),
        seen,
        present::org,
    )
    .await
}

async fn create(api: Api, actor: Actor, Json(fields): Json<OrgFields>) -> Answer {
    let made = actions::create(&api, &actor, fields).await?;
    created(&written(&api, &actor, made, 0).await?)
}

async fn show(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    let found = readable(&api, &actor, &guid).await?;
    ok(&written(&api, &actor, found, query.inline_relations_depth).await?)
}

async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(fields): Json<OrgFields>,
) -> Answer {
    let changed = actions::update(&api, &actor, &guid, fields).await?;
    created(&written(&api, &actor, changed, 0).await?)
}

async fn delete(api: Api, actor: Actor, guid: Path<String>, query: ListQuery) -> Answer {
    actions::delete(&api, &actor, &guid, is_true(&query, "recursive")).await?;
    gone(&api, &query).await
}

async fn spaces(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        actor.org(c, &guid, OrgRight::Read)?;
        Ok(actor.sees_spaces().and("org_guid = ?", [&guid]))
    };
    page(
        &api,
        &actor,
        &request,
        query,
        (&space::LISTING, space::by_ids),
        seen,
        present::space,
    )
    .await
}

async fn domains(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        actor.org(c, &guid, OrgRight::Read)?;
        Ok(usable_domains(&guid))
    };
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::domain(row));
    page(
        &api,
        &actor,
        &request,
        query,
        (&domain::LISTING, domain::by_ids),
        seen,
        present,
    )
    .await
}

/// What an organization may put routes on.
pub(super) fn usable_domains(org_guid: &str) -> Where {
    Where::all().and(
        "owner_org_guid IS NULL OR owner_org_guid = ? OR guid IN \
         (SELECT domain_guid FROM domain_shares WHERE org_guid = ?)",
        [org_guid, org_guid],
    )
}

async fn private_domains(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let seen = move |c: &mut _, actor: &Actor| {
        actor.org(c, &guid, OrgRight::Read)?;
        Ok(usable_domains(&guid).and("owner_org_guid IS NOT NULL", []))
    };
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::private_domain(row));
    page(
        &api,
        &actor,
        &request,
        query,
        (&domain::LISTING, domain::by_ids),
        seen,
        present,
    )
    .await
}

async fn share_domain(api: Api, actor: Actor, path: Path<(String, String)>) -> Answer {
    let (guid, domain) = path.into_inner();
    let org = domain_actions::share(&api, &actor, &guid, &domain, true).await?;
    created(&written(&api, &actor, org, 0).await?)
}

async fn unshare_domain(api: Api, actor: Actor, path: Path<(String, String)>) -> Answer {
    let (guid, domain) = path.into_inner();
    domain_actions::share(&api, &actor, &guid, &domain, false).await?;
    nothing()
}

async fn summary(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let value = api
        .read(move |c| {
            let org = actor.org(c, &guid, OrgRight::Read)?;
            let ids =
                space::LISTING.all(c, &actor.sees_spaces().and("org_guid = ?", [&guid]), 1_000)?;
            let mut spaces = Vec::new();
            for space in space::by_ids(c, &ids)? {
                let apps = app::of_space(c, &space.guid)?;
                let memory: i64 = apps
                    .iter()
                    .filter(|app| app.is_started())
                    .map(|app| i64::from(app.memory) * i64::from(app.instances))
                    .sum();
                spaces.push(json!({
                    "guid": space.guid, "name": space.name, "service_count": 0,
                    "app_count": apps.len(), "mem_dev_total": memory, "mem_prod_total": 0,
                }));
            }
            Ok(json!({"guid": org.guid, "name": org.name, "status": org.status, "spaces": spaces}))
        })
        .await?;
    ok(&value)
}

async fn memory_usage(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let (memory, _) = usage(&api, &actor, &guid).await?;
    ok(&json!({"memory_usage_in_mb": memory}))
}

async fn instance_usage(api: Api, actor: Actor, guid: Path<String>) -> Answer {
    let (_, instances) = usage(&api, &actor, &guid).await?;
    ok(&json!({"instance_usage": instances}))
}

async fn usage(api: &Api, actor: &Actor, guid: &str) -> Result<(i64, i64), Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    api.read(move |c| {
        actor.org(c, &guid, OrgRight::Read)?;
        let used = app::usage_of_org(c, &guid, None)?;
        let memory = used
            .iter()
            .map(|(each, n)| i64::from(*each) * i64::from(*n))
            .sum();
        Ok((memory, used.iter().map(|(_, n)| i64::from(*n)).sum()))
    })
    .await
}

async fn user_roles(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let (org_guid, wanted) = (guid.clone(), guid.into_inner());
    let seen = move |c: &mut _, actor: &Actor| {
        actor.org(c, &wanted, OrgRight::Read)?;
        let in_it = "guid IN (SELECT user_guid FROM org_roles WHERE org_guid = ?)";
        Ok(Where::all().and(in_it, [&wanted]))
    };
    let present = move |c: &mut _, _: &View<'_>, row: &User, _| {
        let roles = user::roles_in_org(c, &org_guid, &row.guid)?;
        let names = roles.into_iter().map(OrgRole::public_name).collect();
        Ok(present::member(row, "organization_roles", names))
    };
    page(
        &api,
        &actor,
        &request,
        query,
        (&user::LISTING, user::by_ids),
        seen,
        present,
    )
    .await
}

fn role_of(relation: &str) -> Result<OrgRole, Fail> {
    OrgRole::of_relation(relation).ok_or_else(|| api_error::NOT_FOUND.bare().into())
}

async fn members(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    request: HttpRequest,
    query: ListQuery,
) -> Answer {
    let (guid, relation) = path.into_inner();
    if matches!(
        relation.as_str(),
        "space_quota_definitions" | "services" | "app_events"
    ) {
        readable(&api, &actor, &guid).await?;
        return super::none::empty(&request, &query);
    }
    let role = role_of(&relation)?;
    let seen = move |c: &mut _, actor: &Actor| {
        actor.org(c, &guid, OrgRight::Read)?;
        let having = "guid IN (SELECT user_guid FROM org_roles WHERE org_guid = ? AND role = ?)";
        Ok(Where::all().and(having, [guid.as_str(), role.as_str()]))
    };
    page(
        &api,
        &actor,
        &request,
        query,
        (&user::LISTING, user::by_ids),
        seen,
        users::present,
    )
    .await
}

async fn change(
    api: &Api,
    actor: &Actor,
    path: (String, String),
    subject: Subject,
    change: Change,
) -> Answer {
    let (guid, relation) = path;
    let role = role_of(&relation)?;
    let org = role::in_org(api, actor, &guid, role, subject, change).await?;
    match change {
        Change::Give => created(&written(api, actor, org, 0).await?),
        Change::Take => nothing(),
    }
}

async fn give_by_name(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    Json(name): Json<ByName>,
) -> Answer {
    change(
        &api,
        &actor,
        path.into_inner(),
        Subject::Name(name),
        Change::Give,
    )
    .await
}

async fn take_by_name(
    api: Api,
    actor: Actor,
    path: Path<(String, String)>,
    Json(name): Json<ByName>,
) -> Answer {
    change(
        &api,
        &actor,
        path.into_inner(),
        Subject::Name(name),
        Change::Take,
    )
    .await
}

async fn give(api: Api, actor: Actor, path: Path<(String, String, String)>) -> Answer {
    let (guid, relation, user) = path.into_inner();
    change(
        &api,
        &actor,
        (guid, relation),
        Subject::Guid(user),
        Change::Give,
    )
    .await
}

async fn take(api: Api, actor: Actor, path: Path<(String, String, String)>) -> Answer {
    let (guid, relation, user) = path.into_inner();
    change(
        &api,
        &actor,
        (guid, relation),
        Subject::Guid(user),
        Change::Take,
    )
    .await
}

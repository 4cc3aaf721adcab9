//! `/v2/buildpacks`

use actix_web::HttpRequest;
use actix_web::web::{self, Path, ServiceConfig};
use cupola_http::body::Json;
use cupola_http::{ListQuery, api_error};
use serde::Deserialize;

use super::{Answer, Api, created, ok, page};
use crate::actor::Actor;
use crate::model::buildpack::{self, Buildpack};
use crate::model::listing::Where;
use crate::present::{self, View};

pub(super) fn routes(cfg: &mut ServiceConfig) {
    cfg.service(
        web::scope("/buildpacks")
            .route("", web::get().to(list))
            .route("/{guid}", web::get().to(show))
            .route("/{guid}", web::put().to(update)),
    );
}

#[derive(Debug, Deserialize)]
struct BuildpackFields {
    position: Option<i32>,
    enabled: Option<bool>,
    locked: Option<bool>,
}

async fn list(api: Api, actor: Actor, request: HttpRequest, query: ListQuery) -> Answer {
    let seen = |_: &mut _, _: &Actor| Ok(Where::all());
    let present = |_: &mut _, _: &View<'_>, row: &_, _| Ok(present::buildpack(row));
    page(
        &api,
        &actor,
        &request,
        query,
        (&buildpack::LISTING, buildpack::by_ids),
        seen,
        present,
    )
    .await
}

async fn show(api: Api, _: Actor, guid: Path<String>) -> Answer {
    let found = api
        .read(move |c| {
            let found = buildpack::find(c, &guid)?;
            Ok(found.ok_or_else(|| api_error::NOT_FOUND.bare())?)
        })
        .await?;
    ok(&present::buildpack(&found))
}

/// Switches a buildpack on or off, or moves it; the others make room.
async fn update(
    api: Api,
    actor: Actor,
    guid: Path<String>,
    Json(fields): Json<BuildpackFields>,
) -> Answer {
    actor.require_admin()?;
    let changed = api
        .write(move |c| {
            let mut all = buildpack::in_order(c)?;
            let at = all
                .iter()
                .position(|buildpack| buildpack.guid == *guid)
                .ok_or_else(|| api_error::NOT_FOUND.bare())?;
            let mut wanted = all.remove(at);
            wanted.enabled = fields.enabled.unwrap_or(wanted.enabled);
            wanted.locked = fields.locked.unwrap_or(wanted.locked);
            let place = match fields.position {
                None => at,
                Some(position) => {
                    let position = usize::try_from(position).ok().filter(|p| *p > 0);
                    let position = position.ok_or_else(|| api_error::BUILDPACK_INVALID.bare())?;
                    (position - 1).min(all.len())
                }
            };
            all.insert(place, wanted);
            let mut changed = None;
            for (index, buildpack) in all.into_iter().enumerate() {
                let position = i32::try_from(index + 1).unwrap_or(i32::MAX);
                let is_it = index == place;
                if is_it || buildpack.position != position {
                    let saved = buildpack::save(
                        c,
                        &Buildpack {
                            position,
                            ..buildpack
                        },
                    )?;
                    changed = if is_it { Some(saved) } else { changed };
                }
            }
            Ok(changed.ok_or_else(|| api_error::NOT_FOUND.bare())?)
        })
        .await?;
    created(&present::buildpack(&changed))
}

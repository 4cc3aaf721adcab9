//! Who asks, and what their token alone allows.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest, web};
use cupola_http::{Authenticated, api_error};
use futures_util::future::LocalBoxFuture;
use parking_lot::Mutex;

use crate::controller::Controller;
use crate::error::Fail;
use crate::model::event::Who;
use crate::model::user;

/// The sender of a request. As an extractor it also checks that the token's scopes allow the
/// method: reading or changing.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// Guid of the user, or id of the client.
    pub(crate) guid: String,
    /// Name to show.
    pub(crate) name: String,
    /// Whether it is a user, not a client for itself.
    pub(crate) is_user: bool,
    /// May do everything.
    pub(crate) is_admin: bool,
    /// May read everything.
    pub(crate) reads_all: bool,
    /// May read secrets of everything: environments and credentials.
    pub(crate) reads_secrets: bool,
}

/// Users whose rows are known to exist, so that it is looked up once a process and user.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownUsers(Arc<Mutex<HashSet<(String, String)>>>);

/// Most users that are remembered; beyond it the memory starts afresh.
const MAX_KNOWN: usize = 10_000;

// === impl Actor ===

impl Actor {
    fn new(token: &Authenticated) -> Self {
        let is_admin = token.has_scope("cloud_controller.admin");
        let read_only = token.has_scope("cloud_controller.admin_read_only");
        let auditor = token.has_scope("cloud_controller.global_auditor");
        Self {
            guid: token.actor_id().to_owned(),
            name: token.actor_name().to_owned(),
            is_user: token.user_id.is_some(),
            is_admin,
            reads_all: is_admin || read_only || auditor,
            reads_secrets: is_admin || read_only,
        }
    }

    /// As events name them.
    pub(crate) fn who(&self) -> Who {
        Who {
            guid: self.guid.clone(),
            kind: "user",
            name: self.name.clone(),
        }
    }
}

impl FromRequest for Actor {
    type Error = Fail;
    type Future = LocalBoxFuture<'static, Result<Self, Fail>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let authenticated = Authenticated::from_request(request, payload);
        let controller = request.app_data::<web::Data<Controller>>().cloned();
        let reading = matches!(*request.method(), Method::GET | Method::HEAD);
        Box::pin(async move {
            let token = authenticated.await?;
            let controller = controller
                .ok_or_else(|| cupola_http::ApiError::internal("no controller is set"))?;
            let actor = Actor::new(&token);
            let allowed = actor.is_admin
                || if reading {
                    actor.reads_all || token.has_scope("cloud_controller.read")
                } else {
                    token.has_scope("cloud_controller.write")
                };
            if !allowed {
                return Err(api_error::INSUFFICIENT_SCOPE.bare().into());
            }
            if actor.is_user {
                controller.known_users.ensure(&controller, &actor).await?;
            }
            Ok(actor)
        })
    }
}

// === impl KnownUsers ===

impl KnownUsers {
    /// Makes a row for a user who is seen for the first time, or under a new name.
    async fn ensure(&self, controller: &Controller, actor: &Actor) -> Result<(), Fail> {
        let known = (actor.guid.clone(), actor.name.clone());
        if self.0.lock().contains(&known) {
            return Ok(());
        }
        let (guid, name) = known.clone();
        let exists = controller
            .db
            .read::<_, Fail, _>(move |c| {
                let found = user::find(c, &guid)?;
                Ok(found.is_some_and(|user| user.username.as_deref() == Some(&name)))
            })
            .await?;
        if !exists {
            let (guid, name) = known.clone();
            controller
                .db
                .write::<_, Fail, _>(move |c| {
                    user::ensure(c, &guid, Some(&name))?;
                    Ok(())
                })
                .await?;
        }
        let mut seen = self.0.lock();
        if seen.len() >= MAX_KNOWN {
            seen.clear();
        }
        seen.insert(known);
        Ok(())
    }

    /// A user was removed: they are strangers again.
    pub(crate) fn forget(&self, guid: &str) {
        self.0.lock().retain(|(known, _)| known != guid);
    }
}

//! Carrying out plans: requests, progress, tables.

mod app;
mod apps;
mod curl;
mod env;
mod logs;
mod places;
mod push;
mod routes;
mod session;
mod start;
mod watch;

use anyhow::Context as _;
use cupola_types::SpaceGuid;

use crate::cc::{self, AppResource};
use crate::client::{Client, Trace, Transport};
use crate::failure::Advised;
use crate::plan::{ApiPlan, Plan};
use crate::session::Store;
use crate::surroundings::Surroundings;
use crate::ui::Ui;

/// What every action works with.
#[derive(Debug)]
struct Context<'a> {
    client: Client,
    ui: &'a Ui,
    around: &'a Surroundings,
}

/// Carries out a plan.
pub(crate) async fn perform(plan: Plan, around: &Surroundings, ui: &Ui) -> anyhow::Result<()> {
    if let Plan::Print(text) = &plan {
        return Ok(ui.raw(text)?);
    }
    let store = Store::new(around.home.clone());
    let known = store
        .load()?
        .target
        .is_some_and(|target| target.skip_ssl_validation);
    let transport = Transport::new(
        skip_ssl_validation(&plan, known),
        Trace::open(&around.trace)?,
    );
    let context = Context {
        client: Client::new(transport, store)?,
        ui,
        around,
    };
    let outcome = Box::pin(act(plan, &context)).await;
    for warning in context.client.take_warnings() {
        ui.warn(warning);
    }
    outcome
}

/// A command that names a platform decides about its certificates; others go by what was decided.
fn skip_ssl_validation(plan: &Plan, known: bool) -> bool {
    match plan {
        Plan::Api(ApiPlan::Set {
            skip_ssl_validation,
            ..
        }) => *skip_ssl_validation,
        Plan::Login(login) if login.api.is_some() => login.skip_ssl_validation,
        Plan::Login(login) => login.skip_ssl_validation || known,
        _ => known,
    }
}

async fn act(plan: Plan, context: &Context<'_>) -> anyhow::Result<()> {
    match plan {
        Plan::Api(plan) => session::api(context, plan).await,
        Plan::Login(plan) => session::login(context, plan).await,
        Plan::Auth(plan) => session::auth(context, plan).await,
        Plan::Logout => session::logout(context),
        Plan::Passwd => session::passwd(context).await,
        Plan::OauthToken => session::oauth_token(context).await,
        Plan::Target(plan) => session::target(context, &plan).await,
        Plan::Orgs => places::orgs(context).await,
        Plan::CreateOrg { name } => places::create_org(context, &name).await,
        Plan::Spaces => places::spaces(context).await,
        Plan::CreateSpace { name, org } => {
            places::create_space(context, &name, org.as_deref()).await
        }
        Plan::Push(plan) => push::push(context, &plan).await,
        Plan::Apps => apps::apps(context).await,
        Plan::App {
            name,
            guid_only: true,
        } => app::guid(context, &name).await,
        Plan::App {
            name,
            guid_only: false,
        } => app::show(context, &name).await,
        Plan::Start { app } => start::start(context, &app).await,
        Plan::Stop { app } => start::stop(context, &app).await,
        Plan::Restart { app } => start::restart(context, &app).await,
        Plan::Restage { app } => start::restage(context, &app).await,
        Plan::ShowScale { app } => apps::show_scale(context, &app).await,
        Plan::Scale(plan) => apps::scale(context, &plan).await,
        Plan::Delete {
            app,
            with_routes,
            ask,
        } => apps::delete(context, &app, with_routes, ask).await,
        Plan::RecentLogs { app } => logs::recent(context, &app).await,
        Plan::FollowLogs { app } => logs::follow(context, &app).await,
        Plan::Events { app } => apps::events(context, &app).await,
        Plan::Env { app } => env::show(context, &app).await,
        Plan::SetEnv { app, name, value } => env::set(context, &app, &name, &value).await,
        Plan::UnsetEnv { app, name } => env::unset(context, &app, &name).await,
        Plan::Routes => routes::routes(context).await,
        Plan::CreateRoute { space, route } => routes::create(context, &space, &route).await,
        Plan::MapRoute { app, route } => routes::map(context, &app, &route).await,
        Plan::UnmapRoute { app, route } => routes::unmap(context, &app, &route).await,
        Plan::DeleteRoute { route, ask } => routes::delete(context, &route, ask).await,
        Plan::Domains => routes::domains(context).await,
        Plan::Curl(plan) => curl::curl(context, plan).await,
        Plan::Print(text) => Ok(context.ui.raw(&text)?),
    }
}

// === impl Context ===

impl Context<'_> {
    /// `org x / space y as z`, for the first line of what a command says.
    fn place(&self) -> anyhow::Result<String> {
        let (org, space) = (self.client.org()?, self.client.space()?);
        let holder = self.client.holder()?;
        Ok(format!(
            "org {} / space {} as {}",
            self.ui.strong(org.name),
            self.ui.strong(space.name),
            self.ui.strong(holder)
        ))
    }

    fn space_guid(&self) -> anyhow::Result<SpaceGuid> {
        Ok(self.client.space()?.guid)
    }

    /// The app of this name in the targeted space.
    async fn app(&self, name: &str) -> anyhow::Result<AppResource> {
        let space = self.client.space()?;
        let found = cc::find_app(&self.client, &space.guid, name)
            .await
            .with_context(|| format!("looking up the app {name}"))?;
        found.ok_or_else(|| {
            let message = format!("App {name} not found in space {}", space.name);
            Advised::new(
                message,
                "'cup apps' lists the apps, 'cup target' shows the space",
            )
            .into()
        })
    }
}

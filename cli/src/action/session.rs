//! Endpoint, login, target.

use anyhow::Context as _;
use url::Url;

use super::Context;
use crate::cc::{self, OrgResource, SpaceResource};
use crate::client::{ApiError, Client};
use crate::failure::Advised;
use crate::plan::{ApiPlan, AuthPlan, LoginPlan, TargetPlan, address};
use crate::session::{Named, Secret, Target, Tokens};
use crate::table::key_values;
use crate::uaa;

/// So often a person may mistype the password.
const PASSWORD_TRIES: usize = 3;

pub(super) async fn api(context: &Context<'_>, plan: ApiPlan) -> anyhow::Result<()> {
    let ui = context.ui;
    match plan {
        ApiPlan::Set {
            url,
            skip_ssl_validation,
        } => {
            ui.say(format_args!(
                "Setting api endpoint to {}...",
                ui.strong(shown(&url))
            ))?;
            let target = set_target(context, &url, skip_ssl_validation).await?;
            ui.ok()?;
            ui.gap()?;
            say_target(context, &target)
        }
        ApiPlan::Show => say_target(context, &context.client.target()?),
        ApiPlan::Unset => {
            context
                .client
                .remember(|session| *session = crate::session::Session::default())?;
            ui.say("Unsetting api endpoint...")?;
            Ok(ui.ok()?)
        }
    }
}

fn say_target(context: &Context<'_>, target: &Target) -> anyhow::Result<()> {
    let lines = key_values(&[
        ("api endpoint", shown(&target.api)),
        ("api version", target.api_version.clone()),
    ]);
    for line in lines {
        context.ui.say(line)?;
    }
    Ok(())
}

/// Without the slash that stands for no path.
fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

async fn set_target(
    context: &Context<'_>,
    url: &Url,
    skip_ssl_validation: bool,
) -> anyhow::Result<Target> {
    let target = cc::discover(context.client.transport(), url, skip_ssl_validation)
        .await
        .with_context(|| format!("asking {} what it is", shown(url)))?;
    if url.scheme() == "http" && !crate::client::is_this_machine(url) {
        context
            .ui
            .warn("Warning: the API is spoken to without encryption; better use https.");
    }
    let found = target.clone();
    context.client.remember(move |session| {
        if session
            .target
            .as_ref()
            .is_none_or(|known| known.api != found.api)
        {
            session.log_out();
        }
        session.target = Some(found);
    })?;
    Ok(target)
}

/// Asks again where everything is: ports may have changed since the login.
pub(super) async fn renew_target(client: &Client) -> Result<(), ApiError> {
    let known = client.target()?;
    let found = cc::discover(client.transport(), &known.api, known.skip_ssl_validation).await?;
    if found != known {
        client.remember(move |session| session.target = Some(found))?;
    }
    Ok(())
}

pub(super) async fn login(context: &Context<'_>, plan: LoginPlan) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let (url, skip) = match (&plan.api, client.target()) {
        (Some(url), _) => (url.clone(), plan.skip_ssl_validation),
        (None, Ok(known)) => (
            known.api,
            plan.skip_ssl_validation || known.skip_ssl_validation,
        ),
        (None, Err(_)) => {
            let typed = ui.ask("API endpoint", "name it with -a URL")?;
            (address(&typed)?, plan.skip_ssl_validation)
        }
    };
    ui.say(format_args!("API endpoint: {}", ui.strong(shown(&url))))?;
    ui.gap()?;
    set_target(context, &url, skip).await?;
    let tokens = authenticate(context, &plan).await?;
    client.remember(|session| {
        session.log_out();
        session.tokens = Some(tokens);
    })?;
    ui.ok()?;
    ui.gap()?;
    choose_place(context, &plan.place).await?;
    say_place(context)
}

/// Asks what is not given; a mistyped password may be typed again.
async fn authenticate(context: &Context<'_>, plan: &LoginPlan) -> anyhow::Result<Tokens> {
    let ui = context.ui;
    let questions = match (&plan.username, &plan.password) {
        // Nothing is left to ask.
        (Some(_), Some(_)) => default_questions(),
        _ => {
            let page = uaa::login_page(&context.client)
                .await
                .context("asking how to log in")?;
            match page.questions() {
                none if none.is_empty() => default_questions(),
                questions => questions,
            }
        }
    };
    let mut answers = Vec::new();
    let mut secrets = Vec::new();
    for (name, is_secret, label) in questions {
        if is_secret {
            secrets.push((name, label));
        } else {
            let answer = match &plan.username {
                Some(username) if name == "username" => username.clone(),
                _ => ui.ask(&label, "give the user name with -u")?,
            };
            answers.push((name, answer));
        }
    }
    let tries = if plan.password.is_some() {
        1
    } else {
        PASSWORD_TRIES
    };
    let mut refused = None;
    for _ in 0..tries {
        let mut full = answers.clone();
        for (name, label) in &secrets {
            let answer = match &plan.password {
                Some(password) if name == "password" => password.reveal().to_owned(),
                _ => ui.ask_secret(label, "give the password with -p, or use 'cup auth'")?,
            };
            full.push((name.clone(), answer));
        }
        ui.say("Authenticating...")?;
        match uaa::log_in(&context.client, &full, plan.origin.as_deref()).await {
            Ok(tokens) => return Ok(tokens),
            Err(error) if is_wrong_password(&error) => {
                if plan.password.is_none() {
                    ui.warn("Credentials were rejected, please try again.");
                }
                refused = Some(error);
            }
            Err(error) => return Err(error).context("authenticating"),
        }
    }
    Err(rejected(refused))
}

fn default_questions() -> Vec<(String, bool, String)> {
    vec![
        ("username".to_owned(), false, "Email".to_owned()),
        ("password".to_owned(), true, "Password".to_owned()),
    ]
}

fn is_wrong_password(error: &ApiError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| matches!(refusal.status.as_u16(), 400 | 401))
}

fn rejected(error: Option<ApiError>) -> anyhow::Error {
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    let advice = "check user name and password; nobody is logged in now unless it was so before";
    Advised::new(format!("Credentials were rejected{why}"), advice).into()
}

pub(super) async fn auth(context: &Context<'_>, plan: AuthPlan) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    ui.say(format_args!(
        "API endpoint: {}",
        ui.strong(shown(&client.target()?.api))
    ))?;
    renew_target(client)
        .await
        .context("asking where to log in")?;
    ui.say("Authenticating...")?;
    let outcome = match plan {
        AuthPlan::Client(credentials) => uaa::log_in_client(client, credentials).await,
        AuthPlan::Person {
            username,
            password,
            origin,
        } => {
            let answers = [
                ("username".to_owned(), username),
                ("password".to_owned(), password.reveal().to_owned()),
            ];
            uaa::log_in(client, &answers, origin.as_deref()).await
        }
    };
    let tokens = match outcome {
        Ok(tokens) => tokens,
        Err(error) if is_wrong_password(&error) => return Err(rejected(Some(error))),
        Err(error) => return Err(error).context("authenticating"),
    };
    client.remember(|session| {
        // The same person goes on working at the same place.
        if session.tokens.as_ref().map(Tokens::holder) != Some(tokens.holder()) {
            session.log_out();
        }
        session.tokens = Some(tokens);
    })?;
    ui.ok()?;
    ui.say("Use 'cup target' to view or set your target org and space.")?;
    Ok(())
}

pub(super) fn logout(context: &Context<'_>) -> anyhow::Result<()> {
    context.ui.say("Logging out...")?;
    context.client.remember(crate::session::Session::log_out)?;
    Ok(context.ui.ok()?)
}

pub(super) async fn passwd(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let tokens = client.tokens()?;
    let user = tokens.user_id().ok_or_else(|| {
        Advised::new(
            "a client has no password",
            "log in as a person with 'cup login'",
        )
    })?;
    let instead = "run it at a terminal";
    let old = Secret::new(ui.ask_secret("Current Password", instead)?);
    let new = ui.ask_secret("New Password", instead)?;
    if ui.ask_secret("Verify Password", instead)? != new {
        return Err(Advised::new("the new passwords differ", "type the same one twice").into());
    }
    ui.say("Changing password...")?;
    uaa::change_password(client, &user, &old, &Secret::new(new))
        .await
        .context("changing the password")?;
    client.remember(crate::session::Session::log_out)?;
    ui.ok()?;
    ui.say("Please log in again.")?;
    Ok(())
}

pub(super) async fn oauth_token(context: &Context<'_>) -> anyhow::Result<()> {
    let token = context.client.live_token().await?;
    Ok(context.ui.say(format_args!("bearer {}", token.reveal()))?)
}

pub(super) async fn target(context: &Context<'_>, plan: &TargetPlan) -> anyhow::Result<()> {
    context.client.tokens()?;
    if let Some(name) = &plan.org {
        let org = cc::find_org(&context.client, name).await?;
        aim_at_org(context, org)?;
        if plan.space.is_none() {
            aim_at_only_space(context).await?;
        }
    }
    if let Some(name) = &plan.space {
        aim_at_named_space(context, name).await?;
    }
    say_place(context)
}

/// After a login: what was named, or what there is only one of, or what a person picks.
async fn choose_place(context: &Context<'_>, plan: &TargetPlan) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let org = match &plan.org {
        Some(name) => Some(cc::find_org(client, name).await?),
        None => {
            let orgs = cc::orgs(client).await.context("listing the orgs")?;
            pick(context, "Org", orgs, |org| &org.entity.name)?
        }
    };
    let Some(org) = org else {
        if plan.space.is_some() {
            return Err(ApiError::NoOrg.into());
        }
        return Ok(());
    };
    ui.say(format_args!("Targeted org {}", ui.strong(&org.entity.name)))?;
    ui.gap()?;
    let guid = org.metadata.guid.clone();
    aim_at_org(context, org)?;
    let space = match &plan.space {
        Some(name) => Some(cc::find_space(client, &guid, name).await?),
        None => {
            let spaces = cc::spaces(client, &guid)
                .await
                .context("listing the spaces")?;
            pick(context, "Space", spaces, |space| &space.entity.name)?
        }
    };
    if let Some(space) = space {
        ui.say(format_args!(
            "Targeted space {}",
            ui.strong(&space.entity.name)
        ))?;
        ui.gap()?;
        aim_at_space(context, space)?;
    }
    Ok(())
}

/// The only one, or the one that a person picks, or none where nobody can be asked.
fn pick<T>(
    context: &Context<'_>,
    what: &str,
    mut things: Vec<T>,
    name: impl Fn(&T) -> &String,
) -> anyhow::Result<Option<T>> {
    let ui = context.ui;
    if things.len() <= 1 {
        return Ok(things.pop());
    }
    if !ui.interactive() {
        return Ok(None);
    }
    ui.say(format_args!("Select one of them (or press enter to skip):"))?;
    for (index, thing) in things.iter().enumerate() {
        ui.say(format_args!(
            "{}. {}",
            index + 1,
            crate::ui::printable(name(thing))
        ))?;
    }
    ui.gap()?;
    loop {
        let answer = ui.ask(what, "name it with -o and -s")?;
        if answer.is_empty() {
            return Ok(None);
        }
        let by_number = answer
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        let by_name = things.iter().position(|thing| *name(thing) == answer);
        if let Some(index) = by_name.or(by_number).filter(|index| *index < things.len()) {
            return Ok(Some(things.swap_remove(index)));
        }
    }
}

fn aim_at_org(context: &Context<'_>, org: OrgResource) -> anyhow::Result<()> {
    let org = Named {
        guid: org.metadata.guid,
        name: org.entity.name,
    };
    context.client.remember(|session| {
        session.org = Some(org);
        session.space = None;
    })?;
    Ok(())
}

fn aim_at_space(context: &Context<'_>, space: SpaceResource) -> anyhow::Result<()> {
    let space = Named {
        guid: space.metadata.guid,
        name: space.entity.name,
    };
    context
        .client
        .remember(|session| session.space = Some(space))?;
    Ok(())
}

async fn aim_at_named_space(context: &Context<'_>, name: &str) -> anyhow::Result<()> {
    let org = context.client.org()?;
    let space = cc::find_space(&context.client, &org.guid, name).await?;
    aim_at_space(context, space)
}

async fn aim_at_only_space(context: &Context<'_>) -> anyhow::Result<()> {
    let org = context.client.org()?;
    let mut spaces = cc::spaces(&context.client, &org.guid)
        .await
        .context("listing the spaces")?;
    match spaces.pop() {
        Some(only) if spaces.is_empty() => aim_at_space(context, only),
        _ => Ok(()),
    }
}

/// The table of `target` and `login`.
fn say_place(context: &Context<'_>) -> anyhow::Result<()> {
    let (client, ui) = (&context.client, context.ui);
    let target = client.target()?;
    let (org, space) = (client.org().ok(), client.space().ok());
    let mut pairs = vec![
        ("api endpoint", shown(&target.api)),
        ("api version", target.api_version),
        ("user", ui.strong(client.holder()?)),
    ];
    if let Some(org) = &org {
        pairs.push(("org", ui.strong(&org.name)));
    }
    if let Some(space) = &space {
        pairs.push(("space", ui.strong(&space.name)));
    }
    for line in key_values(&pairs) {
        ui.say(line)?;
    }
    match (org, space) {
        (None, _) => ui.say("No org or space targeted, use 'cup target -o ORG -s SPACE'")?,
        (_, None) => ui.say("No space targeted, use 'cup target -s SPACE'")?,
        _ => {}
    }
    Ok(())
}

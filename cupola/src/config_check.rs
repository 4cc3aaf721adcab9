//! `cupola config check`: what each role would read, without starting anything.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::bail;
use toml::{Table, Value};

use crate::args::{ConfigCheckArgs, Unusable, UpArgs};
use crate::data_folder::DataFolder;
use crate::identity::Identity;
use crate::plan::{Addresses, Settings, role_config};
use crate::roles;

/// What stands for a secret.
const MASK: &str = "********";

/// Prints the settings, or what is wrong with them.
pub(crate) fn show(args: ConfigCheckArgs) -> anyhow::Result<()> {
    let text = render(args)?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Nothing is written. A platform that was never started is shown with secrets that nobody will
/// ever see, and with port 0 where a port is still to be chosen.
fn render(args: ConfigCheckArgs) -> anyhow::Result<String> {
    let folder = DataFolder::at(&args.data.data_dir)?;
    let up = UpArgs {
        data: args.data,
        config: args.config,
        http: None,
        api: None,
        uaa: None,
        logs: None,
        bus: None,
        bus_url: None,
        domain: None,
        sample: None,
    };
    let file = up.config.clone().unwrap_or_else(|| folder.settings_file());
    let settings = Settings::load(&up, &folder)?;
    let identity = match folder.platform_file().exists() {
        true => Identity::load(&folder)?,
        false => Identity::generate()?,
    };
    let wanted = settings.sockets();
    let addresses = Addresses::new(&settings, |role, name| {
        let socket = wanted.iter().find(|s| s.role == role && s.name == name)?;
        let remembered = identity.addresses.get(&socket.key()).copied();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Some(socket.fixed.or(remembered).unwrap_or(anywhere))
    })?;
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for role in settings.roles() {
        let config = role_config(role, &settings, &identity, &folder, &addresses)?;
        match roles::read_config(role, config, &file) {
            Ok(mut config) => {
                config.iter_mut().for_each(|(key, value)| mask(key, value));
                writeln!(text, "# {role}\n{}", toml::to_string(&config)?)?;
            }
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if !wrong.is_empty() {
        bail!(Unusable(wrong.join("\ncupola: ")));
    }
    Ok(text)
}

/// Hides what only the role may know.
fn mask(key: &str, value: &mut Value) {
    match value {
        Value::String(text) if is_secret(key) => *text = MASK.to_owned(),
        Value::String(text) => mask_url_password(text),
        Value::Table(table) => mask_table(key, table),
        Value::Array(values) => values.iter_mut().for_each(|value| mask(key, value)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// In a table of secrets the keys are names.
fn mask_table(name: &str, table: &mut Table) {
    for (key, value) in table.iter_mut() {
        mask(if name.ends_with("_keys") { name } else { key }, value);
    }
}

fn is_secret(key: &str) -> bool {
    let named = ["password", "secret", "seed", "credential"]
        .iter()
        .any(|word| key.contains(word));
    // An nkey without its seed is public.
    named || key == "token" || (key != "nkey" && (key.ends_with("key") || key.ends_with("_keys")))
}

/// `postgres://cc:geheim@db/cc` becomes `postgres://cc:********@db/cc`.
fn mask_url_password(text: &mut String) {
    let Some(authority) = text.find("://").map(|at| at + 3) else {
        return;
    };
    let end = text[authority..]
        .find('/')
        .map_or(text.len(), |at| authority + at);
    let Some(at) = text[authority..end].rfind('@').map(|at| authority + at) else {
        return;
    };
    if let Some(colon) = text[authority..at].find(':') {
        text.replace_range(authority + colon + 1..at, MASK);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::args::DataArgs;

    fn check(folder: &std::path::Path, settings: &str) -> anyhow::Result<String> {
        let config = folder.join("settings.toml");
        std::fs::write(&config, settings).unwrap();
        render(ConfigCheckArgs {
            data: DataArgs {
                data_dir: folder.join("data"),
            },
            config: Some(config),
        })
    }

    #[test]
    fn every_role_s_settings_are_shown_and_no_secret() {
        let temporary = tempfile::tempdir().unwrap();
        let settings = "[cupola]\ndomain = \"shown.test\"\n[cloud_controller.database]\n\
                        url = \"postgres://cc:geheim@db.test/cc\"\n";
        let text = check(temporary.path(), settings).unwrap();
        for shown in [
            "# bus",
            "# dea",
            "[router]",
            "shown.test",
            "postgres://cc:********@db.test/cc",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains("geheim"));
        assert!(
            !temporary.path().join("data").exists(),
            "looking makes nothing"
        );

        let folder = DataFolder::create(&temporary.path().join("data")).unwrap();
        let (identity, _) = Identity::load_or_create(&folder).unwrap();
        let text = check(temporary.path(), settings).unwrap();
        let seeds = identity.roles.values().map(|role| &role.nkey_seed);
        let secrets = [
            &identity.admin_password,
            &identity.signing_key,
            &identity.encryption_key,
            &identity.uaa_encryption_key,
            &identity.controller_client_secret,
            &identity.bulk_password,
            &identity.router_status_password,
        ];
        for secret in seeds.chain(secrets) {
            assert!(!text.contains(secret.as_str()), "{secret} is in\n{text}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_section() {
        let temporary = tempfile::tempdir().unwrap();
        let settings = "[dea]\nzoen = \"z1\"\n[health_manager.timing]\nsettle = \"soon\"\n";
        let error = check(temporary.path(), settings).unwrap_err();
        assert!(error.is::<Unusable>());
        let said = error.to_string();
        for named in [
            "settings.toml",
            "[dea]",
            "`zoen`",
            "[health_manager]",
            "\"soon\"",
        ] {
            assert!(said.contains(named), "{named} is not in {said}");
        }
    }
}

//! `cupola bus-config`: a genuine nats-server's configuration for this platform.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use cupola_types::Role;

use crate::args::BusConfigArgs;
use crate::data_folder::DataFolder;
use crate::identity::Identity;

/// Prints the configuration. The platform's identities are made if they do not exist yet.
pub(crate) fn show(args: &BusConfigArgs) -> anyhow::Result<()> {
    let folder = DataFolder::create(&args.data.data_dir)?;
    let (identity, _) = Identity::load_or_create(&folder)?;
    std::io::stdout()
        .lock()
        .write_all(render(&identity, args.listen)?.as_bytes())?;
    Ok(())
}

/// The same users and permissions as the platform's own broker has.
fn render(identity: &Identity, listen: SocketAddr) -> anyhow::Result<String> {
    let mut text = format!("listen: \"{listen}\"\n\nauthorization {{\n  users = [\n");
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Bus) {
        let identity = identity.of(role)?;
        let permissions = identity.permissions(role);
        writeln!(text, "    # {role}")?;
        writeln!(text, "    {{")?;
        writeln!(text, "      nkey: {}", identity.public_key()?)?;
        writeln!(text, "      permissions: {{")?;
        writeln!(
            text,
            "        publish: {{ allow: {} }}",
            list(&permissions.publish)
        )?;
        writeln!(
            text,
            "        subscribe: {{ allow: {} }}",
            list(&permissions.subscribe)
        )?;
        if permissions.allow_responses {
            writeln!(
                text,
                "        allow_responses: {{ max: 8, expires: \"2m\" }}"
            )?;
        }
        writeln!(text, "      }}\n    }}")?;
    }
    text.push_str("  ]\n}\n");
    Ok(text)
}

/// Subjects as a list; an empty one would mean "everything", so it names a subject that is none.
fn list(subjects: &[String]) -> String {
    let none = ["_NONE.never".to_owned()];
    let subjects = if subjects.is_empty() { &none } else { subjects };
    let quoted: Vec<String> = subjects.iter().map(|s| format!("\"{s}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

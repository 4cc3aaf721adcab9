//! What is run in the container: the command and the script around it (bus contract §3.3).

use cupola_messages::dea::StartInstance;

use crate::droplet::Contents;

/// There is nothing to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("missing start command: the droplet names none and none was given")]
pub(crate) struct MissingStartCommand;

/// What starts an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartCommand {
    /// A line for a shell, run in the app's folder.
    Line(String),
    /// The `startup` script of a droplet of the first generation.
    Startup,
}

// === impl StartCommand ===

impl StartCommand {
    /// The user's own command, else the stager's, else the `startup` script of an old droplet.
    pub(crate) fn resolve(
        order: &StartInstance,
        contents: &Contents,
    ) -> Result<Self, MissingStartCommand> {
        let given = order.start_command.as_ref();
        let staged = contents
            .staging_info
            .as_ref()
            .and_then(|info| info.start_command.as_ref());
        let line = [given, staged]
            .into_iter()
            .flatten()
            .find(|line| !line.trim().is_empty());
        match line {
            Some(line) => Ok(Self::Line(line.clone())),
            None if contents.startup && contents.staging_info.is_none() => Ok(Self::Startup),
            None => Err(MissingStartCommand),
        }
    }

    /// The script for `bash -c`: profile scripts, then the command in the place of the shell.
    /// The working folder is the user's home, the mask 077.
    pub(crate) fn script(&self) -> String {
        let run = match self {
            Self::Line(line) => format!("exec bash -c {}", quoted(line)),
            Self::Startup => "cd .. || exit 1\nexec ./startup".to_owned(),
        };
        format!(
            "umask 077\n\
             [ -d app ] && [ -d logs ] && [ -d tmp ] || mkdir -p app logs tmp\n\
             unset GEM_PATH\n\
             for script in app/.profile.d/*.sh; do\n\
             \x20 if [ -r \"$script\" ]; then . \"$script\"; fi\n\
             done\n\
             unset script\n\
             cd /home/vcap/app || exit 1\n\
             echo $$ > ../run.pid\n\
             {run}\n"
        )
    }
}

/// `text` as one word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::droplet::StagingInfo;
    use crate::instance::tests::order;

    fn resolved(
        given: Option<&str>,
        contents: &Contents,
    ) -> Result<StartCommand, MissingStartCommand> {
        let mut order = order("a", 0);
        order.start_command = given.map(str::to_owned);
        StartCommand::resolve(&order, contents)
    }

    fn staged(command: Option<&str>) -> Contents {
        let info = StagingInfo {
            start_command: command.map(str::to_owned),
        };
        Contents {
            staging_info: Some(info),
            ..Contents::default()
        }
    }

    #[test]
    fn the_user_s_command_wins_then_the_stager_s_then_the_startup_script() {
        let line = |text: &str| Ok(StartCommand::Line(text.to_owned()));
        assert_eq!(
            resolved(Some("mine"), &staged(Some("theirs"))),
            line("mine")
        );
        assert_eq!(resolved(Some(" "), &staged(Some("theirs"))), line("theirs"));
        assert_eq!(resolved(None, &staged(Some("theirs"))), line("theirs"));
        assert_eq!(resolved(None, &staged(None)), Err(MissingStartCommand));
        let old = Contents {
            startup: true,
            ..Contents::default()
        };
        assert_eq!(resolved(None, &old), Ok(StartCommand::Startup));
        assert_eq!(
            resolved(None, &Contents::default()),
            Err(MissingStartCommand)
        );
    }

    #[test]
    fn a_command_reaches_the_shell_in_one_piece() {
        let script = StartCommand::Line("FOO='a b' ./run $PORT".to_owned()).script();
        assert!(
            script.ends_with("exec bash -c 'FOO='\\''a b'\\'' ./run $PORT'\n"),
            "{script}"
        );
        assert!(script.starts_with("umask 077\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn quoting_survives_a_real_shell(text in "[ -~\n\t'\"$`\\\\]{0,40}") {
            let shell = Command::new("bash")
                .args(["-c", &format!("printf %s {}", quoted(&text))])
                .output()
                .unwrap();
            prop_assert_eq!(String::from_utf8(shell.stdout).unwrap(), text);
        }
    }
}

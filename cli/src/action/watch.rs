//! Watching an app come up: its staging log live, then its instances.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context as _;
use cupola_types::{AppGuid, PackageState};
use tokio::time::{Instant, sleep_until, timeout};

use super::Context;
use crate::cc::{self, AppResource, Instance};
use crate::failure::Advised;
use crate::logs::{self, LogLine, LogStream};
use crate::patience::{Patience, Tolerance};

/// The API says that staging is not over yet.
const NOT_STAGED: i64 = 170_002;
/// So many of the last lines explain a failure.
const LAST_LINES: usize = 20;
/// When the log has been silent for this long, the lines of what just ended have all come.
const SILENCE: Duration = Duration::from_millis(40);
const SILENCE_AWAITED_FOR: Duration = Duration::from_millis(400);
/// After a failure its reason is worth waiting for.
const LAST_WORDS_AWAITED_FOR: Duration = Duration::from_millis(1500);

pub(super) struct Watch<'a> {
    context: &'a Context<'a>,
    app: AppGuid,
    name: String,
    /// Absent when it could not be opened or has ended.
    stream: Option<LogStream>,
    phase: Phase,
    /// The last lines of each phase; those of the second may come before the first is over.
    staging_lines: VecDeque<LogLine>,
    app_lines: VecDeque<LogLine>,
    tolerance: Tolerance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Staging,
    Starting,
}

// === impl Watch ===

impl<'a> Watch<'a> {
    /// Without the log the rest still works, so failing to open it is only told.
    pub(super) async fn open(context: &'a Context<'_>, app: &AppGuid, name: &str) -> Self {
        let stream = match LogStream::open(&context.client, app).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                context.ui.warn(format_args!(
                    "The log cannot be shown while this runs: {error:#}"
                ));
                None
            }
        };
        Self {
            context,
            app: app.clone(),
            name: name.to_owned(),
            stream,
            phase: Phase::Staging,
            staging_lines: VecDeque::new(),
            app_lines: VecDeque::new(),
            tolerance: Tolerance::default(),
        }
    }

    /// Shows the staging log until the app is staged; `ordered` is the app as the order to start
    /// it left it.
    pub(super) async fn until_staged(&mut self, ordered: &AppResource) -> anyhow::Result<()> {
        let mut app = ordered.clone();
        if app.entity.package_state == Some(PackageState::Staged) {
            return Ok(());
        }
        let ui = self.context.ui;
        ui.gap()?;
        ui.say("Staging app and tracing logs...")?;
        let wheel = ui.wheel("staging");
        let mut patience = Patience::lasting(self.context.around.staging_timeout);
        loop {
            match app.entity.package_state {
                Some(PackageState::Staged) => break,
                Some(PackageState::Failed) => {
                    drop(wheel);
                    return self.staging_failed(&app).await;
                }
                Some(PackageState::Pending) | None => {}
            }
            if patience.is_over() {
                let within = self.context.around.staging_timeout.as_secs();
                let message = format!("{} is not staged after {within} s", self.name);
                let advice = "wait longer with CUP_STAGING_TIMEOUT=30 (minutes)";
                return Err(Advised::new(message, advice).into());
            }
            self.listen_until(patience.next_look()).await?;
            wheel.tick();
            let look = cc::get_app(&self.context.client, &self.app).await;
            if let Some(seen) = self
                .tolerance
                .bear(look)
                .context("asking whether the app is staged")?
            {
                app = seen;
            }
        }
        drop(wheel);
        self.listen_until_silent(SILENCE_AWAITED_FOR).await
    }

    /// Waits until an instance runs.
    pub(super) async fn until_running(&mut self) -> anyhow::Result<()> {
        self.phase = Phase::Starting;
        let ui = self.context.ui;
        ui.gap()?;
        ui.say("Waiting for app to start...")?;
        let wheel = ui.wheel("starting");
        let mut patience = Patience::lasting(self.context.around.startup_timeout);
        loop {
            let look = match cc::instances(&self.context.client, &self.app).await {
                Err(error) if error.has_code(NOT_STAGED) => Ok(None),
                look => self.tolerance.bear(look),
            };
            let instances = look
                .context("asking whether the app runs")?
                .unwrap_or_default();
            if instances
                .values()
                .any(|instance| instance.state.word() == "running")
            {
                return Ok(());
            }
            let failed = instances
                .iter()
                .find(|(_, instance)| instance.state.has_failed());
            if let Some((index, instance)) = failed {
                drop(wheel);
                return self.start_failed(*index, instance).await;
            }
            if patience.is_over() {
                drop(wheel);
                return self.start_too_slow().await;
            }
            self.listen_until(patience.next_look()).await?;
            wheel.tick();
        }
    }

    // --- the log ---

    /// Takes lines as they come until that moment.
    async fn listen_until(&mut self, moment: Instant) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                line = next_line(&mut self.stream) => self.take(line)?,
                () = sleep_until(moment) => return Ok(()),
            }
        }
    }

    /// Takes what is still on its way.
    async fn listen_until_silent(&mut self, at_most: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + at_most;
        while self.stream.is_some() && Instant::now() < end {
            match timeout(SILENCE, next_line(&mut self.stream)).await {
                Ok(line) => self.take(line)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, line: Option<LogLine>) -> anyhow::Result<()> {
        let Some(line) = line else {
            self.stream = None;
            return Ok(());
        };
        if self.phase == Phase::Staging && line.is_staging() {
            let text = crate::ui::log_text(&line.text);
            self.context.ui.say(format_args!("   {text}"))?;
        }
        let kept = if line.is_staging() {
            &mut self.staging_lines
        } else if line.is_about_the_app() {
            &mut self.app_lines
        } else {
            return Ok(());
        };
        if kept.len() == LAST_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
        Ok(())
    }

    // --- failures ---

    async fn staging_failed(&mut self, app: &AppResource) -> anyhow::Result<()> {
        self.listen_until_silent(LAST_WORDS_AWAITED_FOR).await?;
        if self.staging_lines.is_empty() {
            // The stream showed nothing: what it would have shown is kept by the platform.
            self.say_recent_lines().await?;
        }
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let reason = filled(&app.entity.staging_failed_reason);
        let description = filled(&app.entity.staging_failed_description);
        let why = match (description, &reason) {
            (Some(description), Some(reason)) => format!("{description} ({reason})"),
            (Some(description), None) => description,
            (None, Some(reason)) => reason.clone(),
            (None, None) => "the platform gave no reason".to_owned(),
        };
        let advice = if reason.as_deref() == Some("NoAppDetectedError") {
            "name a buildpack with -b, and check that the folder given by -p is the app's"
                .to_owned()
        } else {
            format!("use 'cup logs {} --recent' for more information", self.name)
        };
        Err(Advised::new(format!("staging {}: {why}", self.name), advice).into())
    }

    async fn start_failed(&mut self, index: u32, instance: &Instance) -> anyhow::Result<()> {
        self.listen_until_silent(LAST_WORDS_AWAITED_FOR).await?;
        self.say_last_lines().await?;
        let word = instance.state.word();
        let reason = match &instance.details {
            Some(details) if !details.is_empty() => Some(details.clone()),
            _ => self.crash_reason().await,
        };
        let why = reason
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        let message = format!(
            "Start unsuccessful: instance {index} of {} {word}{why}",
            self.name
        );
        let advice = format!("use 'cup logs {} --recent' for more information", self.name);
        Err(Advised::new(message, advice).into())
    }

    async fn start_too_slow(&mut self) -> anyhow::Result<()> {
        self.say_last_lines().await?;
        let within = self.context.around.startup_timeout.as_secs();
        let message = format!(
            "Start unsuccessful: no instance of {} runs after {within} s",
            self.name
        );
        let advice = format!(
            "use 'cup logs {} --recent', or wait longer with CUP_STARTUP_TIMEOUT=10 (minutes)",
            self.name
        );
        Err(Advised::new(message, advice).into())
    }

    async fn say_last_lines(&mut self) -> anyhow::Result<()> {
        if self.app_lines.is_empty() {
            return self.say_recent_lines().await;
        }
        self.context.ui.gap()?;
        for line in &self.app_lines {
            super::logs::say(self.context, line)?;
        }
        Ok(())
    }

    async fn say_recent_lines(&mut self) -> anyhow::Result<()> {
        // Failing to read the log must not hide what it should explain.
        let lines = logs::recent(&self.context.client, &self.app)
            .await
            .unwrap_or_default();
        let telling: Vec<&LogLine> = match self.phase {
            Phase::Staging => lines.iter().filter(|line| line.is_staging()).collect(),
            Phase::Starting => lines
                .iter()
                .filter(|line| line.is_about_the_app())
                .collect(),
        };
        if telling.is_empty() {
            return Ok(());
        }
        self.context.ui.gap()?;
        for line in &telling[telling.len().saturating_sub(LAST_LINES)..] {
            super::logs::say(self.context, line)?;
        }
        Ok(())
    }

    /// What the newest crash event says.
    async fn crash_reason(&self) -> Option<String> {
        let events = cc::recent_events(&self.context.client, &self.app)
            .await
            .ok()?;
        let crash = events.into_iter().find(|event| event.kind == "app.crash")?;
        crash
            .detail("exit_description")
            .or_else(|| crash.detail("reason"))
    }
}

/// Waits for ever where there is no stream.
async fn next_line(stream: &mut Option<LogStream>) -> Option<LogLine> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

//! What is wanted, as the cloud controller's bulk API tells it.

use std::collections::HashMap;

use cupola_types::{AppGuid, AppState, AppVersion, PackageState};

use crate::Moment;

/// Most apps that are known to have changed since the last look; when there are more, all count as
/// changed.
const MAX_CHANGED: usize = 100_000;

/// One app as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredApp {
    pub(crate) version: AppVersion,
    pub(crate) instances: u32,
    pub(crate) state: AppState,
    pub(crate) package: PackageState,
}

/// All apps as they are wanted, and how old that knowledge is.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    apps: HashMap<AppGuid, DesiredApp>,
    /// When the fetch of `apps` began; what was true before it, it has seen.
    read_at: Option<Moment>,
    /// Apps that changed since, and when that was heard.
    changed: HashMap<AppGuid, Moment>,
    /// A fetch that began earlier has missed changes that are not remembered one by one.
    not_before: Moment,
}

impl Desired {
    /// Takes over a complete fetch that began at `began`. What changed later it may have missed.
    pub(crate) fn replace(&mut self, apps: HashMap<AppGuid, DesiredApp>, began: Moment) {
        self.apps = apps;
        self.read_at = (began >= self.not_before).then_some(began);
        self.changed.retain(|_, heard| *heard > began);
    }

    /// The app changed: what is known of it is not true any more.
    pub(crate) fn mark_changed(&mut self, app: AppGuid, now: Moment) {
        self.changed.insert(app, now);
        if self.changed.len() > MAX_CHANGED {
            self.changed.clear();
            self.read_at = None; // nothing is certain until the next look
            self.not_before = now;
        }
    }

    /// When the knowledge was true.
    pub(crate) fn read_at(&self) -> Option<Moment> {
        self.read_at
    }

    /// Whether what is known of the app may be acted on.
    pub(crate) fn is_certain(&self, app: &AppGuid) -> bool {
        !self.changed.contains_key(app)
    }

    pub(crate) fn get(&self, app: &AppGuid) -> Option<&DesiredApp> {
        self.apps.get(app)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AppGuid, &DesiredApp)> {
        self.apps.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.apps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_changes_makes_everything_uncertain_until_the_next_look() {
        let at = Moment::from_secs;
        let mut desired = Desired::default();
        desired.replace(HashMap::new(), at(1));
        for n in 0..=MAX_CHANGED {
            desired.mark_changed(AppGuid::new(format!("a{n}")), at(5));
        }
        assert!(desired.changed.len() <= MAX_CHANGED);
        assert_eq!(desired.read_at(), None);
        desired.replace(HashMap::new(), at(4));
        assert_eq!(
            desired.read_at(),
            None,
            "that fetch began before the changes"
        );
        desired.replace(HashMap::new(), at(6));
        assert_eq!(desired.read_at(), Some(at(6)));
    }
}

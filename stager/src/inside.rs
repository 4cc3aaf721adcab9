//! Where things lie inside a build container.

/// What becomes the droplet: `app/`, `logs/`, `tmp/`, `staging_info.yml`.
pub(crate) const DROPLET: &str = "/home/vcap";
/// The app, at the place where it will run: what a build writes down about paths stays true.
pub(crate) const APP: &str = "/home/vcap/app";
/// What earlier builds left for later ones.
pub(crate) const CACHE: &str = "/tmp/cache";
/// Home of the build. Not the droplet's folder: tools leave their private files at home.
pub(crate) const HOME: &str = "/tmp/home";
/// The buildpacks that the stager carries.
pub(crate) const CARRIED: &str = "/cupola/buildpacks";
/// Buildpacks that were fetched for this build.
pub(crate) const FETCHED: &str = "/tmp/buildpacks";
/// Programs that buildpacks put into droplets.
pub(crate) const TOOLS: &str = "/cupola/tools";

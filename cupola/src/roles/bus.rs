//! The broker as a role. It is at the bottom of the house and does without the component kit's bus
//! connection; config, logs and sockets are as in every role.

use std::path::Path;
use std::process::ExitCode;

use cupola_bus::{Config, Listeners as BusListeners};
use cupola_component::{EX_CONFIG, Listeners, RoleConfig, shutdown_on_signals, start_logging};
use cupola_types::Role;

/// Runs the broker until it is told to stop.
pub(super) fn run(config: &Path) -> ExitCode {
    let config = match RoleConfig::<Config>::load(config, Role::Bus, std::env::vars()) {
        Ok(config) => config,
        Err(error) => {
            start_logging(&cupola_component::LogConfig::default());
            tracing::error!("bus cannot start: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    start_logging(&config.log);
    cupola_component::run_with(Role::Bus, async move {
        let mut held = Listeners::from_environment()?;
        let status = config.component.status_address;
        let listeners = BusListeners {
            clients: Some(held.take("nats", Some(config.role.listen))?),
            monitor: held.take("status", status).ok(),
            ..BusListeners::default()
        };
        let broker = cupola_bus::build(config.role, listeners).await?;
        Ok(broker.run(shutdown_on_signals()?).await?)
    })
}

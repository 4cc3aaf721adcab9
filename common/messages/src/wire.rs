//! The table of the wire: each subject, who may send it and who may hear it.

use cupola_types::Role;

use Role::{CloudController, Dea, HealthManager, Loggregator, Router, Stager, Uaa};

/// How a subject is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Published; nobody answers.
    Publish,
    /// Asked; receivers answer.
    Request,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The subject. `{id}` stands for the receiver's own id, `*` for one token of any kind.
    pub subject: &'static str,
    /// Published or asked.
    pub kind: Kind,
    /// Who may send it.
    pub from: &'static [Role],
    /// Who may hear it.
    pub to: &'static [Role],
    /// How often, or on what occasion.
    pub cadence: &'static str,
    /// What happens when one is lost.
    pub when_lost: &'static str,
}

const EVERYONE: &[Role] = &[
    Uaa,
    Loggregator,
    CloudController,
    Stager,
    Dea,
    Router,
    HealthManager,
];
const REGISTRANTS: &[Role] = &[Uaa, Loggregator, CloudController, Dea];

const fn publish(
    subject: &'static str,
    from: &'static [Role],
    to: &'static [Role],
    cadence: &'static str,
    when_lost: &'static str,
) -> Entry {
    Entry {
        subject,
        kind: Kind::Publish,
        from,
        to,
        cadence,
        when_lost,
    }
}

const fn request(
    subject: &'static str,
    from: &'static [Role],
    to: &'static [Role],
    cadence: &'static str,
    when_lost: &'static str,
) -> Entry {
    Entry {
        subject,
        kind: Kind::Request,
        from,
        to,
        cadence,
        when_lost,
    }
}

/// Everything that is ever said on the bus.
pub const TABLE: &[Entry] = &[
    publish("dea.start", &[Dea], &[], "once at start", "nothing"),
    publish(
        "dea.advertise",
        &[Dea],
        &[CloudController, HealthManager],
        "5 s, on change, on dea.locate",
        "the next one; three in a row take the dea out of placement",
    ),
    publish(
        "dea.locate",
        &[CloudController],
        &[Dea],
        "controller start",
        "the next advertise",
    ),
    publish(
        "dea.shutdown",
        &[Dea],
        &[CloudController, HealthManager],
        "dea stops",
        "its advertisement expires",
    ),
    request("dea.status", &[], &[Dea], "an operator asks", "ask again"),
    request(
        "dea.find.droplet",
        &[CloudController],
        &[Dea],
        "an API read",
        "shown as DOWN",
    ),
    request(
        "dea.{id}.start",
        &[CloudController],
        &[Dea],
        "an instance is placed",
        "no answer: the next dea is asked",
    ),
    publish(
        "dea.stop",
        &[CloudController],
        &[Dea],
        "stop, scale, delete",
        "extras are stopped",
    ),
    publish(
        "dea.update",
        &[CloudController],
        &[Dea],
        "routes change",
        "the reconciler repeats it",
    ),
    publish(
        "dea.heartbeat",
        &[Dea],
        &[HealthManager],
        "10 s, on change, on healthmanager.start",
        "the next one",
    ),
    publish(
        "droplet.exited",
        &[Dea],
        &[HealthManager, CloudController],
        "an instance ends",
        "the next heartbeat tells",
    ),
    publish(
        "droplet.updated",
        &[CloudController],
        &[HealthManager],
        "an app changes",
        "the next bulk fetch",
    ),
    publish(
        "staging.advertise",
        &[Stager],
        &[CloudController],
        "5 s, on change, on staging.locate",
        "the next one",
    ),
    publish(
        "staging.locate",
        &[CloudController],
        &[Stager],
        "controller start",
        "next advertise",
    ),
    request(
        "staging.{id}.start",
        &[CloudController],
        &[Stager],
        "an app is staged",
        "no answer: the next stager is asked",
    ),
    publish(
        "staging.stop",
        &[CloudController],
        &[Stager],
        "restage, delete",
        "the late result is dropped",
    ),
    publish(
        "healthmanager.start",
        &[HealthManager],
        &[Dea],
        "start",
        "the next heartbeat",
    ),
    publish(
        "hm9000.start",
        &[HealthManager],
        &[CloudController],
        "missing",
        "proposed again",
    ),
    publish(
        "hm9000.stop",
        &[HealthManager],
        &[CloudController],
        "extra",
        "proposed again",
    ),
    request(
        "app.state",
        &[CloudController],
        &[HealthManager],
        "an API read",
        "unknown",
    ),
    request(
        "app.state.bulk",
        &[CloudController],
        &[HealthManager],
        "an API list",
        "unknown",
    ),
    publish(
        "router.start",
        &[Router],
        REGISTRANTS,
        "start, reconnect",
        "next registration",
    ),
    request(
        "router.greet",
        REGISTRANTS,
        &[Router],
        "registrant start",
        "defaults",
    ),
    publish(
        "router.register",
        REGISTRANTS,
        &[Router],
        "20 s, on change",
        "the next one",
    ),
    publish(
        "router.unregister",
        REGISTRANTS,
        &[Router],
        "address goes",
        "pruned, or refused",
    ),
    publish(
        "loggregator.log.*",
        &[Dea, Stager, Router, CloudController],
        &[Loggregator],
        "as lines come",
        "lines are lost and counted",
    ),
    publish(
        "vcap.component.announce",
        EVERYONE,
        &[],
        "once at start",
        "found by discover",
    ),
    request(
        "vcap.component.discover",
        &[],
        EVERYONE,
        "a watcher asks",
        "ask again",
    ),
];

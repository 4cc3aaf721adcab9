//! What a client is told when it asks who it is (`$SYS.REQ.USER.INFO`).

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::Client;
use crate::config::{Permissions, SubjectRules};

/// Its user, its account, and what it may do.
pub(super) fn describe(client: &Client) -> Value {
    let about = client.about();
    let account = &about.account;
    let token = account.exchange().token.clone();
    let label = token.as_ref().map_or(&*account.name, |token| token.name());
    let mut info = json!({
        "user": about.identity.as_ref().map_or("", |who| &who.name),
        "account": &*account.name,
        "account_name": label,
    });
    let Some(identity) = &about.identity else {
        return info;
    };
    if let Some(name) = &identity.name_tag {
        info["user_name"] = name.as_str().into();
    }
    if let Some(granted) = &identity.granted {
        info["permissions"] = permissions(granted);
    }
    if let Some((until, _)) = identity.until {
        let left = until.saturating_duration_since(Instant::now()).as_nanos();
        info["expires"] = u64::try_from(left).unwrap_or(u64::MAX).into();
    }
    info
}

fn permissions(granted: &Permissions) -> Value {
    let rules = |rules: &SubjectRules| {
        let mut said = json!({});
        if let Some(allow) = &rules.allow {
            said["allow"] = allow.as_slice().into();
        }
        if !rules.deny.is_empty() {
            said["deny"] = rules.deny.as_slice().into();
        }
        said
    };
    let mut said = json!({});
    if let Some(publish) = &granted.publish {
        said["publish"] = rules(publish);
    }
    if let Some(subscribe) = &granted.subscribe {
        said["subscribe"] = rules(subscribe);
    }
    if let Some(answers) = &granted.allow_responses {
        let ttl = u64::try_from(answers.expires.as_nanos()).unwrap_or(u64::MAX);
        said["responses"] = json!({ "max": answers.max, "ttl": ttl });
    }
    said
}

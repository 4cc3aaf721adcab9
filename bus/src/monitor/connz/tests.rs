#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::hub::Traffic;
use crate::monitor::sample::Who;

/// Three connections: 1 is the oldest, 2 the busiest, 3 the idlest.
fn three() -> Vec<Arc<Sample>> {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let one = |cid: u64, last: u64, traffic: Traffic, user: &str| {
        Arc::new(Sample {
            cid,
            transport: "nats",
            peer: "127.0.0.1:4000".parse().unwrap(),
            start: at(100 * cid),
            last: at(last),
            stop: None,
            rtt: Some(Duration::from_micros(cid)),
            pending: usize::try_from(cid % 3).unwrap(),
            traffic,
            subscriptions: usize::try_from(10 - cid).unwrap(),
            who: Who {
                user: Some(user.into()),
                account: Some("$G".into()),
                label: Some("$G".into()),
                ..Who::default()
            },
            tls: None,
            kept: Box::default(),
        })
    };
    let traffic = |in_msgs, out_msgs, in_bytes, out_bytes| Traffic {
        in_msgs,
        out_msgs,
        in_bytes,
        out_bytes,
    };
    vec![
        one(3, 310, traffic(0, 3, 30, 1), "c"),
        one(1, 900, traffic(5, 1, 20, 2), "a"),
        one(2, 950, traffic(9, 2, 10, 3), "b"),
    ]
}

fn cids(query: &str) -> Result<Vec<u64>, String> {
    let options = Options::parse(&Query::parse(query)).map_err(|error| error.to_string())?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let found = select(three(), &options, now).map_err(|error| error.to_string())?;
    Ok(found.iter().map(|sample| sample.cid).collect())
}

#[test]
fn every_order_is_as_in_nats_server() {
    for (order, wanted) in [
        ("", [1, 2, 3]),
        ("cid", [1, 2, 3]),
        ("start", [1, 2, 3]),
        ("subs", [1, 2, 3]),
        ("pending", [2, 1, 3]),
        ("msgs_to", [3, 2, 1]),
        ("msgs_from", [2, 1, 3]),
        ("bytes_to", [2, 1, 3]),
        ("bytes_from", [3, 1, 2]),
        ("last", [2, 1, 3]),
        ("idle", [3, 1, 2]),
        ("uptime", [3, 2, 1]),
        ("rtt", [3, 2, 1]),
    ] {
        assert_eq!(cids(&format!("sort={order}")).unwrap(), wanted, "{order}");
    }
}

#[test]
fn closed_ones_have_orders_of_their_own() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let mut samples = three();
    for (sample, reason) in samples
        .iter_mut()
        .zip(["Stale Connection", "Client Closed", "Kicked"])
    {
        let sample = Arc::get_mut(sample).unwrap();
        sample.stop = Some((sample.last, reason));
    }
    let sorted = |order| {
        let query = format!("state=closed&sort={order}");
        let options = Options::parse(&Query::parse(&query)).unwrap();
        let found = select(samples.clone(), &options, now).unwrap();
        found.iter().map(|sample| sample.cid).collect::<Vec<_>>()
    };
    assert_eq!(sorted("stop"), [2, 1, 3]);
    assert_eq!(sorted("reason"), [1, 2, 3]);
    assert_eq!(
        cids("sort=stop").unwrap_err(),
        "sort by stop only valid on closed connections"
    );
}

#[test]
fn pages_filters_and_mistakes() {
    assert_eq!(cids("limit=1&offset=1").unwrap(), [2]);
    assert_eq!(cids("cid=3&offset=7").unwrap(), [3]);
    assert_eq!(cids("cid=77").unwrap(), [0; 0]);
    assert_eq!(cids("user=b").unwrap(), [2]);
    assert_eq!(cids("mqtt_client=x").unwrap(), [0; 0]);
    assert_eq!(
        cids("sort=bogus").unwrap_err(),
        "invalid sorting option: bogus"
    );
    assert!(
        cids("state=bogus")
            .unwrap_err()
            .starts_with("Error decoding state for bogus")
    );
    assert!(cids("subs=2").is_err() && cids("limit=x").is_err() && cids("cid=-1").is_err());
}

#[test]
fn the_answer_has_the_original_s_fields_in_its_order() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let options = Options::parse(&Query::parse("auth=1&subs=detail&cid=1")).unwrap();
    let samples = select(three(), &options, now).unwrap();
    let connz = Connz::new("NID", &samples, 3, &options, now, |sample| {
        vec![Subscribed {
            account: None,
            account_tag: None,
            subject: "a.>".to_owned(),
            queue: Some("q".to_owned()),
            sid: "1".to_owned(),
            msgs: 2,
            max: 0,
            cid: sample.cid,
        }]
    });
    let value = serde_json::to_value(&connz).unwrap();
    assert_eq!(
        value,
        json!({
            "server_id": "NID", "now": "1970-01-01T00:16:40.000000000Z",
            "num_connections": 1, "total": 3, "offset": 0, "limit": 1,
            "connections": [{
                "cid": 1, "kind": "Client", "type": "nats", "ip": "127.0.0.1", "port": 4000,
                "start": "1970-01-01T00:01:40.000000000Z",
                "last_activity": "1970-01-01T00:15:00.000000000Z",
                "rtt": "1µs", "uptime": "15m0s", "idle": "1m40s", "pending_bytes": 1,
                "in_msgs": 5, "out_msgs": 1, "in_bytes": 20, "out_bytes": 2, "subscriptions": 9,
                "authorized_user": "a", "account": "$G", "name_tag": "$G",
                "subscriptions_list_detail":
                    [{ "subject": "a.>", "qgroup": "q", "sid": "1", "msgs": 2, "cid": 1 }],
            }],
        })
    );
}

#[test]
fn a_request_by_message_reads_the_same() {
    let options: Options =
        serde_json::from_str(r#"{"sort":"rtt","auth":true,"state":1,"limit":5,"new_thing":[]}"#)
            .unwrap();
    assert_eq!(options.order().unwrap(), Order::Rtt);
    assert_eq!((options.state, options.page().limit), (State::Closed, 5));
    assert!(options.username);
    assert!(serde_json::from_str::<Options>(r#"{"state":7}"#).is_err());
}

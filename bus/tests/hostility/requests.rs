//! Those who ask the server without end: the others' questions are answered all the same.

use std::time::Instant;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::PROMPT;
use super::support::{Raw, TestBroker, broker};

async fn of_accounts() -> TestBroker {
    let account =
        |name: &str| json!({ "name": name, "users": [{ "user": name, "password": "p" }] });
    broker(json!({
        "system_account": "S",
        "accounts": [account("S"), account("A"), account("B")],
    }))
    .await
}

fn hello(user: &str) -> String {
    format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"user\":\"{user}\",\"pass\":\"p\"}}\r\n"
    )
}

async fn of(broker: &TestBroker, user: &str) -> Raw {
    broker.greeted(&hello(user)).await
}

/// Asks this until the test is over; nobody hears the answers.
async fn flood(broker: &TestBroker, user: &str, subject: &str) -> tokio::task::JoinHandle<()> {
    let mut flooder = of(broker, user).await;
    let questions = format!("PUB {subject} nobody 0\r\n\r\n").repeat(500);
    flooder.send(&questions).await;
    flooder.sync().await;
    tokio::spawn(async move {
        while flooder.socket.write_all(questions.as_bytes()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
}

/// Each question of this client is answered, and soon.
async fn is_answered(broker: &TestBroker, user: &str, subject: &str) {
    let mut innocent = of(broker, user).await;
    innocent.send("SUB answers 1\r\n").await;
    innocent.sync().await;
    for _ in 0..30 {
        let asked = Instant::now();
        innocent
            .send(format!("PUB {subject} answers 0\r\n\r\n"))
            .await;
        let (_, _, _, answer) = innocent.message().await;
        assert!(!answer.is_empty());
        let took = asked.elapsed();
        assert!(took < PROMPT, "{user} waits {took:?} for {subject}");
    }
}

const SERVER: &str = "$SYS.REQ.SERVER.PING.CONNZ";
const ACCOUNT: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
const USER: &str = "$SYS.REQ.USER.INFO";

#[tokio::test]
async fn one_of_the_system_account_leaves_room_for_another() {
    let broker = of_accounts().await;
    let flooding = flood(&broker, "S", SERVER).await;
    is_answered(&broker, "S", "$SYS.REQ.SERVER.PING.VARZ").await;
    is_answered(&broker, "A", ACCOUNT).await;
    is_answered(&broker, "A", USER).await;
    flooding.abort();
}

#[tokio::test]
async fn one_of_an_account_leaves_room_for_others_of_it_and_of_others() {
    let broker = of_accounts().await;
    let flooding = flood(&broker, "A", USER).await;
    is_answered(&broker, "A", USER).await;
    is_answered(&broker, "B", USER).await;
    flooding.abort();
}

#[tokio::test]
async fn an_account_that_asks_about_itself_leaves_room_for_those_who_run_the_server() {
    let broker = of_accounts().await;
    let flooding = flood(&broker, "A", ACCOUNT).await;
    is_answered(&broker, "S", "$SYS.REQ.SERVER.PING.VARZ").await;
    is_answered(&broker, "B", ACCOUNT).await;
    is_answered(&broker, "A", ACCOUNT).await;
    is_answered(&broker, "A", USER).await;
    flooding.abort();
}

//! A request written by hand.

use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;

use super::Context;
use crate::client::{Body, Request};
use crate::plan::CurlPlan;

pub(super) async fn curl(context: &Context<'_>, plan: CurlPlan) -> anyhow::Result<()> {
    let client = &context.client;
    let mut request = Request::new(plan.method, client.api_url(&plan.path)?);
    request.body = match plan.body {
        Some(body) if plan.headers.iter().any(|(name, _)| name == "content-type") => {
            Body::Raw(body)
        }
        // What the API speaks; `cf` sends the form type here, which it takes for JSON too.
        Some(body) => Body::Json(body),
        None => Body::Empty,
    };
    for (name, value) in plan.headers {
        request = request.header(name, value);
    }
    let answer = client.send_any(&request).await?;
    let mut text = Vec::new();
    if plan.include {
        text.extend_from_slice(format!("{:?} {}\r\n", answer.version, answer.status).as_bytes());
        for (name, value) in &answer.headers {
            text.extend_from_slice(format!("{name}: ").as_bytes());
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(&answer.body);
    match plan.output {
        Some(path) => {
            // The answer may hold secrets.
            let file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path);
            let write = |mut file: std::fs::File| std::io::Write::write_all(&mut file, &text);
            file.and_then(write)
                .with_context(|| format!("writing {}", path.display()))
        }
        None => {
            if !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            Ok(context.ui.raw(&text)?)
        }
    }
}

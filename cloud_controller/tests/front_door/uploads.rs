//! Bits: what is taken, what is refused, and what is not sent twice.

use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::harness::{Cloud, guid, zip_of};

/// The error a failed job shows.
async fn job_error(cloud: &Cloud, answer: crate::harness::Answer) -> String {
    let job = answer.is(201);
    let job = cloud.get(&format!("/v2/jobs/{}", guid(&job))).await.is(200);
    assert_eq!(job["entity"]["status"], "failed", "{job}");
    job["entity"]["error_details"]["error_code"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn what_was_sent_once_is_not_sent_again() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.app("one").await, cloud.app("two").await);
    let zip = zip_of(&[("index.html", b"hello, world"), ("tiny", b"x")]);
    cloud.upload(&one, &json!([]), Some(zip)).await.is(201);
    let sha1 = hex::encode(Sha1::digest(b"hello, world"));
    let known = json!({"fn": "index.html", "mode": "755", "sha1": sha1, "size": 12});
    let unknown = json!({"fn": "b", "sha1": "b".repeat(40), "size": 12});
    let lied = json!({"fn": "c", "sha1": sha1, "size": 13});
    let tiny = json!({"fn": "tiny", "sha1": hex::encode(Sha1::digest(b"x")), "size": 1});
    let question = json!([known, unknown, lied, tiny, {"fn": "d", "sha1": "0", "size": 0}]);
    assert_eq!(
        cloud.put("/v2/resource_match", question).await.is(200),
        json!([known])
    );

    // A push of known files alone, with no archive at all.
    let job = cloud.upload(&two, &json!([known]), None).await.is(201);
    assert_eq!(job["entity"]["status"], "finished", "{job}");
    let seen = cloud.get(&format!("/v2/apps/{two}")).await.is(200);
    assert!(seen["entity"]["package_updated_at"].is_string());
    let package = cloud.get(&format!("/v2/apps/{two}/download")).await;
    assert_eq!(package.status, 200);

    let error = job_error(&cloud, cloud.upload(&two, &json!([unknown]), None).await).await;
    assert_eq!(error, "CF-AppBitsUploadInvalid");
    let error = job_error(&cloud, cloud.upload(&two, &json!([lied]), None).await).await;
    assert_eq!(error, "CF-AppBitsUploadInvalid");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn dangerous_archives_are_refused_and_nothing_is_lost() {
    let cloud = Cloud::start().await;
    let app = cloud.app("shop").await;
    cloud
        .upload(&app, &json!([]), Some(zip_of(&[("good", b"good")])))
        .await
        .is(201);
    let before = cloud.get(&format!("/v2/apps/{app}")).await.is(200);
    for name in ["../evil", "/etc/evil", "a/../../evil"] {
        let answer = cloud
            .upload(&app, &json!([]), Some(zip_of(&[(name, b"x")])))
            .await;
        assert_eq!(
            job_error(&cloud, answer).await,
            "CF-AppBitsUploadInvalid",
            "{name}"
        );
    }
    let answer = cloud
        .upload(&app, &json!([]), Some(b"no archive".to_vec()))
        .await;
    assert_eq!(job_error(&cloud, answer).await, "CF-AppBitsUploadInvalid");
    let after = cloud.get(&format!("/v2/apps/{app}")).await.is(200);
    let key = "package_updated_at";
    assert_eq!(
        before["entity"][key], after["entity"][key],
        "the good bits are still there"
    );
    let left = std::fs::read_dir(cloud.folder().join("work"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "no temporary files are left");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn uploads_have_a_limit() {
    let uploads = json!({"uploads": {"package_mb": 1}});
    let cloud = Cloud::start_with(uploads).await;
    let app = cloud.app("large").await;
    // Random enough not to be squeezed below the limit.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..2 * 1024 * 1024)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let answer = cloud
        .upload(&app, &json!([]), Some(zip_of(&[("noise", &noise)])))
        .await;
    answer.refused(413, "AppBitsUploadInvalid");
    let zeros = vec![0; 4 * 1024 * 1024];
    let answer = cloud
        .upload(&app, &json!([]), Some(zip_of(&[("bomb", &zeros)])))
        .await;
    assert_eq!(job_error(&cloud, answer).await, "CF-AppBitsUploadInvalid");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn malformed_uploads_are_refused_at_once() {
    let cloud = Cloud::start().await;
    let app = cloud.app("shop").await;
    let path = format!("/v2/apps/{app}/bits");
    let form = reqwest::multipart::Form::new().text("other", "x");
    let answer = cloud
        .send(cloud.request("PUT", &path, &cloud.admin).multipart(form))
        .await;
    answer.refused(400, "AppBitsUploadInvalid");
    for (resources, name) in [
        (json!({}), "AppBitsUploadInvalid"),
        (json!([]), "AppBitsUploadInvalid"),
        (
            json!([{"fn": "../x", "sha1": "a".repeat(40), "size": 9}]),
            "AppResourcesFilePathInvalid",
        ),
        (
            json!([{"fn": "x", "mode": "99", "sha1": "a".repeat(40), "size": 9}]),
            "AppResourcesFileModeInvalid",
        ),
    ] {
        cloud
            .upload(&app, &resources, None)
            .await
            .refused(400, name);
    }
    let eve = cloud.user("eve");
    let form = reqwest::multipart::Form::new().text("resources", "[]");
    let answer = cloud
        .send(cloud.request("PUT", &path, &eve).multipart(form))
        .await;
    answer.refused(403, "NotAuthorized");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn bits_are_copied_between_apps() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.app("one").await, cloud.app("two").await);
    let path = format!("/v2/apps/{two}/copy_bits?async=true");
    let from = json!({"source_app_guid": one});
    cloud
        .post(&path, from.clone())
        .await
        .refused(400, "AppBitsCopyInvalid");
    cloud
        .post(&path, json!({}))
        .await
        .refused(400, "AppBitsCopyInvalid");
    cloud
        .upload(&one, &json!([]), Some(zip_of(&[("a", b"b")])))
        .await
        .is(201);
    let job = cloud.post(&path, from).await.is(201);
    assert_eq!(job["entity"]["status"], "finished");
    cloud.delete(&format!("/v2/apps/{one}")).await.is(204);
    let package = cloud.get(&format!("/v2/apps/{two}/download")).await;
    assert_eq!(package.status, 200, "the copy is its own");
    let bare = cloud.app("bare").await;
    cloud
        .get(&format!("/v2/apps/{bare}/download"))
        .await
        .refused(404, "AppPackageNotFound");
    let seen: Value = cloud.get("/v2/jobs/none").await.is(200);
    assert_eq!(seen["entity"], json!({"guid": "0", "status": "finished"}));
}

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};

use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LIMITS: CacheLimits = CacheLimits {
    download: DownloadLimits {
        max_bytes: 1 << 20,
        inactivity: Duration::from_secs(5),
        total: Duration::from_secs(20),
        attempts: 2,
    },
    archive: ArchiveLimits {
        max_bytes: 1 << 20,
        max_entries: 1000,
    },
    keep_unused: Duration::from_secs(60),
};

fn droplet(command: &str) -> (DropletSha, Vec<u8>) {
    let info = format!("start_command: {command}\n");
    let files = [
        ("./app/index.html", "hello"),
        ("./staging_info.yml", info.as_str()),
    ];
    let bytes = archive::tests::droplet(&files);
    (
        DropletSha::parse(&hex::encode(Sha1::digest(&bytes))).unwrap(),
        bytes,
    )
}

/// Serves `body` with `status` to everyone and counts the requests.
async fn serve(status: &'static str, body: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!(
        "http://{}/droplet?signature=secret",
        listener.local_addr().unwrap()
    );
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (uri, served)
}

fn open(dir: &Path) -> DropletCache {
    open_as(dir, Form::Layer)
}

fn open_as(dir: &Path, form: Form) -> DropletCache {
    DropletCache::open(dir.join("droplets"), form, LIMITS, TaskTracker::new()).unwrap()
}

#[tokio::test]
async fn concurrent_starts_share_one_download_and_later_ones_need_none() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (sha, bytes) = droplet("./run");
    let (uri, served) = serve("200 OK", bytes).await;
    let leases = futures_util::future::join_all((0..8).map(|_| cache.acquire(&sha, &uri))).await;
    for lease in &leases {
        let lease = lease.as_ref().unwrap();
        let info = lease.contents().staging_info.as_ref().unwrap();
        assert_eq!(info.start_command.as_deref(), Some("./run"));
        let Ready::Layer(layer) = lease.ready().unwrap() else {
            panic!("not a layer")
        };
        let page = fs::read_to_string(layer.join("home/vcap/app/index.html")).unwrap();
        assert_eq!(page, "hello");
        assert!(layer.join("home/vcap/tmp").is_dir());
        assert!(lease.shared_bytes() > 5);
    }
    drop(leases);
    cache
        .acquire(&sha, "http://127.0.0.1:1/gone")
        .await
        .unwrap();
    assert_eq!(served.load(Ordering::SeqCst), 1);
    assert_eq!(
        fs::read_dir(dir.path().join("droplets/work"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (_, bytes) = droplet("./run");
    let (uri, served) = serve("200 OK", bytes).await;
    let other = DropletSha::parse(&"0".repeat(40)).unwrap();
    let error = cache.acquire(&other, &uri).await.unwrap_err();
    assert!(
        matches!(
            *error,
            DropletError::Download(DownloadError::WrongSha { .. })
        ),
        "{error}"
    );
    assert_eq!(served.load(Ordering::SeqCst), 2, "tried again once");
    assert_eq!(cache.len(), 0);
    assert_eq!(
        fs::read_dir(dir.path().join("droplets/work"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn errors_never_show_the_signed_address() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (sha, _) = droplet("./run");
    let (uri, _) = serve("403 Forbidden", Vec::new()).await;
    for uri in [uri.as_str(), "http://127.0.0.1:1/x?signature=secret"] {
        let error = cache.acquire(&sha, uri).await.unwrap_err();
        let mut text = format!("{error:?}");
        let mut source: Option<&dyn std::error::Error> = Some(&*error);
        while let Some(error) = source {
            text.push_str(&error.to_string());
            source = error.source();
        }
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn an_archive_above_the_limit_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (uri, _) = serve("200 OK", vec![0; (1 << 20) + 1]).await;
    let (sha, _) = droplet("./run");
    let error = cache.acquire(&sha, &uri).await.unwrap_err();
    assert!(
        matches!(
            *error,
            DropletError::Download(DownloadError::TooLarge { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_droplet_in_use_survives_the_sweep_and_an_unused_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (sha, bytes) = droplet("./run");
    let (uri, _) = serve("200 OK", bytes).await;
    let lease = cache.acquire(&sha, &uri).await.unwrap();
    let later = |seconds| Instant::now() + Duration::from_secs(seconds);
    cache.sweep(later(3600));
    assert_eq!(cache.len(), 1);
    drop(lease);
    cache.sweep(later(1));
    assert_eq!(cache.len(), 1);
    cache.sweep(later(3600));
    assert_eq!(cache.len(), 0);
}

#[tokio::test]
async fn entries_survive_a_restart_but_not_a_boot() {
    let dir = tempfile::tempdir().unwrap();
    let (sha, bytes) = droplet("./run");
    let (uri, _) = serve("200 OK", bytes).await;
    drop(open(dir.path()).acquire(&sha, &uri).await.unwrap());
    assert!(open(dir.path()).reacquire(&sha).is_some());
    fs::write(dir.path().join("droplets/boot_id"), "another boot").unwrap();
    assert!(open(dir.path()).reacquire(&sha).is_none());
}

#[test]
fn only_hex_becomes_a_folder_name() {
    for bad in ["", "..", "../../etc", &"g".repeat(40), &"a".repeat(39)] {
        assert!(DropletSha::parse(bad).is_err());
    }
    assert_eq!(
        DropletSha::parse(&"AB".repeat(20)).unwrap().as_str(),
        "ab".repeat(20)
    );
}

#[tokio::test]
async fn without_mapped_layers_the_archive_is_kept_and_a_change_of_form_fetches_again() {
    let dir = tempfile::tempdir().unwrap();
    let (sha, bytes) = droplet("./run");
    let (uri, served) = serve("200 OK", bytes).await;
    let lease = open_as(dir.path(), Form::Archive)
        .acquire(&sha, &uri)
        .await
        .unwrap();
    let Ready::Archive(tar) = lease.ready().unwrap() else {
        panic!("not an archive")
    };
    assert_eq!(tar.metadata().unwrap().len(), lease.contents().bytes);
    assert_eq!(lease.shared_bytes(), 0);
    let lease = open(dir.path()).acquire(&sha, &uri).await.unwrap();
    assert!(matches!(lease.ready().unwrap(), Ready::Layer(_)));
    assert_eq!(served.load(Ordering::SeqCst), 2);
}

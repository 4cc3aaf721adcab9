//! A blobstore with one droplet in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Serves the droplet of the tests' server over HTTP.
pub(crate) struct Blobs {
    sha1: String,
    uri: String,
    served: Arc<AtomicUsize>,
}

impl Blobs {
    pub(crate) async fn serve() -> Self {
        let droplet = Arc::new(droplet());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/droplet", listener.local_addr().unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let (sha1, count) = (hex::encode(Sha1::digest(&*droplet)), Arc::clone(&served));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let droplet = Arc::clone(&droplet);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        droplet.len()
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&droplet).await;
                });
            }
        });
        Self { sha1, uri, served }
    }

    pub(crate) fn sha1(&self) -> String {
        self.sha1.clone()
    }

    pub(crate) fn uri(&self) -> String {
        self.uri.clone()
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

fn droplet() -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let profile = "export FROM_PROFILE=\"$HOME and $CF_INSTANCE_INDEX\"\n";
    let files = [
        ("./app/server.py", 0o644, include_str!("server.py")),
        ("./app/.profile.d/setup.sh", 0o644, profile),
        ("./logs/staging_task.log", 0o644, ""),
        (
            "./staging_info.yml",
            0o644,
            "---\nstart_command: exec python3 server.py\n",
        ),
    ];
    for (name, mode, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(mode);
        archive
            .append_data(&mut header, name, body.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

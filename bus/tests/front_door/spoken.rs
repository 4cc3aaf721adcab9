//! A conversation over any stream, said word for word.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::support::PATIENCE;

pub(crate) struct Spoken<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Spoken<S> {
    pub(crate) fn new(stream: S) -> Self {
        Spoken {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn into_inner(self) -> S {
        assert!(self.stream.buffer().is_empty(), "there is more to read");
        self.stream.into_inner()
    }

    /// The stream with what has been read ahead.
    pub(crate) fn into_stream(self) -> BufReader<S> {
        self.stream
    }

    pub(crate) fn stream(&mut self) -> &mut BufReader<S> {
        &mut self.stream
    }

    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next line without its end; empty at the end of the connection, however it comes.
    pub(crate) async fn hear(&mut self) -> String {
        let mut line = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, self.stream.read_until(b'\n', &mut line))
            .await
            .expect("nothing came in time");
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut bytes))
            .await
            .expect("nothing came in time")
            .unwrap();
        bytes
    }

    pub(crate) async fn info(&mut self) -> serde_json::Value {
        let line = self.hear().await;
        serde_json::from_str(line.strip_prefix("INFO ").expect(&line)).unwrap()
    }

    pub(crate) async fn sync(&mut self) {
        self.say("PING\r\n").await;
        assert_eq!(self.hear().await, "PONG");
    }

    /// Nothing more comes, and the end is an orderly one.
    pub(crate) async fn ends(&mut self) {
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .expect("it did not end in time")
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

/// Begins TLS as a client.
pub(crate) async fn begin_tls(
    socket: TcpStream,
    config: ClientConfig,
) -> std::io::Result<Spoken<TlsStream<TcpStream>>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket);
    let stream = tokio::time::timeout(PATIENCE, stream)
        .await
        .expect("no handshake in time")?;
    Ok(Spoken::new(stream))
}

//! A server of either make, on ports of its own, and a client that speaks its protocol.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    process: Child,
    pub(crate) clients: SocketAddr,
    pub(crate) monitor: SocketAddr,
    pub(crate) cluster: Option<SocketAddr>,
    _folder: tempfile::TempDir,
}

/// A message as it was received.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) body: String,
}

pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    pub(crate) cid: u64,
    pub(crate) heard: Vec<Message>,
}

/// Waits for something, with a deadline.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "there is no runtime in this test"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
}

// === impl Server ===

impl Server {
    pub(crate) fn start(program: &Path, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bus.conf");
        std::fs::write(&file, config).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("--ports_file_dir")
            .arg(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ports: Value = until("the ports file is there", || {
            let mut files = std::fs::read_dir(folder.path()).unwrap().flatten();
            let file =
                files.find(|file| file.path().extension().is_some_and(|it| it == "ports"))?;
            serde_json::from_str(&std::fs::read_to_string(file.path()).ok()?).ok()
        });
        let address = |name: &str| -> Option<SocketAddr> {
            let url = ports[name][0].as_str()?;
            url.split("//").nth(1)?.parse().ok()
        };
        Server {
            process,
            clients: address("nats").unwrap(),
            monitor: address("monitoring").unwrap(),
            cluster: address("cluster"),
            _folder: folder,
        }
    }

    /// The status and body of an HTTP answer.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.monitor).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // HTTP/1.0, as that is never chunked.
        let request = format!("GET {path} HTTP/1.0\r\nhost: x\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A client of this user (`name` and `password` are the same in all tests).
    pub(crate) fn client(&self, user: &str) -> Client {
        let mut client = Client::dial(self.clients);
        client.send(&format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\
             \"user\":\"{user}\",\"pass\":\"pw\",\"name\":\"{user}'s\",\"lang\":\"test\",\"version\":\"1.2.3\"}}\r\n"
        ));
        client.sync();
        client
    }

    pub(crate) fn terminate(&mut self) {
        let pid = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn dial(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let info: Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        Client {
            reader,
            cid: info["client_id"].as_u64().unwrap(),
            heard: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// All that was sent has been handled; messages that came meanwhile are kept.
    pub(crate) fn sync(&mut self) {
        self.send("PING\r\n");
        while self.line().is_some_and(|line| line != "PONG") {}
    }

    /// Waits for a message like this one; those before it are kept.
    pub(crate) fn wait_for(&mut self, what: &str, is_it: impl Fn(&Message) -> bool) -> Message {
        let mut looked_at = 0;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.heard[looked_at..].iter().position(&is_it) {
                return self.heard.remove(looked_at + found);
            }
            looked_at = self.heard.len();
            assert!(
                Instant::now() < deadline && self.line().is_some(),
                "never came: {what}"
            );
        }
    }

    /// Asks, and returns the first answer.
    pub(crate) fn request(&mut self, subject: &str, payload: &str) -> Value {
        let reply = format!("_I.{}", rand_name());
        self.send(&format!(
            "SUB {reply} {reply}\r\nUNSUB {reply} 1\r\nPUB {subject} {reply} {}\r\n{payload}\r\n",
            payload.len()
        ));
        let answer = self.wait_for(subject, |message| message.subject == reply);
        serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body))
    }

    /// Reads a line, and the message that it may announce. `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line == "PING" {
            self.send("PONG\r\n");
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["MSG" | "HMSG", subject, .., size] = words[..] {
            let mut body = vec![0; size.parse::<usize>().unwrap() + 2];
            self.reader.read_exact(&mut body).unwrap();
            body.truncate(body.len() - 2);
            self.heard.push(Message {
                subject: subject.to_owned(),
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        }
        Some(line)
    }
}

fn rand_name() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

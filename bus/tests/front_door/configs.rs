//! Configuration files in the style of nats-server's documentation start as they are.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::support::eventually;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cupola-bus");
/// What one of the files takes from the environment: any port.
const PORT: (&str, &str) = ("BUS_TEST_PORT", "-1");

/// Ends a program that is still there when a test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The files in a folder of the test's own, with certificates beside them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    copy(&from, folder.path());
    let certs = folder.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "ca");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &ca).unwrap();
    std::fs::write(certs.join("ca.pem"), ca.pem()).unwrap();
    std::fs::write(certs.join("server.pem"), server.pem()).unwrap();
    std::fs::write(certs.join("server-key.pem"), key.serialize_pem()).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    files.sort();
    assert!(files.len() >= 15, "{files:?}");
    files
}

#[test]
fn each_is_valid() {
    let folder = folder();
    for file in files(folder.path()) {
        let name = file.file_name().unwrap();
        let output = Command::new(PROGRAM)
            .current_dir(folder.path())
            .env(PORT.0, PORT.1)
            .args(["-t", "-c"])
            .arg(name)
            .output()
            .unwrap();
        let says = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name:?}: {says}");
        assert!(says.contains(" is valid"), "{name:?}: {says}");
    }
}

#[tokio::test]
async fn each_starts() {
    let folder = folder();
    for file in files(folder.path()) {
        let name = file.file_name().unwrap();
        let log = file.with_extension("log");
        let program = Command::new(PROGRAM)
            .current_dir(folder.path())
            .env(PORT.0, PORT.1)
            .arg("-c")
            .arg(name)
            .arg("-l")
            .arg(&log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut program = Running(program);
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        eventually("it is ready, or has given up", || {
            read().contains("Server is ready") || program.0.try_wait().unwrap().is_some()
        })
        .await;
        assert!(read().contains("Server is ready"), "{name:?}: {}", read());
    }
}

#[test]
fn a_missing_certificate_is_found_before_the_start() {
    let folder = folder();
    std::fs::remove_file(folder.path().join("certs/server-key.pem")).unwrap();
    let output = Command::new(PROGRAM)
        .current_dir(folder.path())
        .args(["-t", "-c", "tls.conf"])
        .output()
        .unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(says.contains("certs/server-key.pem"), "{says}");
    // With the place of the section that names it.
    assert!(says.starts_with("cupola-bus: tls.conf:"), "{says}");
}

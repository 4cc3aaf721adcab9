//! `multipart/x-protobuf`: how recent lines are sent (CC v2 reference §7.1).

/// A boundary that no message can contain by chance: clients split on it.
const BOUNDARY: &str = "cupola-6f2d1c0b9a8e7d6c5b4a39281706f5e4";

/// Value of the Content-Type header.
pub(crate) fn content_type() -> String {
    format!("multipart/x-protobuf; boundary={BOUNDARY}")
}

/// The parts, each without headers of its own.
pub(crate) fn body(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n\r\n").as_bytes());
        body.extend_from_slice(&part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_stands_between_boundaries() {
        let body = body([b"one".to_vec(), b"two".to_vec()].into_iter());
        let text = String::from_utf8_lossy(&body);
        assert!(text.starts_with(&format!(
            "--{BOUNDARY}\r\n\r\none\r\n--{BOUNDARY}\r\n\r\ntwo\r\n"
        )));
        assert!(text.ends_with(&format!("--{BOUNDARY}--\r\n")));
    }
}

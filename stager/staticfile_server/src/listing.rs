//! The page that lists a folder, for sites that ask for it.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use nix::dir::{Dir, Type};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::site::{SitePath, is_dot_name};

/// Most names that are listed; the page says when there are more.
const MAX_NAMES: usize = 10_000;
/// What stays as it is in a link.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The page for `folder`, which lies at `path`.
///
/// # Errors
/// When the folder cannot be read.
pub fn page(folder: OwnedFd, path: &SitePath, dot_files: bool) -> std::io::Result<String> {
    let mut names = Vec::new();
    let mut more = false;
    for entry in Dir::from_fd(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if matches!(name, "." | "..") || (!dot_files && is_dot_name(name)) {
            continue;
        }
        if names.len() == MAX_NAMES {
            more = true;
            break;
        }
        let slash = if entry.file_type() == Some(Type::Directory) {
            "/"
        } else {
            ""
        };
        names.push(format!("{name}{slash}"));
    }
    names.sort_unstable();
    let title = escape(&if path.is_root() {
        "/".to_owned()
    } else {
        format!("{}/", path.file_name())
    });
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <h1>{title}</h1>\n<ul>\n"
    );
    if !path.is_root() {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for name in &names {
        let link: String = name
            .split('/')
            .map(|part| utf8_percent_encode(part, PLAIN).to_string())
            .collect::<Vec<_>>()
            .join("/");
        // Writing into a String cannot fail.
        let _ = writeln!(page, "<li><a href=\"./{link}\">{}</a>", escape(name));
    }
    page.push_str("</ul>\n");
    if more {
        let _ = writeln!(page, "<p>and more than {MAX_NAMES} others</p>");
    }
    page.push_str("</html>\n");
    Ok(page)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn names_are_escaped_sorted_and_dot_names_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b<i>.txt",
            "a \"q\".txt",
            ".hidden",
            ".well-known",
            "javascript:x",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let open = || OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
        let path = SitePath::parse("/x/").unwrap();
        let html = page(open(), &path, false).unwrap();
        let links: Vec<_> = html
            .lines()
            .filter(|line| line.starts_with("<li>"))
            .collect();
        assert_eq!(
            links,
            [
                "<li><a href=\"../\">../</a>",
                "<li><a href=\"./.well-known\">.well-known</a>",
                "<li><a href=\"./a%20%22q%22.txt\">a &quot;q&quot;.txt</a>",
                "<li><a href=\"./b%3Ci%3E.txt\">b&lt;i&gt;.txt</a>",
                "<li><a href=\"./javascript%3Ax\">javascript:x</a>",
                "<li><a href=\"./sub/\">sub/</a>",
            ]
        );
        assert!(page(open(), &path, true).unwrap().contains(".hidden"));
    }
}

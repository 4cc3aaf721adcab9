//! The configuration file: any text is either refused or a tree that can be written and read back.

use std::cell::Cell;
use std::io;
use std::path::Path;

use crate::conf::{self, Kind, Map, Problem, Source};
use crate::options::Options;

/// Files that may be opened for one input: an include that leads to itself multiplies.
const OPENED: usize = 200;

/// Takes the text of a file; after each zero byte comes another one, which includes and variables of
/// the names `1`, `2`… lead to.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\0');
    let main = parts.next().unwrap_or_default();
    let source = Memory {
        parts: parts.collect(),
        opened: Cell::new(0),
    };
    let path = Path::new("bus.conf");
    let map = match conf::parse(main, path, &source) {
        Ok(map) => map,
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.at.line), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut written = String::new();
    entries(&map, &mut written);
    match conf::parse(&written, path, &source) {
        Ok(again) => assert!(same_map(&map, &again), "{written}"),
        // Variables can build what is too deep to be written out.
        Err(error) => assert!(
            matches!(error.problem, Problem::Depth),
            "{error} in {written}"
        ),
    }
    if let Err(errors) = Options::from_map(&map) {
        assert!(!errors.0.is_empty() && errors.0.iter().all(|error| error.at.line > 0));
    }
}

struct Memory<'a> {
    parts: Vec<&'a str>,
    opened: Cell<usize>,
}

impl Memory<'_> {
    fn part(&self, name: &str) -> Option<String> {
        let number: usize = name.parse().ok()?;
        let text = self.parts.get(number.checked_sub(1)?)?;
        self.opened.set(self.opened.get() + 1);
        (self.opened.get() <= OPENED).then(|| (*text).to_owned())
    }
}

impl Source for Memory<'_> {
    fn file(&self, path: &Path) -> io::Result<String> {
        path.to_str()
            .and_then(|name| self.part(name))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.part(name)
    }
}

fn entries(map: &Map, to: &mut String) {
    for entry in map.entries() {
        quoted(&entry.key, to);
        to.push(':');
        write(&entry.value.kind, to);
        to.push('\n');
    }
}

fn write(kind: &Kind, to: &mut String) {
    match kind {
        Kind::Text(text) => quoted(text, to),
        Kind::Integer(number) => to.push_str(&number.to_string()),
        Kind::Float(number) => {
            let text = number.to_string();
            to.push_str(&text);
            if !text.contains('.') {
                to.push_str(".0");
            }
        }
        Kind::Bool(value) => to.push_str(if *value { "on" } else { "off" }),
        Kind::Date(date) => to.push_str(date),
        Kind::Array(items) => {
            to.push('[');
            for item in items {
                write(&item.kind, to);
                to.push(',');
            }
            to.push(']');
        }
        Kind::Map(map) => {
            to.push_str("{\n");
            entries(map, to);
            to.push('}');
        }
    }
}

fn quoted(text: &str, to: &mut String) {
    to.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            to.push('\\');
        }
        to.push(letter);
    }
    to.push('"');
}

/// Whether two maps say the same, wherever it stood.
fn same_map(one: &Map, other: &Map) -> bool {
    let (one, other) = (one.entries(), other.entries());
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| one.key == other.key && same(&one.value.kind, &other.value.kind))
}

fn same(one: &Kind, other: &Kind) -> bool {
    match (one, other) {
        (Kind::Map(one), Kind::Map(other)) => same_map(one, other),
        (Kind::Array(one), Kind::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| same(&one.kind, &other.kind))
        }
        _ => one == other,
    }
}

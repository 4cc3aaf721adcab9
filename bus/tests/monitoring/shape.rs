//! The shape of JSON: which fields there are, and of which types; not what they say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Fields by their paths (`connections[].rtt`), with the types they were seen with.
pub(crate) type Shape = BTreeMap<String, BTreeSet<String>>;

/// Shapes as text: what was asked, and below it `path type …`.
pub(crate) fn write(shapes: &BTreeMap<String, Shape>) -> String {
    let mut text = String::new();
    for (what, shape) in shapes {
        text.push_str(&format!("# {what}\n"));
        for (path, kinds) in shape.iter().filter(|(path, _)| !path.is_empty()) {
            let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
            text.push_str(&format!("{path} {}\n", kinds.join(" ")));
        }
    }
    text
}

/// What [`write`] has written.
pub(crate) fn read(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::<String, Shape>::new();
    let mut what = "";
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("# ") {
            what = next;
            continue;
        }
        let mut words = line.split(' ').map(str::to_owned);
        let path = words.next().unwrap();
        let shape = shapes.entry(what.to_owned()).or_default();
        shape.insert(path, words.collect());
    }
    shapes
}

/// Adds what a value shows to a shape.
pub(crate) fn add(shape: &mut Shape, value: &Value) {
    walk(shape, String::new(), value);
}

fn walk(shape: &mut Shape, path: String, value: &Value) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    shape
        .entry(path.clone())
        .or_default()
        .insert(kind.to_owned());
    match value {
        Value::Array(items) => {
            for item in items {
                walk(shape, format!("{path}[]"), item);
            }
        }
        // Paths are counted one by one: which there are depends on what was asked before.
        Value::Object(_) if path.ends_with("http_req_stats") => {}
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(shape, path, field);
            }
        }
        _ => {}
    }
}

/// What `ours` lacks or has of another type, beside what `excused` names (a field and all below it).
pub(crate) fn differences(theirs: &Shape, ours: &Shape, excused: &[&str]) -> Vec<String> {
    let is_excused = |path: &str| {
        excused.iter().any(|excuse| {
            path.split(['.', '['])
                .zip(0..)
                .any(|(field, _)| field == *excuse)
                || path == *excuse
        })
    };
    let mut different = Vec::new();
    for (path, kinds) in theirs {
        if is_excused(path) {
            continue;
        }
        match ours.get(path) {
            None => different.push(format!("{path}: is missing ({kinds:?})")),
            // An empty list, as some programs write it.
            Some(own) if own.contains("array") && kinds.contains("null") => {}
            Some(own) if own != kinds => {
                different.push(format!("{path}: is {own:?}, should be {kinds:?}"));
            }
            Some(_) => {}
        }
    }
    different
}

#[test]
fn shapes_tell_fields_and_types_apart() {
    let shape = |json: &str| {
        let mut shape = Shape::new();
        add(&mut shape, &serde_json::from_str(json).unwrap());
        shape
    };
    let theirs = shape(r#"{"a":1,"b":[{"c":"x"},{"d":true}],"e":{"f":null}}"#);
    assert!(theirs.contains_key("b[].d"));
    assert_eq!(differences(&theirs, &theirs, &[]), [""; 0]);
    let named = BTreeMap::from([("/a?b c".to_owned(), theirs.clone())]);
    assert_eq!(read(&write(&named))["/a?b c"].len(), theirs.len() - 1);
    let ours = shape(r#"{"a":"1","b":[{"c":"y"}]}"#);
    assert_eq!(differences(&theirs, &ours, &[]).len(), 4);
    assert_eq!(differences(&theirs, &ours, &["a", "d", "e"]), [""; 0]);
}

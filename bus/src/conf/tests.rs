#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Memory {
    files: HashMap<PathBuf, String>,
    variables: HashMap<String, String>,
}

impl Source for Memory {
    fn file(&self, path: &Path) -> io::Result<String> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// The tree in JSON, which is easy to compare.
fn json(kind: &Kind) -> serde_json::Value {
    match kind {
        Kind::Text(text) => text.clone().into(),
        Kind::Integer(number) => (*number).into(),
        Kind::Float(number) => (*number).into(),
        Kind::Bool(value) => (*value).into(),
        Kind::Date(date) => format!("date {date}").into(),
        Kind::Array(items) => items.iter().map(|item| json(&item.kind)).collect(),
        Kind::Map(map) => map
            .entries()
            .iter()
            .map(|entry| (entry.key.clone(), json(&entry.value.kind)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

fn tree_from(text: &str, source: &Memory) -> Result<serde_json::Value, String> {
    parse(text, Path::new("/etc/n.conf"), source)
        .map(|map| json(&Kind::Map(map)))
        .map_err(|error| error.to_string())
}

fn tree(text: &str) -> Result<serde_json::Value, String> {
    tree_from(text, &Memory::default())
}

#[test]
fn all_ways_to_write_an_entry() {
    let text = r#"
        # a comment
        a: 1, b = 2; c 3   // another
        "d e": 'raw \n text'
        f: "es\tcaped \x41 \"x\""
        g { h: yes, i: off }
        j: [1, two, "three"
            4
            { k: v }
            { l: w }]
        m: 1.5
        n: -1
        date: 2026-11-20T15:04:05Z
        url: nats://a:b@host:4222/x
        listen: 127.0.0.1:4222
        big: 64MB, thousand: 1k
        wait: "2s"
        pass: $2a$11$abcdefghijklmnopqrstuv
        block (
          raw { text
        )
)
        o.p.q: x
    "#;
    assert_eq!(
        tree(text).unwrap(),
        serde_json::json!({
            "a": 1, "b": 2, "c": 3, "d e": "raw \\n text", "f": "es\tcaped A \"x\"",
            "g": { "h": true, "i": false },
            "j": [1, "two", "three", 4, { "k": "v" }, { "l": "w" }],
            "m": 1.5, "n": -1, "date": "date 2026-11-20T15:04:05Z",
            "url": "nats://a:b@host:4222/x", "listen": "127.0.0.1:4222",
            "big": 64 << 20, "thousand": 1000, "wait": "2s",
            "pass": "$2a$11$abcdefghijklmnopqrstuv",
            "block": "\n          raw { text\n        )\n", "o.p.q": "x",
        })
    );
}

#[test]
fn json_is_a_configuration() {
    let text = r#"{"a": {"b": [1, true, "x", {"c": null_is_text}]}, "d": 2}"#;
    assert_eq!(
        tree(text).unwrap(),
        serde_json::json!({ "a": { "b": [1, true, "x", { "c": "null_is_text" }] }, "d": 2 })
    );
    assert_eq!(tree("").unwrap(), serde_json::json!({}));
    assert_eq!(tree("{}").unwrap(), serde_json::json!({}));
}

#[test]
fn variables_from_the_inside_out_then_from_the_environment() {
    let source = Memory {
        variables: [
            ("PORT", "4333"),
            ("LIST", "[a, b]"),
            ("LOOP", "$LOOP"),
            ("NAME", "bare word"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into(),
        ..Memory::default()
    };
    let text =
        "X = 1\n in { X = 2\n deep { a: $X } }\n b: $X, c: $PORT, d: '$X', e: \"$X\", f: $LIST";
    assert_eq!(
        tree_from(text, &source).unwrap(),
        serde_json::json!({
            "X": 1, "in": { "X": 2, "deep": { "a": 2 } }, "b": 1, "c": 4333,
            "d": "$X", "e": "$X", "f": ["a", "b"],
        })
    );
    for (text, says) in [
        (
            "a: $NOBODY",
            "/etc/n.conf:1:4: variable $NOBODY is not defined",
        ),
        ("a: $LOOP", "leads to itself"),
        (
            "\n  a: $NAME",
            "/etc/n.conf:2:7: Parse error on line 2: expected the end of the variable",
        ),
    ] {
        let error = tree_from(text, &source).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn includes_are_relative_and_bounded() {
    let source = Memory {
        files: [
            ("/etc/auth/users.conf", "u: 1\ninclude 'more.conf'"),
            ("/etc/auth/more.conf", "{ v: 2 }"),
            ("/etc/self.conf", "include self.conf"),
            ("/etc/bad.conf", "\n\n x: ]"),
        ]
        .map(|(path, text)| (PathBuf::from(path), text.to_owned()))
        .into(),
        ..Memory::default()
    };
    assert_eq!(
        tree_from("auth { include \"auth/users.conf\" }\n w: 3", &source).unwrap(),
        serde_json::json!({ "auth": { "u": 1, "v": 2 }, "w": 3 })
    );
    for (text, says) in [
        ("include self.conf", "too many levels"),
        (
            "include gone.conf",
            "/etc/n.conf:1:8: cannot read /etc/gone.conf",
        ),
        (
            "include bad.conf",
            "/etc/bad.conf:3:5: Parse error on line 3: expected a value",
        ),
        ("include", "expected a file to include"),
    ] {
        let error = tree_from(text, &source).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn words_that_begin_like_numbers() {
    let text = "a: 3p, b: 2E, c: 1PiB, d: -2kb, e: 10s, f: 5x, g: 1_000, h: 0.0.0.0:-1, i: 3b, j: 10ms, k: 007";
    assert_eq!(
        tree(text).unwrap(),
        serde_json::json!({
            "a": 3_000_000_000_000_000_i64, "b": 2_000_000_000_000_000_000_i64, "c": 1_i64 << 50,
            "d": -2048, "e": "10s", "f": "5x", "g": "1_000", "h": "0.0.0.0:-1", "i": "3b",
            "j": "10ms", "k": 7,
        })
    );
    for word in [
        "1e5",
        "-x",
        "-",
        ".5",
        "1.",
        "1.5s",
        "1-2",
        "2016-05",
        "1.2.x",
        "1kbb",
        "550e8400-e29b",
    ] {
        let error = tree(&format!("a: 1\n b: {word}")).unwrap_err();
        assert!(error.contains(":2:5: "), "{word}: {error}");
        assert!(error.contains("is none; put text into quotes"), "{error}");
    }
}

#[test]
fn keys_that_differ_in_case_are_two() {
    assert_eq!(
        tree("a: 1, A: 2, a: 3, b: $A").unwrap(),
        serde_json::json!({ "a": 3, "A": 2, "b": 2 })
    );
    tree("a: 1, b: $A").unwrap_err();
}

#[test]
fn the_braces_of_a_file_need_not_match() {
    for text in ["{ a: 1", "a: 1 }", "a: 1\n}", "{ a: 1 } }", "}", "{"] {
        let read = tree(text).unwrap();
        assert!(read.get("a").is_none_or(|a| a == 1), "{text}: {read}");
    }
    assert!(tree("a { b: 1").is_err());
}

#[test]
fn places_are_counted_as_nats_server_does() {
    let text = "a: 1\n\"b\": 2\n\tc [\"x\", $a, y]";
    let map = parse(text, Path::new("n.conf"), &Memory::default()).unwrap();
    let places: Vec<_> = map
        .entries()
        .iter()
        .map(|entry| (entry.at.line, entry.at.column))
        .collect();
    assert_eq!(places, [(1, 0), (2, 2), (3, 2)]);
    let Kind::Array(items) = &map.entries()[2].value.kind else {
        panic!()
    };
    let columns: Vec<_> = items.iter().map(|item| item.at.column).collect();
    assert_eq!(columns, [6, 11, 14]);
}

#[test]
fn mistakes_are_found_where_they_are() {
    for (text, says) in [
        (
            "a: {",
            ":1:4: Parse error on line 1: unexpected end of file in a map",
        ),
        (
            "a: [1, 2",
            ":1:8: Parse error on line 1: unexpected end of file in an array",
        ),
        (
            "a: [{x: 1} {y: 2}]",
            ":1:11: Parse error on line 1: expected a comma",
        ),
        (
            "\na: [{x: 1} {y: 2}]",
            ":2:12: Parse error on line 2: expected a comma",
        ),
        (
            "a: [1\n, 2]",
            ":2:1: Parse error on line 2: expected a value, found ','",
        ),
        ("a: [1,,2]", "expected a value"),
        ("a: \"x", "unexpected end of file in quoted text"),
        ("a: \"\\q\"", "unknown escape \\q"),
        ("a: \"\\xZZ\"", "unknown escape \\x"),
        ("a: (\n x", "unexpected end of file in a block"),
        ("a: (x)", "unexpected end of file in a block"),
        (
            "a: 1 b: 2",
            ":1:5: Parse error on line 1: expected the end of the entry",
        ),
        (
            "a {b: 1} c: 2",
            ":1:9: Parse error on line 1: expected the end of the entry",
        ),
        (
            "a {b: [1] c: 2}",
            ":1:10: Parse error on line 1: expected the end of the entry",
        ),
        (
            "a: it's",
            ":1:6: Parse error on line 1: expected the end of the entry",
        ),
        (
            "a: 1\nb:\nc: 3",
            ":2:3: Parse error on line 2: expected a value, found the end of the line",
        ),
        (
            "a",
            ":1:1: Parse error on line 1: unexpected end of file in a value",
        ),
        ("{} x", "unexpected end of file in a value"),
        ("a: 99999999999999999999", "too large"),
        ("a: 9999999999t", "too large"),
    ] {
        let error = tree(text).unwrap_err();
        assert!(error.contains(says), "{text:?}: {error}");
    }
    let deep = "a: ".to_owned() + &"[".repeat(100_000);
    assert!(tree(&deep).unwrap_err().contains("nested too deep"));
}

fn scalar() -> impl Strategy<Value = Kind> {
    prop_oneof![
        "[a-z][a-z0-9_./:-]{0,8}"
            .prop_filter("words with a meaning", |word| {
                !matches!(
                    word.as_str(),
                    "true" | "yes" | "on" | "false" | "no" | "off"
                )
            })
            .prop_map(Kind::Text),
        "\\PC{0,12}".prop_map(Kind::Text),
        any::<i64>().prop_map(|number| Kind::Integer(number.max(-i64::MAX))),
        any::<bool>().prop_map(Kind::Bool),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let at = Position {
        file: Arc::from(Path::new("")),
        line: 0,
        column: 0,
    };
    let value = move |kind| Value {
        at: at.clone(),
        kind,
    };
    scalar().prop_recursive(4, 40, 6, move |inner| {
        let (one, two) = (value.clone(), value.clone());
        prop_oneof![
            proptest::collection::vec(inner.clone().prop_map(one), 0..6).prop_map(Kind::Array),
            proptest::collection::vec(("[a-z]{1,6}", inner.prop_map(two)), 0..6).prop_map(|list| {
                let mut map = Map::default();
                for (key, value) in list {
                    map.insert(Entry {
                        key,
                        at: value.at.clone(),
                        value,
                        used: false,
                    });
                }
                Kind::Map(map)
            }),
        ]
    })
}

/// Writes a tree in one of the many styles the language allows; `style` decides at each step.
fn write(kind: &Kind, style: &mut impl FnMut() -> usize, to: &mut String) {
    match kind {
        Kind::Text(text) => {
            let plain = !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"_./:-".contains(&byte))
                && text.starts_with(|letter: char| letter.is_ascii_lowercase())
                && !text.contains("//")
                && !matches!(
                    text.as_str(),
                    "true" | "yes" | "on" | "false" | "no" | "off"
                );
            if plain && style().is_multiple_of(2) {
                to.push_str(text);
            } else if !text.contains('\'') && style().is_multiple_of(2) {
                to.push_str(&format!("'{text}'"));
            } else {
                to.push_str(&format!(
                    "\"{}\"",
                    text.replace('\\', "\\\\").replace('"', "\\\"")
                ));
            }
        }
        Kind::Integer(number) => to.push_str(&number.to_string()),
        Kind::Bool(true) => to.push_str(["true", "yes", "ON"][style() % 3]),
        Kind::Bool(false) => to.push_str(["false", "No", "off"][style() % 3]),
        Kind::Array(items) => {
            to.push_str("[ ");
            for item in items {
                write(&item.kind, style, to);
                to.push_str([", ", "\n", " # note\n", ",\n"][style() % 4]);
            }
            to.push(']');
        }
        Kind::Map(map) => {
            to.push('{');
            entries(map, style, to);
            to.push('}');
        }
        Kind::Float(_) | Kind::Date(_) => {}
    }
}

fn entries(map: &Map, style: &mut impl FnMut() -> usize, to: &mut String) {
    for entry in map.entries() {
        if style().is_multiple_of(3) {
            to.push_str(&format!("\"{}\"", entry.key));
        } else {
            // Quoted where it would be a statement.
            let bare = entry.key != "include";
            to.push_str(&if bare {
                entry.key.clone()
            } else {
                format!("'{}'", entry.key)
            });
        }
        to.push_str([": ", " = ", " ", " :\t"][style() % 4]);
        write(&entry.value.kind, style, to);
        to.push_str(["\n", ", ", ";", " // note\n", "\r\n"][style() % 5]);
    }
}

proptest! {
    #[test]
    fn what_is_written_in_any_style_is_read_back(kind in kind(), dice in proptest::collection::vec(0..60usize, 1..50)) {
        let mut at = 0;
        let mut style = || { at += 1; dice[at % dice.len()] };
        let mut text = String::new();
        let Kind::Map(map) = kind else { return Ok(()) };
        entries(&map, &mut style, &mut text);
        let read = tree(&text);
        prop_assert_eq!(read, Ok(json(&Kind::Map(map))), "{}", text);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,60}") {
        let _ = tree(&text);
    }

    #[test]
    fn no_soup_of_its_own_words_breaks_it(words in proptest::collection::vec(
        prop_oneof![Just("{"), Just("}"), Just("["), Just("]"), Just("("), Just(")"), Just("\n"), Just(","),
            Just(":"), Just("="), Just("\""), Just("'"), Just("$A"), Just("a"), Just("1"), Just("#"), Just("//"),
            Just("include"), Just("\\"), Just(" "), Just("é")], 0..40)) {
        let source = Memory {
            variables: [("A".to_owned(), "{ a: [$A] }".to_owned())].into(),
            ..Memory::default()
        };
        let _ = tree_from(&words.concat(), &source);
    }
}

#[test]
fn variables_that_repeat_each_other_stay_bounded() {
    let mut text = String::from("v0: [1, 1, 1, 1, 1, 1, 1, 1]\n");
    for level in 1..40 {
        let before = format!("$v{}", level - 1);
        text.push_str(&format!(
            "v{level}: [{}]\n",
            [before.as_str(); 8].join(", ")
        ));
    }
    let error = tree(&text).unwrap_err();
    assert!(error.contains(":7:"), "{error}");
    assert!(error.contains("more values than anybody writes"), "{error}");
    let source = Memory {
        variables: [("A".to_owned(), "[$A, $A, $A, $A]".to_owned())].into(),
        ..Memory::default()
    };
    tree_from("a: $A", &source).unwrap_err();
}

#[test]
fn a_number_beyond_all_bounds_is_refused() {
    let error = tree(&format!("a: {}.5", "9".repeat(400))).unwrap_err();
    assert!(error.contains("too large"), "{error}");
}

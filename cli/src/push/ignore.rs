//! `.cfignore`: which files stay at home.
//!
//! One glob per line; blank lines are skipped; a leading `!` takes files back in; the last pattern
//! that matches decides. A pattern without a leading `/` matches at any depth, and every pattern
//! covers the whole subtree below what it matches. `*` and `?` stay within one name, `**` crosses
//! directories, `[a-z]` and `[!a-z]` are classes, `\` takes the next character as it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Never sent unless a `!` line takes them back in.
const BUILT_IN: &str = ".cfignore\n/manifest.yml\n.gitignore\n.git\n.hg\n.svn\n_darcs\n.DS_Store\n";
/// Largest ignore file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    exclude: bool,
    pattern: Pattern,
}

/// A glob as a row of steps; matching walks all ways through them at once, so no pattern takes
/// longer than its length times the path's.
#[derive(Debug, Clone)]
struct Pattern {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Exactly(char),
    /// `?`
    One,
    /// `*`
    Some,
    /// `**`
    Deep,
    /// `**/`: any number of whole directories, none included.
    Directories,
    /// `[…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

// === impl Ignore ===

impl Ignore {
    /// The rules of a folder: the built-in ones and its `.cfignore`.
    pub(crate) fn of_folder(folder: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        match File::open(folder.join(".cfignore")) {
            Ok(file) => {
                if file.take(LARGEST_FILE + 1).read_to_end(&mut text)? as u64 > LARGEST_FILE {
                    return Err(io::Error::new(
                        io::ErrorKind::FileTooLarge,
                        "larger than 1 MiB",
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self::new(&String::from_utf8_lossy(&text)))
    }

    pub(crate) fn new(text: &str) -> Self {
        let rules = BUILT_IN
            .lines()
            .chain(text.lines())
            .filter_map(Rule::read)
            .collect();
        Self { rules }
    }

    /// Whether a path, relative to the folder and with `/` between names, stays at home.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let decides = self
            .rules
            .iter()
            .rev()
            .find(|rule| rule.pattern.covers(path));
        decides.is_some_and(|rule| rule.exclude)
    }

    /// Whether something below an excluded folder may still be taken back in.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| !rule.exclude)
    }
}

// === impl Rule ===

impl Rule {
    fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        let (exclude, glob) = match line.strip_prefix('!') {
            Some(glob) => (false, glob),
            None => (true, line),
        };
        Pattern::read(glob).map(|pattern| Self { exclude, pattern })
    }
}

// === impl Pattern ===

impl Pattern {
    fn read(glob: &str) -> Option<Self> {
        let rooted = glob.starts_with('/');
        let names: Vec<&str> = glob
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .collect();
        if names.is_empty() {
            return None;
        }
        let mut steps = Vec::new();
        if !rooted {
            steps.push(Step::Directories);
        }
        for (index, name) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            if *name == "**" && !last {
                steps.push(Step::Directories);
                continue;
            }
            steps.extend(steps_of(name));
            if !last {
                steps.push(Step::Exactly('/'));
            }
        }
        Some(Self { steps })
    }

    /// Whether it matches the path or a folder above it.
    fn covers(&self, path: &str) -> bool {
        let mut here = vec![false; self.steps.len() + 1];
        here[0] = true;
        let mut at_name_start = true;
        for letter in path.chars() {
            self.skip_optional(&mut here, at_name_start);
            if letter == '/' && self.is_through(&here) {
                return true;
            }
            here = self.advance(&here, letter);
            at_name_start = letter == '/';
        }
        self.skip_optional(&mut here, at_name_start);
        self.is_through(&here)
    }

    fn is_through(&self, here: &[bool]) -> bool {
        here.last().copied().unwrap_or(false)
    }

    /// Steps that may match nothing let one pass to the next.
    fn skip_optional(&self, here: &mut [bool], at_name_start: bool) {
        for (index, step) in self.steps.iter().enumerate() {
            let optional = match step {
                Step::Some | Step::Deep => true,
                Step::Directories => at_name_start,
                _ => false,
            };
            if here[index] && optional {
                here[index + 1] = true;
            }
        }
    }

    fn advance(&self, here: &[bool], letter: char) -> Vec<bool> {
        let mut next = vec![false; here.len()];
        for (index, step) in self.steps.iter().enumerate() {
            if !here[index] {
                continue;
            }
            match step {
                Step::Deep | Step::Directories => next[index] = true,
                Step::Some => next[index] |= letter != '/',
                Step::One => next[index + 1] |= letter != '/',
                Step::Exactly(wanted) => next[index + 1] |= letter == *wanted,
                Step::Class { negated, ranges } => {
                    let inside = ranges
                        .iter()
                        .any(|(from, to)| (*from..=*to).contains(&letter));
                    next[index + 1] |= letter != '/' && inside != *negated;
                }
            }
        }
        next
    }
}

fn steps_of(name: &str) -> Vec<Step> {
    let letters: Vec<char> = name.chars().collect();
    let mut steps = Vec::new();
    let mut at = 0;
    while let Some(letter) = letters.get(at) {
        at += 1;
        let step = match letter {
            '?' => Step::One,
            '*' if letters.get(at) == Some(&'*') => {
                at += 1;
                Step::Deep
            }
            '*' => Step::Some,
            '\\' if at < letters.len() => {
                at += 1;
                Step::Exactly(letters[at - 1])
            }
            '[' => match class(&letters[at..]) {
                Some((class, length)) => {
                    at += length;
                    class
                }
                None => Step::Exactly('['),
            },
            other => Step::Exactly(*other),
        };
        steps.push(step);
    }
    steps
}

/// The class that starts behind `[`, and how many letters it takes with its `]`.
fn class(letters: &[char]) -> Option<(Step, usize)> {
    let negated = matches!(letters.first(), Some('!' | '^'));
    let start = usize::from(negated);
    // A `]` directly behind the opening belongs to the class.
    let end = start
        + 1
        + letters
            .get(start + 1..)?
            .iter()
            .position(|letter| *letter == ']')?;
    let mut ranges = Vec::new();
    let mut at = start;
    while at < end {
        if at + 2 < end && letters[at + 1] == '-' {
            ranges.push((letters[at], letters[at + 2]));
            at += 3;
        } else {
            ranges.push((letters[at], letters[at]));
            at += 1;
        }
    }
    Some((Step::Class { negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(rules: &str, excluded: &[&str], sent: &[&str]) {
        let ignore = Ignore::new(rules);
        for path in excluded {
            assert!(ignore.excludes(path), "{path} is sent by {rules:?}");
        }
        for path in sent {
            assert!(!ignore.excludes(path), "{path} is excluded by {rules:?}");
        }
    }

    #[test]
    fn version_control_and_our_own_files_stay_at_home() {
        check(
            "",
            &[
                ".git",
                ".git/config",
                "a/.git/x",
                ".cfignore",
                "manifest.yml",
                ".DS_Store",
                "x/.svn/y",
            ],
            &[
                "a/manifest.yml",
                "manifest.yaml",
                ".github/x",
                ".gitkeep",
                "_darcs2",
            ],
        );
    }

    #[test]
    fn a_pattern_without_a_slash_in_front_matches_at_any_depth() {
        check(
            "*.log",
            &["a.log", "x/y/a.log", "a.log/b"],
            &["a.logs", "log"],
        );
        check(
            "build",
            &["build", "build/x", "a/build/b/c"],
            &["builds", "a/rebuild"],
        );
        check("a/b", &["a/b", "x/a/b", "x/a/b/c"], &["a", "ab", "a/x/b"]);
    }

    #[test]
    fn a_slash_in_front_roots_a_pattern() {
        check("/build", &["build", "build/x"], &["a/build"]);
        check("/*.txt", &["a.txt"], &["x/a.txt"]);
    }

    #[test]
    fn a_slash_behind_changes_nothing() {
        check(
            "node_modules/",
            &["node_modules/a", "x/node_modules/a/b"],
            &["node_modules2/a"],
        );
    }

    #[test]
    fn stars_stay_in_a_name_and_double_stars_do_not() {
        check("/a/*.c", &["a/x.c"], &["a/b/x.c"]);
        check(
            "/a/**/x",
            &["a/x", "a/b/x", "a/b/c/x/y"],
            &["x", "b/a/x", "a/bx"],
        );
        check("/a/**", &["a/b", "a/b/c"], &["a", "b/a/c"]);
        check("**/tmp", &["tmp", "a/tmp/b"], &["tmpa"]);
        check("/x**y", &["xy", "x/a/y", "xay"], &["x"]);
        check("?.o", &["a.o", "x/b.o"], &["ab.o", "a/.o"]);
    }

    #[test]
    fn classes_and_escapes() {
        check("[a-c]1", &["a1", "c1"], &["d1", "1"]);
        check("[!a-c]1", &["d1"], &["a1", "/1"]);
        check("[]x]", &["]", "x"], &["y"]);
        check(r"\*", &["*"], &["a"]);
        check(r"\!x", &["!x"], &["x"]);
        check("[open", &["[open"], &["o"]);
    }

    #[test]
    fn the_last_match_decides_also_below_an_excluded_folder() {
        check(
            "logs\n!logs/keep.log",
            &["logs/a", "logs"],
            &["logs/keep.log"],
        );
        check("!*.log\n*.log", &["a.log"], &[]);
        check(
            "*\n!*.html\nsecret.html",
            &["a.css", "secret.html"],
            &["index.html", "a/b.html"],
        );
        check("!.git", &[], &[".git/config"]);
    }

    #[test]
    fn blank_lines_and_carriage_returns_do_not_matter() {
        check("\n  \n*.a\r\n\r\n  b  \n!\n/\n", &["x.a", "b"], &["c"]);
    }

    #[test]
    fn a_wild_pattern_takes_no_time() {
        let ignore = Ignore::new(&"*a".repeat(200));
        assert!(!ignore.excludes(&"a".repeat(150)));
    }

    proptest! {
        #[test]
        fn no_rules_and_no_path_make_it_panic(rules in "[-a-c*?!\\[\\]/\\\\.\n ^]{0,40}", path in "[a-c/.\\[\\]-]{0,20}") {
            let _ = Ignore::new(&rules).excludes(&path);
        }

        #[test]
        fn a_pattern_covers_the_subtree_of_what_it_matches(rule in "[a-c*?/]{1,10}", path in "[a-c]{1,3}(/[a-c]{1,3}){0,3}", below in "[a-c]{1,3}") {
            let ignore = Ignore::new(&rule);
            let child = format!("{path}/{below}");
            prop_assert!(!ignore.excludes(&path) || ignore.excludes(&child));
        }

        #[test]
        fn a_plain_path_excludes_exactly_its_subtree(path in "[a-c]{1,3}(/[a-c]{1,3}){0,2}", other in "[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
            let ignore = Ignore::new(&format!("/{path}"));
            let inside = other == path || other.starts_with(&format!("{path}/"));
            prop_assert_eq!(ignore.excludes(&other), inside);
        }

        #[test]
        fn taking_back_undoes_excluding(rule in "[a-c*?/\\[\\]]{1,10}", path in "[a-c/]{1,12}") {
            let both = format!("{rule}\n!{rule}");
            prop_assert!(!Ignore::new(&both).excludes(&path));
        }
    }
}

//! `/metrics`: the same numbers in the text format of Prometheus, version 0.0.4.

use std::fmt::{self, Write as _};

/// Metrics as they are written.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

/// How a number develops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Up and down.
    Gauge,
    /// Up only.
    Counter,
}

/// One number and the labels it has.
pub(crate) type Point<'a, N> = (&'a [(&'a str, &'a str)], N);

impl Page {
    /// Adds a metric with one number.
    pub(crate) fn one(&mut self, kind: Kind, name: &str, help: &str, number: impl fmt::Display) {
        self.many(kind, name, help, [(&[][..], number)]);
    }

    /// Adds a metric with numbers told apart by labels.
    pub(crate) fn many<'a, N: fmt::Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        points: impl IntoIterator<Item = Point<'a, N>>,
    ) {
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let text = &mut self.0;
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {word}\n"));
        for (labels, number) in points {
            text.push_str(name);
            for (index, (label, value)) in labels.iter().enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                // Writing into a String cannot fail.
                let _ = write!(text, "{label}=\"{}\"", Escaped(value));
            }
            if !labels.is_empty() {
                text.push('}');
            }
            let _ = writeln!(text, " {number}");
        }
    }

    /// All of it.
    pub(crate) fn text(self) -> String {
        self.0
    }
}

/// The value of a label: backslash, quote and line end would end it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_format_wants_it() {
        let mut page = Page::default();
        page.one(Kind::Gauge, "up", "Whether it is.", 1);
        page.many(
            Kind::Counter,
            "in_total",
            "Messages.",
            [
                (&[("account", "A"), ("way", "in")][..], 3u64),
                (&[("account", "\"B\\\n"), ("way", "in")][..], 4),
            ],
        );
        assert_eq!(
            page.text(),
            "# HELP up Whether it is.\n# TYPE up gauge\nup 1\n\
             # HELP in_total Messages.\n# TYPE in_total counter\n\
             in_total{account=\"A\",way=\"in\"} 3\n\
             in_total{account=\"\\\"B\\\\\\n\",way=\"in\"} 4\n"
        );
    }
}

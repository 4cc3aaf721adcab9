//! JSON inside a function call, for pages of other origins.

use super::query::BadRequest;

/// Longest name of a callback.
const LONGEST: usize = 64;

/// A name that is safe to be written into a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Callback<'a>(&'a str);

impl<'a> Callback<'a> {
    /// The callback of a request, if it has one.
    ///
    /// # Errors
    /// It is not a (dotted) name: it would run whatever somebody wrote into a link.
    pub(crate) fn new(text: &'a str) -> Result<Option<Self>, BadRequest> {
        if text.is_empty() {
            return Ok(None);
        }
        let good = text.len() <= LONGEST && text.split('.').all(is_identifier);
        if good {
            Ok(Some(Callback(text)))
        } else {
            Err(BadRequest::Callback)
        }
    }

    /// What stands before the JSON in a script that hands it to the callback; after it stands a `)`.
    pub(crate) fn head(self) -> String {
        format!("{}(", self.0)
    }
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_' || first == '$');
    first && chars.all(|next| next.is_ascii_alphanumeric() || next == '_' || next == '$')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn names_pass_and_code_does_not() {
        for good in ["f", "jQuery_12", "a.b.$c"] {
            let callback = Callback::new(good).unwrap().unwrap();
            assert_eq!(callback.head(), format!("{good}("));
        }
        assert_eq!(Callback::new("").unwrap(), None);
        for bad in [
            "alert(1)//",
            "a b",
            "1a",
            ".a",
            "a.",
            "a..b",
            "<x>",
            "a-b",
            &"x".repeat(65),
        ] {
            assert_eq!(Callback::new(bad), Err(BadRequest::Callback), "{bad}");
        }
    }
}

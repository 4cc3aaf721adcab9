//! The grammar: recursive descent over the text, with a bound on everything that recurses.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::value::{Entry, Kind, Map, Position, Value};
use super::{ConfError, DEPTH, INCLUDES, Problem, Source, VALUES, VARIABLES, scalar};

/// Parses one text; includes and variables get parsers of their own.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    file: Arc<Path>,
    source: &'a dyn Source,
    /// Maps that are open, outermost first: where variables are looked up.
    scopes: Vec<Map>,
    depth: usize,
    includes: usize,
    variables: usize,
    /// Values so far.
    values: usize,
    /// The last position asked for, from where the next one is counted on.
    mark: Cell<Mark>,
}

/// Where an entry stands.
#[derive(Clone, Copy)]
enum Level {
    File,
    Map,
}

#[derive(Clone, Copy, Default)]
struct Mark {
    at: usize,
    line: usize,
    line_start: usize,
}

// === impl Parser ===

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, path: &Path, source: &'a dyn Source) -> Self {
        Parser {
            text,
            at: 0,
            file: Arc::from(path),
            source,
            scopes: vec![Map::default()],
            depth: 0,
            includes: 0,
            variables: 0,
            values: 0,
            mark: Cell::default(),
        }
    }

    /// The whole text: entries, in braces or not.
    pub(super) fn file(mut self) -> Result<Map, ConfError> {
        self.entries_of_file()?;
        Ok(self.scopes.pop().unwrap_or_default())
    }

    /// The braces of a file are decoration: nobody minds when one is missing, or one too many closes it.
    fn entries_of_file(&mut self) -> Result<(), ConfError> {
        self.skip_to_entry()?;
        if self.peek() == Some('{') {
            self.bump();
        }
        loop {
            self.skip_to_entry()?;
            match self.peek() {
                None => return Ok(()),
                Some('}') => {
                    self.bump();
                }
                Some(_) => {
                    self.entry(Level::File)?;
                    self.end_of_entry()?;
                }
            }
        }
    }

    /// The entries of a map up to its end, into the innermost scope.
    fn entries(&mut self) -> Result<(), ConfError> {
        loop {
            self.skip_to_entry()?;
            match self.peek() {
                None => return Err(self.error(Problem::End("a map"))),
                Some('}') => {
                    self.bump();
                    return Ok(());
                }
                Some(_) => self.entry(Level::Map)?,
            }
            self.end_of_entry()?;
        }
    }

    fn entry(&mut self, level: Level) -> Result<(), ConfError> {
        let mut at = self.position();
        let quoted = matches!(self.peek(), Some('"' | '\''));
        at.column += usize::from(quoted);
        let key = self.key()?;
        self.skip_blanks();
        if !quoted && key.eq_ignore_ascii_case("include") && !matches!(self.peek(), Some(':' | '='))
        {
            return self.include();
        }
        self.skip_lines_and_comments()?;
        if matches!(self.peek(), Some(':' | '=')) {
            self.bump();
            match level {
                // What is left out here would be taken from the next line.
                Level::File => self.skip_blanks(),
                Level::Map => self.skip_lines_and_comments()?,
            }
            if self.peek() == Some('\n') {
                return Err(self.error(Problem::EndOfLine));
            }
        }
        let value = self.value()?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(Entry {
                key,
                at,
                value,
                used: false,
            });
        }
        Ok(())
    }

    /// An entry ends with its line, a separator, or the map.
    fn end_of_entry(&mut self) -> Result<(), ConfError> {
        self.skip_blanks();
        match self.peek() {
            None | Some('\n' | ',' | ';' | '#' | '}') => Ok(()),
            Some('/') if self.rest().starts_with("//") => Ok(()),
            Some(_) => Err(self.unexpected("the end of the entry")),
        }
    }

    fn key(&mut self) -> Result<String, ConfError> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let start = self.at;
                while let Some(letter) = self.peek() {
                    if letter.is_whitespace()
                        || matches!(
                            letter,
                            ':' | '=' | '{' | '}' | '[' | ']' | ',' | ';' | '#' | '"' | '\'' | '('
                        )
                    {
                        break;
                    }
                    self.bump();
                }
                if self.at == start {
                    return Err(self.unexpected("a key"));
                }
                Ok(self.text[start..self.at].to_owned())
            }
        }
    }

    fn value(&mut self) -> Result<Value, ConfError> {
        let mut at = self.position();
        // Of what is quoted or looked up, the first letter counts.
        at.column += usize::from(matches!(self.peek(), Some('"' | '\'' | '$')));
        self.values += 1;
        if self.values > VALUES {
            return Err(at.error(Problem::Size));
        }
        let kind = match self.peek() {
            None => return Err(self.error(Problem::End("a value"))),
            Some('{') => {
                self.bump();
                self.descend()?;
                self.scopes.push(Map::default());
                self.entries()?;
                self.depth -= 1;
                Kind::Map(self.scopes.pop().unwrap_or_default())
            }
            Some('[') => {
                self.bump();
                self.descend()?;
                let items = self.items()?;
                self.depth -= 1;
                Kind::Array(items)
            }
            Some('(') => Kind::Text(self.block()?),
            Some(quote @ ('"' | '\'')) => Kind::Text(self.quoted(quote)?),
            Some('}' | ']' | ')' | ',' | ';') => return Err(self.unexpected("a value")),
            Some(_) => {
                let word = self.word()?;
                match word.strip_prefix('$') {
                    Some(name) if !is_bcrypt(&word) => self.variable(name, &at)?,
                    _ => scalar::read(&word).map_err(|problem| at.error(problem))?,
                }
            }
        };
        Ok(Value { at, kind })
    }

    /// The items of an array, its bracket included. Commas or line ends stand between them.
    fn items(&mut self) -> Result<Vec<Value>, ConfError> {
        let mut items = Vec::new();
        let mut separated = true;
        loop {
            separated |= self.skip_blanks_and_lines()?;
            match self.peek() {
                None => return Err(self.error(Problem::End("an array"))),
                Some(']') => {
                    self.bump();
                    return Ok(items);
                }
                Some(',') if !separated => {
                    self.bump();
                    separated = true;
                }
                Some(_) if separated => {
                    items.push(self.value()?);
                    separated = false;
                }
                Some(_) => return Err(self.unexpected("a comma or the end of the array")),
            }
        }
    }

    fn word(&mut self) -> Result<String, ConfError> {
        let mut word = String::new();
        while let Some(letter) = self.peek() {
            if letter.is_whitespace() || matches!(letter, ',' | ';' | ']' | '}') {
                break;
            }
            self.bump();
            if letter == '\'' {
                break;
            }
            if letter == '\\' {
                word.push(self.escape("text")?);
            } else {
                word.push(letter);
            }
        }
        Ok(word)
    }

    /// Text in quotes: with escapes in double ones, as it stands in single ones.
    fn quoted(&mut self, quote: char) -> Result<String, ConfError> {
        self.bump();
        let mut bytes = Vec::new();
        loop {
            match self.bump() {
                None => return Err(self.error(Problem::End("quoted text"))),
                Some(letter) if letter == quote => break,
                Some('\\') if quote == '"' => {
                    if self.peek() == Some('x') {
                        self.bump();
                        bytes.push(self.hexadecimal()?);
                    } else {
                        let letter = self.escape("quoted text")?;
                        bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                Some(letter) => {
                    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            self.error(Problem::Unexpected {
                wanted: "text in UTF-8",
                found: "other bytes".to_owned(),
            })
        })
    }

    fn escape(&mut self, inside: &'static str) -> Result<char, ConfError> {
        match self.bump() {
            None => Err(self.error(Problem::End(inside))),
            Some('t') => Ok('\t'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some(letter @ ('"' | '\\')) => Ok(letter),
            Some(other) => Err(self.error(Problem::Escape(other))),
        }
    }

    fn hexadecimal(&mut self) -> Result<u8, ConfError> {
        let digits = self
            .rest()
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(byte) = digits else {
            return Err(self.error(Problem::Escape('x')));
        };
        self.at += 2;
        Ok(byte)
    }

    /// Raw text up to a line that is nothing but a `)`.
    fn block(&mut self) -> Result<String, ConfError> {
        self.bump();
        let start = self.at;
        let mut offset = 0;
        for line in self.rest().split_inclusive('\n') {
            if offset > 0 && line.trim_end_matches(['\r', '\n']) == ")" {
                self.at = start + offset + 1;
                return Ok(self.text[start..start + offset].to_owned());
            }
            offset += line.len();
        }
        self.at = self.text.len();
        Err(self.error(Problem::End("a block")))
    }

    // --- variables and includes ---

    fn variable(&mut self, name: &str, at: &Position) -> Result<Kind, ConfError> {
        let mut scopes = self.scopes.iter_mut().rev();
        if let Some(value) = scopes.find_map(|scope| scope.variable(name)) {
            let size = value.kind.size();
            let kind = (self.values + size <= VALUES).then(|| value.kind.clone());
            self.values += size;
            return kind.ok_or_else(|| at.error(Problem::Size));
        }
        let Some(text) = self.source.variable(name) else {
            return Err(at.error(Problem::Variable(name.to_owned())));
        };
        if self.variables >= VARIABLES {
            return Err(at.error(Problem::VariableCycle(name.to_owned())));
        }
        // The environment's text is read as a value would be here.
        let mut inner = Parser {
            text: &text,
            at: 0,
            file: Arc::clone(&self.file),
            source: self.source,
            scopes: std::mem::take(&mut self.scopes),
            depth: self.depth,
            includes: self.includes,
            variables: self.variables + 1,
            values: self.values,
            mark: Cell::default(),
        };
        let value = inner.only_value();
        self.scopes = inner.scopes;
        self.values = inner.values;
        value.map_err(|error| at.error(error.problem))
    }

    fn only_value(&mut self) -> Result<Kind, ConfError> {
        self.skip_lines_and_comments()?;
        if self.peek().is_none() {
            return Ok(Kind::Text(String::new()));
        }
        let value = self.value()?;
        self.skip_lines_and_comments()?;
        match self.peek() {
            None => Ok(value.kind),
            Some(_) => Err(self.unexpected("the end of the variable")),
        }
    }

    fn include(&mut self) -> Result<(), ConfError> {
        let at = self.position();
        let name = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.word()?,
        };
        if name.is_empty() {
            return Err(at.error(Problem::Unexpected {
                wanted: "a file to include",
                found: "nothing".to_owned(),
            }));
        }
        if self.includes >= INCLUDES {
            return Err(at.error(Problem::Includes));
        }
        let path: PathBuf = self
            .file
            .parent()
            .map_or_else(|| PathBuf::from(&name), |parent| parent.join(&name));
        let text = self.source.file(&path).map_err(|source| {
            at.error(Problem::File {
                path: path.clone(),
                source,
            })
        })?;
        let mut inner = Parser {
            text: &text,
            at: 0,
            file: Arc::from(path),
            source: self.source,
            scopes: std::mem::take(&mut self.scopes),
            depth: self.depth,
            includes: self.includes + 1,
            variables: self.variables,
            values: self.values,
            mark: Cell::default(),
        };
        let result = inner.entries_of_file();
        self.scopes = inner.scopes;
        self.values = inner.values;
        result
    }

    fn descend(&mut self) -> Result<(), ConfError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error(Problem::Depth));
        }
        Ok(())
    }

    // --- letters ---

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r')) {
            self.bump();
        }
    }

    /// Skips a comment, if one stands here.
    fn skip_comment(&mut self) -> bool {
        if !self.rest().starts_with('#') && !self.rest().starts_with("//") {
            return false;
        }
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        true
    }

    /// Skips blanks, line ends and comments; says whether there was a line end.
    fn skip_blanks_and_lines(&mut self) -> Result<bool, ConfError> {
        let mut lines = false;
        loop {
            match self.peek() {
                Some('\n') => lines = true,
                Some(letter) if letter.is_whitespace() => {}
                _ if self.skip_comment() => continue,
                _ => return Ok(lines),
            }
            self.bump();
        }
    }

    fn skip_lines_and_comments(&mut self) -> Result<(), ConfError> {
        self.skip_blanks_and_lines().map(|_| ())
    }

    /// Skips everything that may stand between entries.
    fn skip_to_entry(&mut self) -> Result<(), ConfError> {
        loop {
            self.skip_blanks_and_lines()?;
            match self.peek() {
                Some(',' | ';') => {
                    self.bump();
                }
                _ => return Ok(()),
            }
        }
    }

    fn position(&self) -> Position {
        let mut mark = self.mark.get();
        for (offset, byte) in self.text.as_bytes()[mark.at..self.at].iter().enumerate() {
            if *byte == b'\n' {
                mark.line += 1;
                mark.line_start = mark.at + offset + 1;
            }
        }
        mark.at = self.at;
        self.mark.set(mark);
        let column = self.at - mark.line_start + usize::from(mark.line > 0);
        let line = mark.line + 1;
        Position {
            file: Arc::clone(&self.file),
            line,
            column,
        }
    }

    fn error(&self, problem: Problem) -> ConfError {
        self.position().error(problem)
    }

    fn unexpected(&self, wanted: &'static str) -> ConfError {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some(letter) => format!("{letter:?}"),
        };
        self.error(Problem::Unexpected { wanted, found })
    }
}

/// Bcrypt hashes begin with a dollar sign and are no variables.
fn is_bcrypt(word: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

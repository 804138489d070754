//! The text in which LVM keeps its metadata: sections in braces, and keys with numbers, strings and lists of them.
//!
//! It knows the grammar only; what sections and keys mean is `group`'s.

use super::error::{Result, VolumeError};

/// Sections lie five deep: group, list of volumes, volume, segment, message.
const MAX_DEPTH: usize = 8;
/// Names, values and marks of a text: some thousand volumes have a few hundred thousand. Each takes several times its length in memory.
const MAX_WORDS: u64 = 2 << 20;

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::List(_) => None,
        }
    }
}

/// Keys and sections in braces, or the whole text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// In the order of the text.
    pub(crate) values: Vec<(String, Value)>,
    /// In the order of the text.
    pub(crate) sections: Vec<(String, Section)>,
}

impl Section {
    /// Reads a whole text. It ends at a zero byte, as the tools end it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.split('\0').next().unwrap_or_default();
        let mut open = vec![(String::new(), Self::default())];
        let mut words = Words { rest: text, line: 1, taken: 0 };
        while let Some(word) = words.next()? {
            match word {
                Word::Mark('}') if open.len() > 1 => {
                    let (name, section) = open.pop().unwrap_or_default();
                    let Some((_, outer)) = open.last_mut() else { return Err(words.error()) };
                    outer.sections.push((name, section));
                }
                Word::Bare(name) => match words.next()? {
                    Some(Word::Mark('{')) if open.len() < MAX_DEPTH => open.push((name.to_owned(), Self::default())),
                    Some(Word::Mark('=')) => {
                        let value = words.value()?;
                        let Some((_, section)) = open.last_mut() else { return Err(words.error()) };
                        section.values.push((name.to_owned(), value));
                    }
                    _ => return Err(words.error()),
                },
                _ => return Err(words.error()),
            }
        }
        match open.pop() {
            Some((_, section)) if open.is_empty() => Ok(section),
            _ => Err(words.error()),
        }
    }

    /// The only value of this key; a key that stands twice contradicts itself.
    pub(crate) fn value(&self, key: &str) -> Result<Option<&Value>> {
        let mut found = self.values.iter().filter(|(name, _)| name == key).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (value, None) => Ok(value),
            _ => Err(VolumeError::corrupt(format!("the metadata has `{key}` twice in one section"))),
        }
    }

    /// The only section of this name.
    pub(crate) fn section(&self, name: &str) -> Result<Option<&Self>> {
        let mut found = self.sections.iter().filter(|(n, _)| n == name).map(|(_, section)| section);
        match (found.next(), found.next()) {
            (section, None) => Ok(section),
            _ => Err(VolumeError::corrupt(format!("the metadata has the section `{name}` twice"))),
        }
    }

    /// A number that cannot be negative.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>> {
        let wrong = || VolumeError::corrupt(format!("`{key}` in the metadata is no size"));
        match self.value(key)? {
            None => Ok(None),
            Some(Value::Number(number)) => u64::try_from(*number).map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// A number that has to be there.
    pub(crate) fn needed_number(&self, key: &str) -> Result<u64> {
        self.number(key)?.ok_or_else(|| VolumeError::corrupt(format!("`{key}` is missing in the metadata")))
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.value(key)? {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(VolumeError::corrupt(format!("`{key}` in the metadata is no text"))),
        }
    }

    /// A string that has to be there.
    pub(crate) fn needed_text(&self, key: &str) -> Result<&str> {
        self.text(key)?.ok_or_else(|| VolumeError::corrupt(format!("`{key}` is missing in the metadata")))
    }

    /// A list; a single value is a list of one, and none an empty list.
    pub(crate) fn list(&self, key: &str) -> Result<&[Value]> {
        Ok(match self.value(key)? {
            None => &[],
            Some(Value::List(list)) => list,
            Some(single) => std::slice::from_ref(single),
        })
    }

    /// A list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&str>> {
        let texts: Option<Vec<&str>> = self.list(key)?.iter().map(Value::as_text).collect();
        texts.ok_or_else(|| VolumeError::corrupt(format!("`{key}` in the metadata is no list of texts")))
    }
}

/// The smallest parts of the text.
#[derive(PartialEq, Eq)]
enum Word<'a> {
    /// A name or a number.
    Bare(&'a str),
    /// A string without its quotes and escapes.
    Quoted(String),
    /// One of `{ } = [ ] ,`.
    Mark(char),
}

struct Words<'a> {
    rest: &'a str,
    line: u64,
    taken: u64,
}

impl<'a> Words<'a> {
    fn error(&self) -> VolumeError {
        VolumeError::corrupt(format!("line {} of the metadata is not understood", self.line))
    }

    fn next(&mut self) -> Result<Option<Word<'a>>> {
        self.skip_blanks();
        self.taken += 1;
        if self.taken > MAX_WORDS {
            return Err(VolumeError::Limit { what: "the metadata of a volume group", limit: MAX_WORDS });
        }
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if first == '"' {
            return self.quoted().map(Some);
        }
        if matches!(first, '{' | '}' | '=' | '[' | ']' | ',') {
            self.rest = &self.rest[first.len_utf8()..];
            return Ok(Some(Word::Mark(first)));
        }
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-'));
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(self.error());
        }
        self.rest = rest;
        Ok(Some(Word::Bare(word)))
    }

    /// Blanks, ends of lines, and comments.
    fn skip_blanks(&mut self) {
        loop {
            let trimmed = self.rest.trim_start();
            let skipped = &self.rest[..self.rest.len() - trimmed.len()];
            self.line += skipped.bytes().filter(|b| *b == b'\n').count() as u64;
            self.rest = trimmed;
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
        }
    }

    fn quoted(&mut self) -> Result<Word<'a>> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    // A description may hold the command that somebody typed, over several lines.
                    self.line += text.bytes().filter(|b| *b == b'\n').count() as u64;
                    self.rest = &self.rest[at + 1..];
                    return Ok(Word::Quoted(text));
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(self.error())
    }

    fn value(&mut self) -> Result<Value> {
        match self.next()? {
            Some(Word::Mark('[')) => self.list(),
            Some(word) => self.single(word),
            None => Err(self.error()),
        }
    }

    fn single(&self, word: Word<'a>) -> Result<Value> {
        match word {
            Word::Quoted(text) => Ok(Value::Text(text)),
            Word::Bare(number) => number.parse().map(Value::Number).map_err(|_| self.error()),
            Word::Mark(_) => Err(self.error()),
        }
    }

    /// Lists do not hold lists.
    fn list(&mut self) -> Result<Value> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Some(Word::Mark(']')) if list.is_empty() => return Ok(Value::List(list)),
                Some(word) => list.push(self.single(word)?),
                None => return Err(self.error()),
            }
            match self.next()? {
                Some(Word::Mark(',')) => {}
                Some(Word::Mark(']')) => return Ok(Value::List(list)),
                _ => return Err(self.error()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Section, Value};

    #[test]
    fn sections_values_comments_and_escapes_are_read() {
        let text = "vg {\n\tid = \"a\" # comment \"}\"\n\tempty = []\n list = [\n\"x\", 5\n]\n a-b {\n c = -3 } }\n# end\nnote = \"\\\"\\\\\"\n\0rest {";
        let root = Section::parse(text).unwrap();
        assert_eq!(root.text("note").unwrap(), Some("\"\\"));
        let vg = root.section("vg").unwrap().unwrap();
        assert_eq!(vg.text("id").unwrap(), Some("a"));
        assert_eq!(vg.list("empty").unwrap(), []);
        assert_eq!(vg.list("list").unwrap(), [Value::Text("x".into()), Value::Number(5)]);
        let inner = vg.section("a-b").unwrap().unwrap();
        assert_eq!(inner.value("c").unwrap(), Some(&Value::Number(-3)));
        assert!(inner.number("c").is_err(), "a size is never negative");
    }

    #[test]
    fn a_text_of_too_many_words_is_given_up() {
        let long = format!("a = [{}1]", "1,".repeat(1 << 20));
        assert!(Section::parse(&long).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn a_string_may_go_over_lines() {
        let root = Section::parse("description = \"a\nb\"\n=").unwrap_err();
        assert!(root.to_string().contains("line 3"), "{root}");
        assert_eq!(Section::parse("d = \"a\nb\"").unwrap().text("d").unwrap(), Some("a\nb"));
    }

    #[test]
    fn a_text_that_is_cut_or_contradicts_itself_is_refused() {
        for text in [
            "a {",
            "}",
            "a = ",
            "a = [1",
            "a = [1,]",
            "a = [[1]]",
            "a = \"x",
            "= 1",
            "a b",
            "a = 1x",
            "a {} }",
            "é = 1",
        ] {
            assert!(Section::parse(text).is_err(), "{text}");
        }
        assert!(Section::parse(&"a {".repeat(20)).is_err(), "too deep");
        let twice = Section::parse("a = 1\na = 2\nb {}\nb {}").unwrap();
        assert!(twice.value("a").is_err() && twice.section("b").is_err());
        assert!(Section::parse(&"a {\n".repeat(2)).unwrap_err().to_string().contains("line 3"));
    }
}

//! What is searched for: a part of a name, or a pattern with `*` and `?`; capital and small letters are the same.

use anyhow::{Result, ensure};

/// Most characters of a pattern.
pub const MAX_CHARACTERS: usize = 256;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    letters: Vec<char>,
    /// Whether `*` and `?` stand for others, and the whole name has to fit.
    is_glob: bool,
    /// Whether it is compared with whole paths: it has a slash.
    is_path: bool,
}

impl Pattern {
    /// From what a person wrote.
    pub fn new(text: &str) -> Result<Self> {
        let letters: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        ensure!(!letters.is_empty(), "say which name is searched for");
        ensure!(letters.len() <= MAX_CHARACTERS, "a name to search for has at most {MAX_CHARACTERS} characters");
        Ok(Self { is_glob: text.contains(['*', '?']), is_path: text.contains('/'), letters })
    }

    /// Whether a path, without a slash in front, is one that is searched for. `room` is used and returned for the next.
    pub fn fits(&self, path: &[u8], room: &mut Vec<char>) -> bool {
        room.clear();
        let subject = match (self.is_path, path.iter().rposition(|byte| *byte == b'/')) {
            (false, Some(slash)) => &path[slash + 1..],
            _ => path,
        };
        if self.is_path {
            room.push('/');
        }
        if subject.is_ascii() {
            room.extend(subject.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        } else {
            room.extend(String::from_utf8_lossy(subject).chars().flat_map(char::to_lowercase));
        }
        match self.is_glob {
            true => glob(&self.letters, room),
            false => room.windows(self.letters.len()).any(|part| part == self.letters),
        }
    }
}

/// `*` stands for any characters, `?` for one. Goes back to the last `*` only, so it takes the product of both lengths at most.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((star_at, matched)) => {
                    star = Some((star_at, matched + 1));
                    at = star_at + 1;
                    seen = matched + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().fits(path.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn a_part_of_a_name_is_found_whatever_the_case() {
        assert!(fits("HOST", "etc/hostname") && fits("name", "etc/HostName") && fits("ärger", "x/Viel ÄRGER"));
        assert!(!fits("etc", "etc/hostname"), "it is the name that counts, not the directory");
        assert!(fits("etc/host", "etc/hostname") && fits("/etc", "etc/hostname") && !fits("/host", "x/y/ghost"));
        let odd = Pattern::new("b").unwrap();
        assert!(odd.fits(b"dir/a\xffb", &mut Vec::new()) && !odd.fits(b"b/a\xff", &mut Vec::new()));
    }

    #[test]
    fn a_pattern_has_to_fit_the_whole_name() {
        assert!(fits("*.conf", "etc/nginx/NGINX.conf") && !fits("*.conf", "etc/nginx.conf.d"));
        assert!(fits("h?st*", "etc/hostname") && !fits("h?st", "etc/hostname") && !fits("?", "etc/ab"));
        assert!(fits("/etc/*/x*y", "etc/a/b/xzy") && fits("*", "a") && fits("a*b*c", "a/aXbXbXc"));
        assert!(!fits("a*b*c", "aXbXb"));
    }

    #[test]
    fn nothing_and_too_much_is_not_searched_for() {
        assert!(Pattern::new("").is_err() && Pattern::new(&"x".repeat(MAX_CHARACTERS + 1)).is_err());
        let stars = "*a".repeat(128);
        assert!(!fits(&stars, &"a".repeat(120)), "it ends");
    }
}

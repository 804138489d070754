//! Where a repository lies in object storage: `s3://BUCKET[/PREFIX]`.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Longest prefix: keys of the format are at most 130 bytes, those of S3 1024.
const MAX_PREFIX_BYTES: usize = 512;

/// A bucket, and the part of it below which the repository's objects lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Address {
    bucket: String,
    /// Without a slash at either end; empty for the whole bucket.
    prefix: String,
}

impl S3Address {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Name in the bucket of the object with this key of the store.
    pub fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// Key of the object with this name, if it lies below the prefix.
    pub fn key<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.prefix.is_empty() { Some(name) } else { name.strip_prefix(&self.prefix)?.strip_prefix('/') }
    }
}

impl FromStr for S3Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::NoSuch(format!("{text:?} is no place in object storage: {why}. Write s3://BUCKET/PREFIX")))
        };
        let Some(rest) = text.strip_prefix("s3://") else { return refuse("it does not begin with s3://") };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return refuse("a secret in an address is seen by everybody; give keys by AWS_ACCESS_KEY_ID or a profile");
        }
        let in_bucket = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(in_bucket) {
            return refuse("a bucket's name is 3 to 63 of the characters a-z, 0-9, - and .");
        }
        let prefix = prefix.trim_end_matches('/');
        let in_prefix = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let sound = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(in_prefix);
        if !prefix.is_empty() && !prefix.split('/').all(sound) {
            return refuse("the parts of a prefix are made of letters, digits, -, _ and ., with one / between them");
        }
        if prefix.len() > MAX_PREFIX_BYTES {
            return refuse("the prefix is longer than 512 bytes");
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for S3Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_bucket_and_perhaps_a_prefix() {
        for (text, bucket, name) in [
            ("s3://backups", "backups", "config"),
            ("s3://backups/", "backups", "config"),
            ("s3://backups/home/nas_1", "backups", "home/nas_1/config"),
            ("s3://backups/home/", "backups", "home/config"),
        ] {
            let address: S3Address = text.parse().unwrap();
            assert_eq!((address.bucket(), address.name("config").as_str()), (bucket, name), "{text}");
            assert_eq!(address.key(name), Some("config"), "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn names_of_neighbours_are_not_its_own() {
        let address: S3Address = "s3://backups/home".parse().unwrap();
        assert_eq!(address.key("homes/config"), None);
        assert_eq!(address.key("other/config"), None);
        assert_eq!(address.key("home"), None);
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for text in [
            "",
            "s3:/x",
            "s3://",
            "s3://ab",
            "s3://Upper",
            "s3://b_b",
            "s3://key:secret@bucket",
            "s3://backups//x",
            "s3://backups/../x",
            "s3://backups/a b",
            "s3://backups/a?b",
            "/srv/backups",
        ] {
            let error = text.parse::<S3Address>().unwrap_err().to_string();
            assert!(error.contains("s3://BUCKET"), "{text}: {error}");
        }
    }
}

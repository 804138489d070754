//! A zstd level as an option's value.

use clap::builder::TypedValueParser;
use repo_format::codec::LEVELS;

/// Takes the levels that the format allows.
pub fn parser() -> impl TypedValueParser<Value = i32> {
    clap::value_parser!(i32).try_map(|level| match LEVELS.contains(&level) {
        true => Ok(level),
        false => Err(format!("allowed is {} to {}", LEVELS.start(), LEVELS.end())),
    })
}

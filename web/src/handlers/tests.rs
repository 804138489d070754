//! Stories about people: how they get in, what they change, and what is refused. Each file one noun.

mod account;
mod alerts;
mod events;
mod jobs;
mod keeping;
mod log_in;
mod objects;
mod plans;
mod resources;
mod retention;

//! Who somebody is and what they may do: passwords, one-time codes, sessions, tokens, roles, and the brake on guessing.
//!
//! Decisions only; what is stored is in `db`, what travels over HTTP in `http` and `handlers`.

pub mod caller;
pub mod log_in_link;
pub mod name;
pub mod need;
pub mod password;
pub mod role;
pub mod secret;
pub mod session;
pub mod throttle;
pub mod totp;

//! What stands between the network and the handlers: errors, access, CSRF, limits, bodies, pages, ETags, repeated requests.

pub mod access;
pub mod acting;
pub mod agent;
pub mod asker;
pub mod body;
pub mod cookie;
pub mod csrf;
pub mod cursor;
pub mod error;
pub mod etag;
pub mod headers;
pub mod idempotency;
pub mod limits;
pub mod peer;
pub mod reading_lease;
pub mod request;

pub use acting::Acting;
pub use agent::AgentCaller;
pub use asker::Asker;
pub use body::Body;
pub use error::{ApiError, ApiResult};

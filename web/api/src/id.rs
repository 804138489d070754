//! Identifiers: each noun has its own type, so that a token's id can never be used where a user's belongs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one. Later ones sort after earlier ones, so lists page in order of making.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(/// Names a person's account.
    UserId);
id!(/// Names a log-in that is still valid.
    SessionId);
id!(/// Names an API token.
    TokenId);
id!(/// Names a one-time log-in link.
    LogInLinkId);
id!(/// Names an agent.
    AgentId);
id!(/// Names the way of one machine to becoming an agent.
    EnrolmentId);
id!(/// Names a repository that the server keeps.
    RepositoryId);
id!(/// Names a plan.
    PlanId);
id!(/// Names a job.
    JobId);
id!(/// Names the time for which a job is one agent's.
    LeaseId);
id!(/// Names a question about files that somebody waits for.
    QuestionId);
id!(/// Names an alert.
    AlertId);
id!(/// Names a place that alerts go to.
    AlertChannelId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form_and_sort_by_age() {
        let (first, second) = (UserId::generate(), UserId::generate());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<UserId>().unwrap(), first);
        assert_eq!(serde_json::to_value(first).unwrap(), serde_json::json!(first.to_string()));
    }

    #[test]
    fn ids_refuse_other_texts() {
        for text in ["", "0", "../users", "00000000-0000-0000-0000-00000000000g"] {
            assert!(text.parse::<UserId>().is_err(), "{text:?}");
        }
    }
}

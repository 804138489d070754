//! Who makes a request: a person by session, or a token on behalf of one.

use super::need::Need;
use super::role;
use web_api::id::{SessionId, TokenId, UserId};
use web_api::role::{Right, Role};

/// Who is behind a request. Made by `http::access` only.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account.
    pub user_id: UserId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// How it proved to be that account.
    pub via: Via,
}

/// How a caller proved who it is.
#[derive(Clone, Debug)]
pub enum Via {
    /// A browser's session.
    Session {
        /// The session.
        id: SessionId,
        /// What has to come with every change.
        csrf_token: String,
    },
    /// A script's token.
    Token {
        /// The token.
        id: TokenId,
        /// What it is limited to.
        rights: Vec<Right>,
    },
}

impl Caller {
    /// Whether it has what a route asks for.
    pub fn meets(&self, need: Need) -> bool {
        match (need, &self.via) {
            (Need::Nothing, _) | (Need::Person, Via::Session { .. }) | (Need::Token, Via::Token { .. }) => true,
            (Need::Agent, _) | (Need::Person, Via::Token { .. }) | (Need::Token, Via::Session { .. }) => false,
            (Need::Objects, _) => self.may(Right::Restore),
            (Need::Right(right), _) => self.may(right),
        }
    }

    /// Whether it has a right: its role includes it, and so does the token where it came with one.
    pub fn may(&self, right: Right) -> bool {
        let in_scope = match &self.via {
            Via::Session { .. } => true,
            Via::Token { rights, .. } => rights.contains(&right),
        };
        in_scope && role::includes(self.role, right)
    }

    /// The session, where there is one.
    pub fn session_id(&self) -> Option<SessionId> {
        match self.via {
            Via::Session { id, .. } => Some(id),
            Via::Token { .. } => None,
        }
    }

    /// The token, where there is one.
    pub fn token_id(&self) -> Option<TokenId> {
        match self.via {
            Via::Session { .. } => None,
            Via::Token { id, .. } => Some(id),
        }
    }

    /// As the audit log names it.
    pub fn actor(&self) -> String {
        match &self.via {
            Via::Session { .. } => self.name.clone(),
            Via::Token { id, .. } => format!("{} by token {id}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, via: Via) -> Caller {
        Caller { user_id: UserId::generate(), name: "ada".into(), role, via }
    }

    #[test]
    fn a_token_never_may_more_than_its_owner_at_this_moment() {
        let rights = vec![Right::Read, Right::Users];
        let demoted = caller(Role::Viewer, Via::Token { id: TokenId::generate(), rights });
        assert!(demoted.meets(Need::Right(Right::Read)));
        assert!(!demoted.meets(Need::Right(Right::Users)));
    }

    #[test]
    fn a_token_never_stands_for_a_person() {
        let rights = Right::ALL.to_vec();
        let token = caller(Role::Admin, Via::Token { id: TokenId::generate(), rights });
        assert!(!token.meets(Need::Person));
        let session = Via::Session { id: SessionId::generate(), csrf_token: String::new() };
        assert!(caller(Role::Viewer, session).meets(Need::Person));
    }
}

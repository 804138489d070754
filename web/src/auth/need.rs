//! What a route asks of its caller. Every route declares one (`router.rs`).

use web_api::role::Right;

/// What a caller must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing: the route is for everybody who reaches the server.
    Nothing,
    /// A person's session. No token will do: it is about logging in itself, which a token must not change.
    Person,
    /// A token. It is about that very token, such as its end.
    Token,
    /// A machine, or a person or token with the right to restore: a repository's objects. What each may do there is `repo_format::gate`'s to say.
    Objects,
    /// An agent's secret. It opens the way to the objects of one repository and to nothing else.
    Agent,
    /// A session whose role, or a token whose scope and owner's role, include the right.
    Right(Right),
}

impl Need {
    /// As the OpenAPI document names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Person => "person",
            Self::Token => "token",
            Self::Objects => "agent or restore",
            Self::Agent => "agent",
            Self::Right(right) => right.name(),
        }
    }
}

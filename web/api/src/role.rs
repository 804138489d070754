//! Roles of people and the rights that routes ask for. Which role has which right is the server's to say (`auth/role.rs`).

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:tt,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $kind {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in JSON and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The one of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use names;

names! {
    /// What a person is here for.
    Role {
        /// Sees everything but people and the audit log, changes nothing.
        Viewer = "viewer",
        /// Runs and edits what makes backups.
        Operator = "operator",
        /// Restores, and sees what can be restored.
        Restorer = "restorer",
        /// Everything, people and keys included.
        Admin = "admin",
    }
}

names! {
    /// What a route may ask for and what a token may be limited to.
    Right {
        /// See machines, points, plans, jobs, settings and events.
        Read = "read",
        /// Edit plans, run and end jobs.
        Operate = "operate",
        /// Read what was backed up and write it back.
        Restore = "restore",
        /// Add repositories, make and revoke agents.
        Agents = "agents",
        /// Make, change and remove people's accounts, sessions and tokens.
        Users = "users",
        /// Read and verify the audit log.
        Audit = "audit",
        /// Change the server's settings and where alerts go.
        Settings = "settings",
    }
}

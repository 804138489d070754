//! Options for a repository behind a server: the token, whom to trust, how long to wait.

use super::console::Console;
use super::failure::{Code, Failure};
use super::secrets;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a server that cannot be reached is asked again by default: a restart or an upgrade is over by then.
const DEFAULT_PATIENCE_S: u64 = 600;

/// How a server is spoken to.
#[derive(clap::Args)]
pub struct ServerOptions {
    /// File with the token for the server (or set ICECORE_TOKEN)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Repositories behind a server")]
    pub token_file: Option<PathBuf>,
    /// Certificate authority of the server, when the system does not know it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ICECORE_CA_FILE",
        hide_env_values = true,
        help_heading = "Repositories behind a server"
    )]
    pub ca_file: Option<PathBuf>,
    /// How long a server or object storage that cannot be reached is asked again, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = DEFAULT_PATIENCE_S,
        env = "ICECORE_PATIENCE",
        hide_env_values = true,
        help_heading = "Repositories behind a server"
    )]
    pub patience: u64,
}

impl ServerOptions {
    /// The token that options or environment name.
    pub fn token(&self, console: Console) -> anyhow::Result<Option<Zeroizing<String>>> {
        let token = match &self.token_file {
            Some(file) => Some(secrets::token_file(file, console)?),
            None => secrets::variable_text("ICECORE_TOKEN")?,
        };
        let Some(token) = token else { return Ok(None) };
        // What cannot stand in a header would fail later, and less clearly.
        match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(token)),
            false => Err(Failure::new(Code::Key, "the token is empty or holds characters that no token has").into()),
        }
    }

    /// How long to wait for the server.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

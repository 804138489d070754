//! The server's index, asked for packs that hold what the local one does not know.

use super::client::Client;
use super::problem::Problem;
use repo_format::Result;
use repo_format::elsewhere::Elsewhere;
use repo_format::id::{EntryKey, PackId};
use repo_format::pack::PackKind;
use reqwest::Method;
use web_api::object::{AskPacks, FoundPacks, KindOfPack, MAX_ASKED_KEYS};

impl Elsewhere for Client {
    fn packs_with(&self, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>> {
        let url = self.address().url(&["packs-with"]);
        let mut packs = Vec::new();
        for keys in keys.chunks(MAX_ASKED_KEYS) {
            let kind = match kind {
                PackKind::Data => KindOfPack::Data,
                PackKind::Tree => KindOfPack::Tree,
            };
            let asked = AskPacks { kind, keys: keys.iter().map(ToString::to_string).collect() };
            let take = |response: reqwest::blocking::Response| {
                let found: FoundPacks = response.json().map_err(|error| Problem::Unreachable(error.to_string()))?;
                let ids: Result<Vec<PackId>> = found.packs.iter().map(|pack| pack.parse()).collect();
                ids.map_err(|error| Problem::Unreachable(format!("the server names no pack: {error}")))
            };
            let found = self.ask(&Method::POST, &url, |request| request.json(&asked), take);
            packs.extend(found.map_err(|problem| problem.about("the server's index"))?);
        }
        Ok(packs)
    }
}

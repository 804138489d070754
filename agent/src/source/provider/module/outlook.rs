//! What the next backup of a disk would read, without taking a snapshot.

use super::super::Changes;
use super::changes;
use crate::tracker::Module;
use nix::errno::Errno;
use repo_format::manifest::TrackerPlace;
use serde::Serialize;
use std::path::Path;

/// What the next backup would read of a disk, if nothing happens until then that puts its tracking in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reads", rename_all = "snake_case")]
pub enum Outlook {
    /// What changed, and a sample.
    Changes {
        /// What changed up to the last snapshot that anybody took; what changed since then comes on top.
        known_bytes: u64,
    },
    /// All of it.
    Everything {
        /// Why.
        why: String,
    },
}

/// Looks at the tracker of a disk; `place` and `size_bytes` are what the newest point notes.
pub fn outlook(module: &dyn Module, device: &Path, place: Option<&TrackerPlace>, size_bytes: u64) -> Outlook {
    let everything = |why: &str| Outlook::Everything { why: why.into() };
    let Some(place) = place else { return everything("the newest point notes no place in a tracking of changes") };
    let now = match module.tracker_info(device) {
        Err(error) if error.errno() == Some(Errno::ENOENT) => {
            return everything("the disk is not tracked (since a restart, or since the module was loaded anew)");
        }
        Err(error) => {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
            return everything(&format!("{error}{why}"));
        }
        Ok(now) => now,
    };
    if now.as_ref().is_some_and(|now| now.capacity_bytes != size_bytes) {
        return everything("the disk has another size than in the newest point");
    }
    match changes(module, device, now.as_ref(), place) {
        Changes::List(list) => Outlook::Changes { known_bytes: list.total_bytes() },
        Changes::Unknown(why) => Outlook::Everything { why },
    }
}

#[cfg(test)]
mod tests {
    use super::super::place_of;
    use super::*;
    use crate::tracker::fake::{BLOCK, Fake};

    #[test]
    fn the_outlook_says_what_is_read_and_why() {
        let fake = Fake::new(100 * BLOCK, false);
        fake.change(1, 0..3);
        let place = place_of(&fake.tracker_info("/dev/fake".as_ref()).unwrap().unwrap());
        let look = |place: Option<&TrackerPlace>, size| outlook(&fake, "/dev/fake".as_ref(), place, size);
        assert_eq!(look(place.as_ref(), 100 * BLOCK), Outlook::Changes { known_bytes: 0 });
        fake.change(2, 5..7);
        assert_eq!(look(place.as_ref(), 100 * BLOCK), Outlook::Changes { known_bytes: 2 * BLOCK });
        let everything = |outlook| matches!(outlook, Outlook::Everything { .. });
        assert!(everything(look(None, 100 * BLOCK)) && everything(look(place.as_ref(), BLOCK)));
    }
}

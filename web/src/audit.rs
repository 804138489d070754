//! The audit log as a chain: what is recorded, what is hashed, and how the chain is walked. Rows are `db::audit`'s business.
//!
//! An entry's hash covers all its fields and the hash of the entry before, so whoever changes, removes or inserts an entry has to
//! hash all later ones anew, and then the head is another. A head that was noted elsewhere is what finds that out: nothing inside
//! the database can.

use std::fmt;
use web_api::audit::{AuditEntry, AuditHead, AuditVerdict, Outcome};
use web_api::unit::Time;

const CONTEXT: &str = "Icecore 2026-11 audit log entry 1";

/// Hash of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands before the first entry.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When.
    pub at: Time,
    /// Who.
    pub actor: String,
    /// From which address.
    pub address: String,
    /// What was done, `noun.verb`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Whether it was done.
    pub outcome: Outcome,
    /// More about it; never a secret.
    pub detail: String,
}

/// A record in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// 1, 2, 3 …
    pub number: u64,
    /// What is recorded.
    pub record: Record,
    /// Hash of the entry before.
    pub previous: Hash,
    /// Hash of this one.
    pub hash: Hash,
}

impl Entry {
    /// The entry that follows `last`.
    pub fn after(last: Option<&Self>, record: Record) -> Self {
        let (number, previous) = last.map_or((1, Hash::NONE), |last| (last.number + 1, last.hash));
        let hash = hash(number, &record, &previous);
        Self { number, record, previous, hash }
    }

    /// As it travels.
    pub fn to_api(&self) -> AuditEntry {
        AuditEntry {
            number: self.number,
            at: self.record.at,
            actor: self.record.actor.clone(),
            address: self.record.address.clone(),
            action: self.record.action.clone(),
            subject: self.record.subject.clone(),
            outcome: self.record.outcome,
            detail: self.record.detail.clone(),
            previous_hash: self.previous.to_string(),
            hash: self.hash.to_string(),
        }
    }
}

/// Every field with its length in front, so that no two records have the same bytes.
fn hash(number: u64, record: &Record, previous: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&previous.0).update(&number.to_le_bytes()).update(&record.at.ms().to_le_bytes());
    hasher.update(&[match record.outcome {
        Outcome::Done => 1,
        Outcome::Refused => 2,
    }]);
    for field in [&record.actor, &record.address, &record.action, &record.subject, &record.detail] {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
    }
    Hash(hasher.finalize().into())
}

/// A walk along the chain, entry by entry from the first.
pub struct Walk {
    entries: u64,
    head: Hash,
    noted: Option<AuditHead>,
    noted_seen: bool,
    damage: Option<String>,
}

impl Walk {
    /// A walk that has to come past `noted`.
    pub fn new(noted: Option<AuditHead>) -> Self {
        let noted_seen = noted.as_ref().is_none_or(|noted| noted.number == 0);
        Self { entries: 0, head: Hash::NONE, noted, noted_seen, damage: None }
    }

    /// Looks at the next entry. False when it does not fit and nothing after it can be judged.
    pub fn step<E: fmt::Display>(&mut self, entry: Result<Entry, E>) -> bool {
        let number = self.entries + 1;
        self.damage = match entry {
            Err(error) => Some(format!("entry {number} cannot be read: {error}")),
            Ok(entry) if entry.number != number => Some(format!("entry {number} is missing, {} follows", entry.number)),
            Ok(entry) if entry.previous != self.head => {
                Some(format!("entry {number} does not follow the one before it"))
            }
            Ok(entry) if entry.hash != hash(number, &entry.record, &entry.previous) => {
                Some(format!("entry {number} was changed"))
            }
            Ok(entry) => {
                self.entries = number;
                self.head = entry.hash;
                self.compare_with_noted()
            }
        };
        self.damage.is_none()
    }

    fn compare_with_noted(&mut self) -> Option<String> {
        let noted = self.noted.as_ref().filter(|noted| noted.number == self.entries)?;
        self.noted_seen = true;
        (noted.hash != self.head.to_string())
            .then(|| format!("entry {} is another than the one that was noted", noted.number))
    }

    /// What was found.
    pub fn verdict(self) -> AuditVerdict {
        let cut = match (&self.damage, &self.noted) {
            (None, Some(noted)) if !self.noted_seen => {
                Some(format!("the log ends at entry {}, before entry {} that was noted", self.entries, noted.number))
            }
            _ => None,
        };
        let damage = self.damage.or(cut);
        let head = AuditHead { number: self.entries, hash: self.head.to_string() };
        AuditVerdict { intact: damage.is_none(), entries: self.entries, head, damage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(subject: &str) -> Record {
        Record {
            at: Time::from_ms(1_700_000_000_000),
            actor: "ada".into(),
            address: "127.0.0.1".into(),
            action: "user.create".into(),
            subject: subject.into(),
            outcome: Outcome::Done,
            detail: String::new(),
        }
    }

    fn chain() -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for subject in ["a", "b", "c", "d"] {
            entries.push(Entry::after(entries.last(), record(subject)));
        }
        entries
    }

    fn verdict(entries: Vec<Entry>, noted: Option<AuditHead>) -> AuditVerdict {
        let mut walk = Walk::new(noted);
        for entry in entries {
            if !walk.step(Ok::<_, String>(entry)) {
                break;
            }
        }
        walk.verdict()
    }

    #[test]
    fn an_untouched_chain_is_intact() {
        let entries = chain();
        let head = AuditHead { number: 2, hash: entries[1].hash.to_string() };
        let found = verdict(entries.clone(), Some(head));
        assert!(found.intact, "{found:?}");
        assert_eq!((found.entries, found.head.hash), (4, entries[3].hash.to_string()));
        assert!(verdict(Vec::new(), None).intact);
    }

    #[test]
    fn every_changed_field_is_found() {
        let changes: [fn(&mut Entry); 9] = [
            |entry| entry.record.at = Time::from_ms(1),
            |entry| entry.record.actor = "eve".into(),
            |entry| entry.record.address = "::1".into(),
            |entry| entry.record.action = "user.delete".into(),
            |entry| entry.record.subject = "x".into(),
            |entry| entry.record.outcome = Outcome::Refused,
            |entry| entry.record.detail = "x".into(),
            |entry| entry.previous = Hash([1; 32]),
            |entry| entry.hash = Hash([1; 32]),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut entries = chain();
            change(&mut entries[1]);
            let found = verdict(entries, None);
            assert!(!found.intact && found.entries == 1, "change {number}: {found:?}");
        }
    }

    #[test]
    fn text_moved_from_one_field_to_the_next_is_found() {
        let mut entries = chain();
        entries[0].record.actor = "ad".into();
        entries[0].record.address = "a127.0.0.1".into();
        assert!(!verdict(entries, None).intact);
    }

    #[test]
    fn a_missing_or_moved_entry_is_found() {
        for removed in 0..3 {
            let mut entries = chain();
            entries.remove(removed);
            assert!(!verdict(entries, None).intact, "entry {removed}");
        }
        let mut entries = chain();
        entries.swap(1, 2);
        assert!(!verdict(entries, None).intact);
    }

    #[test]
    fn only_a_noted_head_finds_a_cut_end_and_a_log_that_was_written_anew() {
        let noted = Some(AuditHead { number: 4, hash: chain()[3].hash.to_string() });
        let mut cut = chain();
        cut.pop();
        assert!(verdict(cut.clone(), None).intact);
        assert!(!verdict(cut.clone(), noted.clone()).intact);
        cut.push(Entry::after(cut.last(), record("another")));
        assert!(verdict(cut.clone(), None).intact);
        assert!(!verdict(cut, noted).intact);
    }
}

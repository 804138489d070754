//! Passwords: what is allowed, and their argon2id hashes.
//!
//! Each hash takes memory, so only few are computed at once and only few more may wait: a flood of log-ins is refused, it can't eat
//! the machine. A log-in to an account that does not exist takes as long as one that does.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Shortest password, in characters.
pub const MIN_CHARACTERS: usize = 12;
/// Longest password, in bytes: hashing is not made longer at will.
pub const MAX_BYTES: usize = 1024;
/// Log-ins that may wait for each one that is computed.
const WAITING_PER_WORKER: usize = 8;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// A password in the clear.
pub type Password = Zeroizing<String>;

/// How much a hash costs and how many are computed at once.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Hashes at once.
    pub workers: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many log-ins at once.
    #[error("too many log-ins at once")]
    Busy,
    /// The parameters, or a stored hash, are not argon2's.
    #[error("the password could not be hashed or compared: {0}")]
    Hash(String),
}

/// Why a password is not allowed; `None` when it is.
pub fn refusal(password: &str, name: &str) -> Option<String> {
    if password.chars().count() < MIN_CHARACTERS {
        return Some(format!("the password has fewer than {MIN_CHARACTERS} characters"));
    }
    if password.len() > MAX_BYTES {
        return Some(format!("the password has more than {MAX_BYTES} bytes"));
    }
    let distinct = password.chars().collect::<std::collections::BTreeSet<_>>().len();
    if distinct < 5 {
        return Some("the password repeats fewer than five different characters".into());
    }
    let rest = password.to_lowercase().replace(name, "");
    (!name.is_empty() && rest.chars().count() < MIN_CHARACTERS / 2)
        .then(|| "the password is little more than the account's name".into())
}

/// What compares and hashes passwords.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    /// Permits of those that are computed.
    workers: Arc<Semaphore>,
    /// Permits of those that are computed or wait.
    admitted: Arc<Semaphore>,
    /// Compared with where there is no account or no password.
    decoy: Arc<str>,
}

/// What a comparison found.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Whether it is the password.
    pub is_right: bool,
    /// The same password at today's cost, when the stored hash was made at another.
    pub renewed: Option<String>,
}

impl Passwords {
    /// Refuses a cost that argon2 does not allow.
    pub fn new(cost: Cost) -> Result<Self, Error> {
        let params = Params::new(cost.memory_kib, PASSES, LANES, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let workers = cost.workers.max(1);
        Ok(Self {
            decoy: hash(&argon2, "nobody has this password")?.into(),
            argon2,
            workers: Arc::new(Semaphore::new(workers)),
            admitted: Arc::new(Semaphore::new(workers * (1 + WAITING_PER_WORKER))),
        })
    }

    /// The hash that is stored.
    pub async fn hash(&self, password: Password) -> Result<String, Error> {
        let argon2 = self.argon2.clone();
        self.compute(move || hash(&argon2, &password)).await
    }

    /// Compares with a stored hash; without one it takes as long and is wrong.
    pub async fn compare(&self, password: Password, stored: Option<String>) -> Result<Comparison, Error> {
        let argon2 = self.argon2.clone();
        let decoy = self.decoy.clone();
        self.compute(move || {
            let known = PasswordHash::new(stored.as_deref().unwrap_or(&decoy)).map_err(failed)?;
            let fits = argon2.verify_password(password.as_bytes(), &known).is_ok();
            let is_right = fits && stored.is_some();
            let is_dated = Params::try_from(&known).map_err(failed)? != *argon2.params();
            let renewed = if is_right && is_dated { Some(hash(&argon2, &password)?) } else { None };
            Ok(Comparison { is_right, renewed })
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        let worker = self.workers.clone().acquire_owned().await.map_err(|_| Error::Busy)?;
        // The permits go with the work: a client that hangs up must not make room while its hash is still computed.
        let computed = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((admitted, worker));
            result
        });
        computed.await.map_err(failed)?
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, Error> {
    let salt = super::secret::random::<16>();
    let hash = argon2.hash_password_with_salt(password.as_bytes(), salt.as_slice()).map_err(failed)?;
    Ok(hash.to_string())
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, workers: 1 };

    fn password(text: &str) -> Password {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_is_right() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let stored = passwords.hash(password("correct horse battery")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=3,p=1$"), "{stored}");
        let compare = |text: &str, stored: &Option<String>| passwords.compare(password(text), stored.clone());
        let stored = Some(stored);
        assert!(compare("correct horse battery", &stored).await.unwrap().is_right);
        assert!(!compare("correct horse batterY", &stored).await.unwrap().is_right);
        assert!(!compare("", &stored).await.unwrap().is_right);
        assert!(!compare("nobody has this password", &None).await.unwrap().is_right);
        assert!(compare("x", &Some("garbage".into())).await.is_err());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_renewed_when_the_password_is_right() {
        let stored = Passwords::new(CHEAP).unwrap().hash(password("correct horse battery")).await.unwrap();
        let dearer = Passwords::new(Cost { memory_kib: 128, workers: 1 }).unwrap();
        let right = dearer.compare(password("correct horse battery"), Some(stored.clone())).await.unwrap();
        assert!(right.is_right && right.renewed.unwrap().contains("m=128"));
        let wrong = dearer.compare(password("wrong"), Some(stored)).await.unwrap();
        assert!(!wrong.is_right && wrong.renewed.is_none());
    }

    #[tokio::test]
    async fn a_flood_is_refused_instead_of_eating_memory() {
        let passwords = Passwords::new(CHEAP).unwrap();
        let busy = passwords.workers.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..=WAITING_PER_WORKER)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.compare(password("x"), None).await })
            })
            .collect();
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(passwords.compare(password("x"), None).await, Err(Error::Busy)));
        drop(busy);
        for task in waiting {
            assert!(!task.await.unwrap().unwrap().is_right);
        }
        assert!(passwords.compare(password("x"), None).await.is_ok());
    }

    #[test]
    fn poor_passwords_are_refused_with_the_reason() {
        let long = "x1y2".repeat(300);
        for (text, reason) in [
            ("short", "fewer than 12"),
            ("aaaaaaaaaaaaaaaa", "different characters"),
            ("adalovelaceadalovelace1", "account's name"),
            (long.as_str(), "more than 1024 bytes"),
        ] {
            let refused = refusal(text, "adalovelace").unwrap_or_default();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        assert_eq!(refusal("correct horse battery", "ada"), None);
    }
}

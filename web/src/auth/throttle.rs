//! The brake on guessing: after failures an account, and the address they came from, have to wait longer and longer.
//!
//! Kept in memory and bounded: when a table is full, the entry that waits least is given up. A restart forgets, which costs an
//! attacker more than it gives. The wait of an account is short at most, so that nobody is locked out by somebody else's guesses.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;
use web_api::unit::Time;

/// Entries in each of the two tables.
const MAX_ENTRIES: usize = 10_000;
/// Without a further failure all is forgotten after this long.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// How failures turn into waiting.
#[derive(Clone, Copy, Debug)]
struct Rule {
    free_failures: u32,
    longest_wait: Duration,
}

const ACCOUNT: Rule = Rule { free_failures: 5, longest_wait: Duration::from_secs(60) };
/// Many people may share an address.
const ADDRESS: Rule = Rule { free_failures: 20, longest_wait: Duration::from_secs(900) };

impl Rule {
    /// Doubles from one second on.
    fn wait(self, failures: u32) -> Duration {
        match failures.checked_sub(self.free_failures) {
            None | Some(0) => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << (more - 1).min(20)).min(self.longest_wait),
        }
    }
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Time,
}

impl Failures {
    fn free_at(self, rule: Rule) -> Time {
        self.last.after(rule.wait(self.count))
    }
}

/// The two tables. Locked one after the other, account first, never across an await.
#[derive(Default)]
pub struct Throttle {
    accounts: Mutex<HashMap<String, Failures>>,
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

impl Throttle {
    /// Counts an attempt that is about to be made as failed, or says how long to wait first. Counting beforehand keeps a burst of
    /// attempts at once from all passing.
    pub fn begin(&self, account: &str, address: IpAddr, now: Time) -> Result<(), Duration> {
        let mut accounts = self.accounts.lock().expect("no panic while held");
        let mut addresses = self.addresses.lock().expect("no panic while held");
        let network = network(address);
        let wait = remaining(&accounts, account, ACCOUNT, now).max(remaining(&addresses, &network, ADDRESS, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        count(&mut accounts, account.to_owned(), ACCOUNT, now);
        count(&mut addresses, network, ADDRESS, now);
        Ok(())
    }

    /// Takes back what [`Self::begin`] counted, and forgets the account's failures: it was the right person.
    pub fn succeeded(&self, account: &str, address: IpAddr) {
        self.accounts.lock().expect("no panic while held").remove(account);
        take_back(&mut self.addresses.lock().expect("no panic while held"), &network(address));
    }

    /// Takes back only what [`Self::begin`] counted: nothing was tried. Earlier failures stay, else a full server would forget them.
    pub fn not_tried(&self, account: &str, address: IpAddr) {
        take_back(&mut self.accounts.lock().expect("no panic while held"), account);
        take_back(&mut self.addresses.lock().expect("no panic while held"), &network(address));
    }
}

/// An IPv6 network of 64 bits counts as one address: its owner has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn remaining<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized>(
    table: &HashMap<K, Failures>,
    key: &Q,
    rule: Rule,
    now: Time,
) -> Duration {
    // A clock that was ahead and was put right must not lock anybody out for longer than a failure does.
    table.get(key).map_or(Duration::ZERO, |failures| failures.free_at(rule).since(now).min(rule.wait(failures.count)))
}

fn take_back<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized>(table: &mut HashMap<K, Failures>, key: &Q) {
    if let Some(failures) = table.get_mut(key) {
        failures.count = failures.count.saturating_sub(1);
    }
}

fn count<K: Hash + Eq + Clone>(table: &mut HashMap<K, Failures>, key: K, rule: Rule, now: Time) {
    if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
        make_room(table, rule, now);
    }
    let failures = table.entry(key).or_insert(Failures { count: 0, last: now });
    if now.since(failures.last) > FORGET_AFTER {
        failures.count = 0;
    }
    *failures = Failures { count: failures.count.saturating_add(1), last: now };
}

/// First what is forgotten anyway, then whoever is free again soonest.
fn make_room<K: Hash + Eq + Clone>(table: &mut HashMap<K, Failures>, rule: Rule, now: Time) {
    table.retain(|_, failures| now.since(failures.last) <= FORGET_AFTER);
    if table.len() >= MAX_ENTRIES {
        let first = table.iter().min_by_key(|(_, failures)| failures.free_at(rule)).map(|(key, _)| key.clone());
        first.map(|key| table.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn at(s: i64) -> Time {
        Time::from_ms(s * 1000)
    }

    fn elsewhere(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn an_account_waits_longer_with_every_failure_but_never_for_long() {
        let throttle = Throttle::default();
        for number in 0..ACCOUNT.free_failures + 1 {
            assert_eq!(throttle.begin("ada", elsewhere(number), at(0)), Ok(()), "{number}");
        }
        assert_eq!(throttle.begin("ada", elsewhere(100), at(0)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.begin("bob", elsewhere(100), at(0)), Ok(()), "others do not wait");
        let mut now = 0;
        for number in 0..20 {
            now += 60;
            assert_eq!(throttle.begin("ada", elsewhere(200 + number), at(now)), Ok(()), "{number}");
        }
        assert_eq!(throttle.begin("ada", elsewhere(300), at(now)), Err(ACCOUNT.longest_wait));
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits() {
        let throttle = Throttle::default();
        for number in 0..ADDRESS.free_failures + 1 {
            assert_eq!(throttle.begin(&format!("user{number}"), HERE, at(0)), Ok(()), "{number}");
        }
        assert!(throttle.begin("another", HERE, at(0)).is_err());
        assert_eq!(throttle.begin("another", elsewhere(1), at(0)), Ok(()));
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let throttle = Throttle::default();
        for number in 0..ADDRESS.free_failures + 1 {
            let address: IpAddr = format!("2001:db8::{number:x}").parse().unwrap();
            assert_eq!(throttle.begin(&format!("user{number}"), address, at(0)), Ok(()));
        }
        assert!(throttle.begin("another", "2001:db8::ffff".parse().unwrap(), at(0)).is_err());
        assert!(throttle.begin("another", "2001:db8:0:1::1".parse().unwrap(), at(0)).is_ok());
    }

    #[test]
    fn success_forgets_failures_and_time_does_too() {
        let throttle = Throttle::default();
        for _ in 0..4 {
            throttle.begin("ada", HERE, at(0)).unwrap();
        }
        throttle.succeeded("ada", HERE);
        for _ in 0..6 {
            throttle.begin("ada", HERE, at(1)).unwrap();
        }
        assert!(throttle.begin("ada", HERE, at(1)).is_err());
        for _ in 0..6 {
            throttle.begin("ada", HERE, at(4000)).unwrap();
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let throttle = Throttle::default();
        for _ in 0..6 {
            throttle.begin("ada", HERE, at(1_000_000)).unwrap();
        }
        assert_eq!(throttle.begin("ada", HERE, at(0)), Err(Duration::from_secs(1)));
        throttle.succeeded("ada", HERE);
        assert_eq!(throttle.begin("ada", HERE, at(0)), Ok(()));
    }

    #[test]
    fn an_attempt_that_was_not_tried_neither_counts_nor_forgives() {
        let throttle = Throttle::default();
        for _ in 0..5 {
            throttle.begin("ada", HERE, at(0)).unwrap();
        }
        for _ in 0..50 {
            throttle.begin("ada", HERE, at(0)).unwrap();
            throttle.not_tried("ada", HERE);
        }
        throttle.begin("ada", HERE, at(0)).unwrap();
        assert!(throttle.begin("ada", HERE, at(0)).is_err());
    }

    #[test]
    fn the_tables_are_bounded_and_keep_whoever_waits() {
        let throttle = Throttle::default();
        for _ in 0..6 {
            throttle.begin("ada", HERE, at(0)).unwrap();
        }
        for number in 0..u32::try_from(MAX_ENTRIES).unwrap() + 50 {
            throttle.begin(&format!("user{number}"), elsewhere(number + 1000), at(0)).unwrap();
        }
        assert_eq!(throttle.accounts.lock().unwrap().len(), MAX_ENTRIES);
        assert_eq!(throttle.addresses.lock().unwrap().len(), MAX_ENTRIES);
        assert!(throttle.begin("ada", elsewhere(1), at(0)).is_err());
    }
}

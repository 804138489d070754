//! How fast agents may send. A connection that is ahead waits before it reads on; the network holds the sender back.
//!
//! One account an agent, shared by all of its connections. In memory only: after a restart everybody begins with nothing owed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use web_api::id::AgentId;

/// Agents that are remembered; those who owe nothing are forgotten when there are more.
const MAX_REMEMBERED: usize = 4096;

/// When each agent has worked off what it has sent.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<AgentId, Instant>>);

impl Rates {
    /// Books bytes that an agent sent; how long to wait before more is read of it.
    pub fn book(&self, agent: AgentId, bytes: u64, limit_bytes_per_s: Option<u64>, now: Instant) -> Duration {
        let Some(limit) = limit_bytes_per_s.filter(|limit| *limit > 0) else { return Duration::ZERO };
        let mut free_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free_at.len() >= MAX_REMEMBERED && !free_at.contains_key(&agent) {
            free_at.retain(|_, at| *at > now);
        }
        // What was not used before is not saved up.
        let from = free_at.get(&agent).copied().filter(|at| *at > now).unwrap_or(now);
        let costs = Duration::from_micros(bytes.saturating_mul(1_000_000) / limit);
        let until = from + costs;
        free_at.insert(agent, until);
        until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn connections_of_one_agent_share_its_limit_and_others_are_not_held_back() {
        let (rates, agent, other, start) = (Rates::default(), AgentId::generate(), AgentId::generate(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(rates.book(agent, MIB, Some(MIB), start), second);
        assert_eq!(rates.book(agent, MIB, Some(MIB), start), 2 * second, "a second connection");
        assert_eq!(rates.book(other, MIB, Some(2 * MIB), start), second / 2);
        assert_eq!(rates.book(agent, MIB, None, start), Duration::ZERO);
    }

    #[test]
    fn who_sent_nothing_for_a_while_has_not_saved_it_up() {
        let (rates, agent, start) = (Rates::default(), AgentId::generate(), Instant::now());
        rates.book(agent, MIB, Some(MIB), start);
        let later = start + Duration::from_secs(100);
        assert_eq!(rates.book(agent, MIB, Some(MIB), later), Duration::from_secs(1));
    }
}

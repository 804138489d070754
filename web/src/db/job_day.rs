//! How each agent's backups ended, within a span of time.

use super::Result;
use super::row::{Column, known};
use rusqlite::{Connection, params};
use web_api::id::AgentId;
use web_api::job::JobState;
use web_api::job_day::JobDay;
use web_api::unit::{ByteCount, Time};

/// Backups that ended from one time until before another, under the name that is given to this span.
pub fn between(connection: &Connection, day: &str, from: Time, until: Time) -> Result<Vec<JobDay>> {
    let mut query = connection.prepare_cached(
        "SELECT agent_id, state, COUNT(*), COALESCE(SUM(json_extract(result, '$.stored_bytes')), 0) FROM jobs
         WHERE kind = 'backup' AND ended_at_ms >= ?1 AND ended_at_ms < ?2 GROUP BY agent_id, state ORDER BY agent_id",
    )?;
    let mut rows = query.query(params![Column(from), Column(until)])?;
    let mut days: Vec<JobDay> = Vec::new();
    while let Some(row) = rows.next()? {
        let agent_id = row.get::<_, Column<AgentId>>(0)?.0;
        if days.last().is_none_or(|last| last.agent_id != agent_id) {
            let (succeeded, failed, cancelled) = (0, 0, 0);
            days.push(JobDay { agent_id, day: day.into(), succeeded, failed, cancelled, stored_bytes: ByteCount(0) });
        }
        let Some(last) = days.last_mut() else { continue };
        let count = row.get::<_, Column<u64>>(2)?.0;
        match known("jobs", &row.get::<_, String>(1)?, JobState::named)? {
            JobState::Succeeded => {
                (last.succeeded, last.stored_bytes) = (count, ByteCount(row.get::<_, Column<u64>>(3)?.0));
            }
            JobState::Failed => last.failed = count,
            JobState::Cancelled => last.cancelled = count,
            // They have no end yet.
            JobState::Queued | JobState::Running => {}
        }
    }
    Ok(days)
}

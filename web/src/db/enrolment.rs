//! Enrolments. Of a token's secret only the hash and the first characters are here, and so of the machine's.

use super::row::Column;
use super::{Result, Write, agent};
use crate::auth::secret::SecretHash;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::enrolment::{Enrolment, EnrolmentState};
use web_api::id::{AgentId, EnrolmentId, RepositoryId};
use web_api::unit::Time;

const COLUMNS: &str = "e.id, e.prefix, e.repository_id, r.name, r.format_id, e.name, e.created_by, e.created_at_ms, e.expires_at_ms,
    e.revoked_at_ms, e.machine_secret_hash, e.machine_prefix, e.public_key, e.sealed_writer_key, e.agent_id, r.directory, e.keeps";
const FROM: &str = "enrolments e JOIN repositories r ON r.id = e.repository_id";

/// An enrolment as it is stored.
#[derive(Clone, Debug)]
pub struct StoredEnrolment {
    /// Its id.
    pub id: EnrolmentId,
    /// First characters of the token.
    pub prefix: String,
    /// The repository.
    pub repository_id: RepositoryId,
    /// Its name.
    pub repository: String,
    /// Its id in the format.
    pub format_id: String,
    /// Where it is.
    pub directory: String,
    /// The machine's name.
    pub name: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// When the token ends.
    pub expires_at: Time,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// Of the machine that came.
    pub machine_secret: Option<SecretHash>,
    /// First characters of that.
    pub machine_prefix: Option<String>,
    /// What a writer key shall be sealed to.
    pub public_key: Option<String>,
    /// The sealed writer key.
    pub sealed_writer_key: Option<String>,
    /// What it became.
    pub agent_id: Option<AgentId>,
    /// Whether the machine shall keep the repository.
    pub keeper: bool,
}

impl StoredEnrolment {
    /// How far it is.
    pub fn state(&self, now: Time) -> EnrolmentState {
        match (self.agent_id, self.revoked_at, &self.machine_secret) {
            (Some(_), _, _) => EnrolmentState::Done,
            (None, Some(_), _) => EnrolmentState::Ended,
            (None, None, _) if now >= self.expires_at => EnrolmentState::Ended,
            (None, None, Some(_)) => EnrolmentState::Waiting,
            (None, None, None) => EnrolmentState::Open,
        }
    }

    /// As it travels.
    pub fn to_api(&self, connection: &Connection, now: Time) -> Result<Enrolment> {
        Ok(Enrolment {
            id: self.id,
            repository: self.repository.clone(),
            format_id: self.format_id.clone(),
            name: self.name.clone(),
            keeper: self.keeper,
            state: self.state(now),
            prefix: self.prefix.clone(),
            created_by: self.created_by.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            public_key: self.public_key.clone(),
            agent: self.agent_id.map(|id| agent::get(connection, id)).transpose()?.flatten(),
        })
    }
}

fn enrolment(row: &Row<'_>) -> rusqlite::Result<StoredEnrolment> {
    Ok(StoredEnrolment {
        id: row.get::<_, Column<EnrolmentId>>(0)?.0,
        prefix: row.get(1)?,
        repository_id: row.get::<_, Column<RepositoryId>>(2)?.0,
        repository: row.get(3)?,
        format_id: row.get(4)?,
        name: row.get(5)?,
        created_by: row.get(6)?,
        created_at: row.get::<_, Column<Time>>(7)?.0,
        expires_at: row.get::<_, Column<Time>>(8)?.0,
        revoked_at: row.get::<_, Option<Column<Time>>>(9)?.map(|column| column.0),
        machine_secret: row.get::<_, Option<[u8; 32]>>(10)?.map(SecretHash),
        machine_prefix: row.get(11)?,
        public_key: row.get(12)?,
        sealed_writer_key: row.get(13)?,
        agent_id: row.get::<_, Option<Column<AgentId>>>(14)?.map(|column| column.0),
        directory: row.get(15)?,
        keeper: row.get(16)?,
    })
}

/// Stores a new one.
pub fn insert(write: &Write<'_>, enrolment: &Enrolment, repository: RepositoryId, secret: &SecretHash) -> Result<()> {
    write.execute(
        "INSERT INTO enrolments (id, secret_hash, prefix, repository_id, name, created_by, created_at_ms, expires_at_ms,
         keeps) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            Column(enrolment.id),
            secret.0,
            enrolment.prefix,
            Column(repository),
            enrolment.name,
            enrolment.created_by,
            Column(enrolment.created_at),
            Column(enrolment.expires_at),
            enrolment.keeper,
        ],
    )?;
    Ok(())
}

/// The one of a token.
pub fn find(connection: &Connection, secret: &SecretHash) -> Result<Option<StoredEnrolment>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE e.secret_hash = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([secret.0], enrolment).optional()?)
}

/// One of them.
pub fn get(connection: &Connection, id: EnrolmentId) -> Result<Option<StoredEnrolment>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE e.id = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([Column(id)], enrolment).optional()?)
}

/// In the order of making, after one of them.
pub fn page(connection: &Connection, after: Option<EnrolmentId>, limit: u32) -> Result<Vec<StoredEnrolment>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE ?1 IS NULL OR e.id > ?1 ORDER BY e.id LIMIT ?2");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(params![after.map(Column), limit], enrolment)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Notes the machine that came, by what it will prove itself with from now on.
pub fn came(
    write: &Write<'_>,
    id: EnrolmentId,
    name: &str,
    (secret, prefix): (&SecretHash, &str),
    public_key: Option<&str>,
) -> Result<()> {
    write.execute(
        "UPDATE enrolments SET name = ?2, machine_secret_hash = ?3, machine_prefix = ?4, public_key = ?5 WHERE id = ?1",
        params![Column(id), name, secret.0, prefix, public_key],
    )?;
    Ok(())
}

/// Notes that it became an agent, with the writer key that was sealed for it.
pub fn done(write: &Write<'_>, id: EnrolmentId, agent: AgentId, sealed_writer_key: Option<&str>) -> Result<()> {
    write.execute(
        "UPDATE enrolments SET agent_id = ?2, sealed_writer_key = ?3 WHERE id = ?1",
        params![Column(id), Column(agent), sealed_writer_key],
    )?;
    Ok(())
}

/// Revokes one that is not done; whether there was such a one.
pub fn revoke(write: &Write<'_>, id: EnrolmentId, at: Time) -> Result<bool> {
    let sql = "UPDATE enrolments SET revoked_at_ms = ?2 WHERE id = ?1 AND revoked_at_ms IS NULL AND agent_id IS NULL";
    Ok(write.execute(sql, params![Column(id), Column(at)])? == 1)
}

/// Removes those that ended before a time and became nothing, and forgets sealed keys that were fetched long ago.
pub fn delete_ended(write: &Write<'_>, expired_before: Time) -> Result<()> {
    write.execute("DELETE FROM enrolments WHERE expires_at_ms < ?1", [Column(expired_before)])?;
    Ok(())
}

//! Repositories that this server keeps.

use super::row::{Column, json, to_json, unsigned};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::id::RepositoryId;
use web_api::keeping::Care;
use web_api::repository::Repository;
use web_api::unit::Time;

const COLUMNS: &str = "id, name, directory, format_id, created_at_ms, care, revision, (SELECT a.name FROM agents a
    WHERE a.repository_id = repositories.id AND a.keeps AND a.revoked_at_ms IS NULL AND a.suspended_at_ms IS NULL
    ORDER BY a.last_seen_at_ms DESC NULLS LAST, a.id DESC LIMIT 1), kit_confirmed_at_ms, kit_confirmed_by";

fn repository(row: &Row<'_>) -> Result<Repository> {
    Ok(Repository {
        id: row.get::<_, Column<RepositoryId>>(0)?.0,
        name: row.get(1)?,
        directory: row.get(2)?,
        format_id: row.get(3)?,
        created_at: row.get::<_, Column<Time>>(4)?.0,
        care: json("repositories", &row.get::<_, String>(5)?)?,
        revision: unsigned("repositories", row.get(6)?)?,
        keeper: row.get(7)?,
        kit_confirmed_at: row.get::<_, Option<Column<Time>>>(8)?.map(|column| column.0),
        kit_confirmed_by: row.get(9)?,
    })
}

/// Stores a new one.
pub fn insert(write: &Write<'_>, repository: &Repository) -> Result<()> {
    write.execute(
        "INSERT INTO repositories (id, name, directory, format_id, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            Column(repository.id),
            repository.name,
            repository.directory,
            repository.format_id,
            Column(repository.created_at),
        ],
    )?;
    Ok(())
}

/// The one of that name.
pub fn named(connection: &Connection, name: &str) -> Result<Option<Repository>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM repositories WHERE name = ?1"))?;
    query.query_row([name], |row| Ok(repository(row))).optional()?.transpose()
}

/// One repository.
pub fn get(connection: &Connection, id: RepositoryId) -> Result<Option<Repository>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM repositories WHERE id = ?1"))?;
    query.query_row([Column(id)], |row| Ok(repository(row))).optional()?.transpose()
}

/// Stores how it is looked after, under the next revision.
pub fn set_care(write: &Write<'_>, id: RepositoryId, care: &Care) -> Result<()> {
    let sql = "UPDATE repositories SET care = ?2, revision = revision + 1 WHERE id = ?1";
    write.execute(sql, params![Column(id), to_json(care)?])?;
    Ok(())
}

/// Notes who said when that its recovery kit is safe.
pub fn confirm_kit(connection: &Connection, id: RepositoryId, by: &str, at: Time) -> Result<()> {
    let sql = "UPDATE repositories SET kit_confirmed_at_ms = ?2, kit_confirmed_by = ?3 WHERE id = ?1";
    connection.execute(sql, params![Column(id), Column(at), by])?;
    Ok(())
}

/// Notes that the repository of this id lies elsewhere now; whether it is known.
pub fn move_to(connection: &Connection, format_id: &str, directory: &str) -> Result<bool> {
    let sql = "UPDATE repositories SET directory = ?2 WHERE format_id = ?1";
    Ok(connection.execute(sql, params![format_id, directory])? == 1)
}

/// In the order of adding, after one of them.
pub fn page(connection: &Connection, after: Option<RepositoryId>, limit: u32) -> Result<Vec<Repository>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM repositories WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2"
    ))?;
    let mut rows = query.query(params![after.map(Column), limit])?;
    let mut repositories = Vec::new();
    while let Some(row) = rows.next()? {
        repositories.push(repository(row)?);
    }
    Ok(repositories)
}

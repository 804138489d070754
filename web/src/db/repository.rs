//! Repositories that this server keeps.

use super::row::Column;
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::id::RepositoryId;
use web_api::repository::Repository;
use web_api::unit::Time;

const COLUMNS: &str = "id, name, directory, format_id, created_at_ms";

fn repository(row: &Row<'_>) -> rusqlite::Result<Repository> {
    Ok(Repository {
        id: row.get::<_, Column<RepositoryId>>(0)?.0,
        name: row.get(1)?,
        directory: row.get(2)?,
        format_id: row.get(3)?,
        created_at: row.get::<_, Column<Time>>(4)?.0,
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
    Ok(query.query_row([name], repository).optional()?)
}

/// One repository.
pub fn get(connection: &Connection, id: RepositoryId) -> Result<Option<Repository>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM repositories WHERE id = ?1"))?;
    Ok(query.query_row([Column(id)], repository).optional()?)
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
    let rows = query.query_map(params![after.map(Column), limit], repository)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

//! What later instances said of their patient, study and series, where it is not what the first said: a study is withheld by all of it.

use super::rows::Fault;
use super::tx::Tx;
use rusqlite::params;

/// In place of a series: the patient and the study.
pub(in crate::records) const OF_STUDY: i64 = 0;

/// Keeps what an instance said, once however many say the same; so there are never more of these than instances.
pub(in crate::records) fn keep(tx: &Tx<'_>, study: i64, series: i64, attributes: &str) -> Result<(), Fault> {
    let sql = "INSERT OR IGNORE INTO also_said (study, series, attributes) VALUES (?1, ?2, ?3)";
    tx.conn.prepare_cached(sql)?.execute(params![study, series, attributes])?;
    Ok(())
}

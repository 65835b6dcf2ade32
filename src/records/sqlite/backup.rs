//! A copy of the records as they stand at one moment, made beside the writer (REL-05).

use crate::records::RecordsError;
use rusqlite::Connection;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes the copy to a new file, readable by its owner only, and syncs it. Commits go on meanwhile.
pub(in crate::records) fn snapshot(conn: &Connection, to: &Path) -> Result<(), RecordsError> {
    let fail = |why: &dyn std::fmt::Display| RecordsError::Open { path: to.to_owned(), why: why.to_string() };
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let file = made.map_err(|error| fail(&error))?;
    let path = to.to_str().ok_or_else(|| fail(&"the path is not UTF-8"))?;
    // The connection cannot write to the records themselves: it is open for reading only.
    conn.pragma_update(None, "query_only", false).map_err(|error| fail(&error))?;
    conn.execute("VACUUM INTO ?1", [path]).map_err(|error| fail(&error))?;
    file.sync_all().map_err(|error| fail(&error))
}

//! Tests that need the file itself: tampering with every part of it, the pragmas, the plans of the hot queries.

use crate::records::*;
use rusqlite::Connection;
use std::path::Path;
use tempfile::TempDir;

mod failing;
mod files;
mod log;
mod plans;
mod tampering;

/// The file of the records, opened beside them.
fn open(dir: &Path) -> Connection {
    Connection::open(dir.join(super::schema::FILE)).unwrap()
}

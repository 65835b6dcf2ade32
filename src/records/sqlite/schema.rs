//! Opening the file: the version of SQLite, the pragmas, the layout and its migrations.

use crate::records::RecordsError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::Access;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The name of the file in the directory of the records.
pub(in crate::records) const FILE: &str = "records.db";

/// Each layout, in order; a file at layout n has had the first n applied.
pub(in crate::records) const MIGRATIONS: &[&str] = &[
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
    include_str!("0005.sql"),
    include_str!("0006.sql"),
    include_str!("0007.sql"),
    include_str!("0008.sql"),
    include_str!("0009.sql"),
    include_str!("0010.sql"),
    include_str!("0011.sql"),
    include_str!("0012.sql"),
    include_str!("0013.sql"),
    include_str!("0014.sql"),
    include_str!("0015.sql"),
    include_str!("0016.sql"),
    include_str!("0017.sql"),
    include_str!("0018.sql"),
    include_str!("0019.sql"),
    include_str!("0020.sql"),
    include_str!("0021.sql"),
    include_str!("0022.sql"),
    include_str!("0023.sql"),
];

/// The newest layout.
pub(in crate::records) const LAYOUT: i64 = MIGRATIONS.len() as i64;

/// Marks the file as ours: "WbRc".
const APPLICATION: i64 = 0x5762_5263;

/// The first release of SQLite without the WAL-reset race.
const OLDEST_SQLITE: i32 = 3_051_003;

/// What is said of records of which neither the file nor the log is whole.
const MIXED: &str = "the log of the last run has changed on the disk, and what is left of the records does not fit together; nothing was \
    changed. Move records.db and what begins with that name away, keep it, and `weybridge restore` a backup or `weybridge store rebuild`";
/// What is said if a damaged log cannot be emptied.
const BUSY: &str = "the log of the last run has changed on the disk, and somebody reads the records just now; end what reads them, a \
    backup or `ledger verify` say, and start again";

fn open_error(path: &Path, why: impl ToString) -> RecordsError {
    RecordsError::Open { path: path.to_owned(), why: why.to_string() }
}

/// Opens the file for writing, makes it if it is missing, and brings it to the newest layout. If the log of the last run was damaged,
/// nothing is written unless what can be read fits together.
pub(in crate::records) fn open_writer(
    dir: &Path,
    cache_bytes: u64,
    log_damaged: bool,
) -> Result<Connection, RecordsError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(open_error(dir, format!("SQLite {} is older than 3.51.3", rusqlite::version())));
    }
    let path = dir.join(FILE);
    std::fs::create_dir_all(dir).and_then(|()| create_private(&path)).map_err(|e| open_error(&path, e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&path, flags).map_err(|e| open_error(&path, e))?;
    let set_up = |conn: &Connection| -> rusqlite::Result<String> {
        conn.busy_timeout(Duration::from_secs(10))?;
        copy_back_at_close(conn, false)?;
        // The mode comes before the commit that makes it true; whether that failed shows when the statement is run to its end.
        let mut begin_log = conn.prepare("PRAGMA journal_mode = wal")?;
        let mode = begin_log.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?.concat();
        drop(begin_log);
        // FULL syncs the log at each commit (REL-02); the log is copied back by the writer alone, see `writer`.
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        stable_plans(conn)?;
        conn.pragma_update(None, "cache_size", -i64::try_from(cache_bytes / 1024).unwrap_or(16 * 1024))?;
        conn.set_prepared_statement_cache_capacity(128);
        Ok(mode)
    };
    // What SQLite says of such a mixture, if it does, is not what is to be done about it.
    let refused = |error: rusqlite::Error| match log_damaged {
        true => open_error(&path, format!("{MIXED} ({error})")),
        false => open_error(&path, error),
    };
    let mode = set_up(&conn).map_err(refused)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(open_error(&path, format!("the file system does not allow a write-ahead log (mode {mode})")));
    }
    if log_damaged && !fits_together(&conn) {
        return Err(open_error(&path, MIXED));
    }
    let read_by_others = begin_the_log_anew(&conn).map_err(|e| open_error(&path, e))?;
    if log_damaged && read_by_others {
        return Err(open_error(&path, BUSY));
    }
    migrate(&mut conn, &path)?;
    sync_directory(dir).map_err(|e| open_error(&path, e))?;
    Ok(conn)
}

/// Records in memory, for simulations: at the newest layout at once, since they are made for each story.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::records) fn open_memory() -> Connection {
    let open = || -> rusqlite::Result<Connection> {
        let conn = Connection::open_in_memory()?;
        conn.pragma_update(None, "foreign_keys", true)?;
        stable_plans(&conn)?;
        conn.set_prepared_statement_cache_capacity(256);
        let ours = newest()?.iter().filter(|(name, _)| !name.starts_with("sqlite_"));
        ours.filter_map(|(_, made_by)| made_by.as_ref()).try_for_each(|made_by| conn.execute_batch(made_by))?;
        mark(&conn)?;
        Ok(conn)
    };
    open().unwrap()
}

/// Whether the log is copied back when the last connection closes, as SQLite does by itself. After a failed sync it must not be:
/// that would sync the log once more, and believe the second answer (REL-04). So it is off until all is known to be sound.
pub(in crate::records) fn copy_back_at_close(conn: &Connection, wanted: bool) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted).map(drop)
}

/// Copies all of an earlier run's log into the file and empties it. If that run ended because a sync of the log failed, the system
/// may hold pages of it that never reach the disk; whatever were written behind them would be lost with them (REL-04).
/// Whether somebody who reads kept that from being done.
fn begin_the_log_anew(conn: &Connection) -> rusqlite::Result<bool> {
    let busy: bool = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        tracing::warn!("somebody reads the records just now: the log of the last run could not be emptied");
    }
    Ok(busy)
}

/// Whether the pages are those of one moment. Of a log that had been copied back in part or as a whole, the frames before the damage would
/// stand for newer pages of the file.
fn fits_together(conn: &Connection) -> bool {
    let check = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    check.is_ok_and(|found| found == "ok")
}

/// Makes the file, if it is missing, so that only its owner can read it: it holds patients. Its log gets the same permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// A cached statement keeps its plan whatever is bound to it: otherwise SQLite prepares some anew each time, at 50 µs a go.
fn stable_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.pragma_update(None, "trusted_schema", false)
}

/// Makes the names of new files durable (REL-05).
pub(super) fn sync_directory(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), RecordsError> {
    let found = check_layout(conn, path)?;
    if found == LAYOUT {
        return Ok(());
    }
    // One transaction: a crash leaves the old layout or the new, never half (FLT-014).
    let run = |conn: &mut Connection| -> rusqlite::Result<()> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
            tx.execute_batch(migration)?;
        }
        mark(&tx)?;
        tx.commit()
    };
    run(conn).map_err(|e| open_error(path, e))
}

/// Says in the file that it is ours, and of the newest layout.
fn mark(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "user_version", LAYOUT)?;
    conn.pragma_update(None, "application_id", APPLICATION)
}

/// Name and definition of each table, index and trigger.
type Layout = Vec<(String, Option<String>)>;

/// The layout of an open file, in the order in which it was made.
fn layout(conn: &Connection) -> rusqlite::Result<Layout> {
    let mut find =
        conn.prepare("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY rowid")?;
    find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The layout that the migrations make. To make it takes milliseconds, so it is kept.
fn newest() -> rusqlite::Result<&'static Layout> {
    static NEWEST: OnceLock<Layout> = OnceLock::new();
    if let Some(made) = NEWEST.get() {
        return Ok(made);
    }
    let fresh = Connection::open_in_memory()?;
    MIGRATIONS.iter().try_for_each(|migration| fresh.execute_batch(migration))?;
    let made = layout(&fresh)?;
    Ok(NEWEST.get_or_init(|| made))
}

/// The name of a table or index whose definition in the file is not what the migrations made it; none if all agree (FLT-025).
pub(in crate::records) fn differs(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let (is, ought) = (layout(conn)?, newest()?);
    let wrong = is.iter().find(|one| !ought.contains(one)).or_else(|| ought.iter().find(|one| !is.contains(one)));
    Ok(wrong.map(|(name, _)| name.clone()))
}

/// The layout of the file; an error if it is not ours, or newer than we know.
fn check_layout(conn: &Connection, path: &Path) -> Result<i64, RecordsError> {
    let pragma = |name: &str| -> Result<i64, RecordsError> {
        conn.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| open_error(path, e))
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION && (application, found) != (0, 0) {
        return Err(open_error(path, "the file belongs to another program"));
    }
    if found > LAYOUT { Err(RecordsError::Newer { found, known: LAYOUT }) } else { Ok(found) }
}

/// Opens a connection for reading only. `offline` also reads a file whose directory cannot be written.
pub(in crate::records) fn open_reader(dir: &Path, offline: bool) -> Result<Connection, RecordsError> {
    let path = dir.join(FILE);
    // Asked without opening it: to close a file ends whatever locks this process has on it.
    if rustix::fs::access(&path, Access::READ_OK) == Err(Errno::ACCESS) {
        return Err(RecordsError::NotAllowed { path });
    }
    if !path.is_file() {
        return Err(open_error(&path, "there is no such file"));
    }
    match try_reader(path.clone(), OpenFlags::empty()) {
        Ok(conn) => finish_reader(conn, &path),
        Err(why) if offline && !has_log(&path) => {
            // Without a log and without a writer the file does not change, and can be read without making anything.
            let conn = try_reader(immutable(&path), OpenFlags::SQLITE_OPEN_URI).map_err(|_| open_error(&path, why))?;
            finish_reader(conn, &path)
        }
        Err(why) => Err(open_error(&path, why)),
    }
}

fn has_log(path: &Path) -> bool {
    let log = path.with_extension("db-wal");
    std::fs::metadata(log).is_ok_and(|found| found.len() > 0)
}

fn immutable(path: &Path) -> PathBuf {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    PathBuf::from(format!("file:{escaped}?immutable=1"))
}

fn try_reader(path: PathBuf, more: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.pragma_update(None, "query_only", true)?;
    stable_plans(&conn)?;
    conn.pragma_update(None, "cache_size", -2048)?;
    conn.set_prepared_statement_cache_capacity(64);
    // The file is read only now: this finds out whether it can be.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(conn)
}

/// Whether the records of a directory are of a layout before this program's.
pub(in crate::records) fn is_older(dir: &Path) -> Result<bool, RecordsError> {
    let path = dir.join(FILE);
    let conn = try_reader(immutable(&path), OpenFlags::SQLITE_OPEN_URI).map_err(|error| open_error(&path, error))?;
    Ok(check_layout(&conn, &path)? < LAYOUT)
}

/// Brings records that nobody else uses to the newest layout; nothing else of them changes.
pub(in crate::records) fn bring_up(dir: &Path) -> Result<(), RecordsError> {
    let conn = open_writer(dir, 16 << 20, false)?;
    let path = dir.join(FILE);
    copy_back_at_close(&conn, true).map_err(|error| open_error(&path, error))?;
    conn.close().map_err(|(_, error)| open_error(&path, error))
}

fn finish_reader(conn: Connection, path: &Path) -> Result<Connection, RecordsError> {
    match check_layout(&conn, path)? {
        LAYOUT => Ok(conn),
        _ => Err(open_error(
            path,
            "its layout is older than this program's; start the gateway once to bring it up to date",
        )),
    }
}

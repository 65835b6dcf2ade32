//! Opening: a new epoch, and an end for every attempt that an earlier process left without one (INV-08, INV-14, FLT-008 to FLT-011).

use super::rejections;
use super::rows::{Fault, count, micros};
use super::settle::open_exception;
use super::tx::{Fixed, Group, Noted, Transfer, Tx, lane};
use super::writer::End;
use crate::ledger::chain;
use crate::ledger::change;
use crate::ledger::entry::{EntryId, Fact, Kind, facts};
use crate::ledger::merkle::Edge;
use crate::ledger::transfer::{State, TransferId};
use crate::records::{AttemptId, RecordsError, RecordsOptions, Recovered};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::time::SystemTime;

/// Opens the records for writing: one transaction that raises the epoch, ends what was interrupted and enters it.
pub(in crate::records) fn recover(
    conn: &mut Connection,
    options: RecordsOptions,
    now: SystemTime,
) -> Result<(Fixed, End, Recovered), Fault> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let writer = writer_name(&transaction)?;
    let epoch = raise_epoch(&transaction)?;
    if epoch == 1 {
        super::began::note(&transaction, micros(now))?;
    }
    let mut end = read_end(&transaction)?;
    let fixed = Fixed { writer, epoch, options };
    let mut group = Group::default();
    let mut tx = Tx { conn: &transaction, fixed: &fixed, group: &mut group };
    let mut recovered = Recovered { epoch, last_known: last_known(&transaction)?, ..Recovered::default() };
    let at = micros(now);
    opened(&mut tx, at)?;
    super::pulls::interrupted(&tx, at)?;
    for attempt in unfinished(&tx, None)? {
        interrupt(&mut tx, &attempt, at, &mut recovered)?;
    }
    end.sequence(&transaction, &group)?;
    transaction.commit()?;
    Ok((fixed, end, recovered))
}

fn last_known(conn: &Connection) -> Result<Option<SystemTime>, Fault> {
    let find = "SELECT at FROM entries ORDER BY position DESC LIMIT 1";
    Ok(conn.query_row(find, [], |row| row.get(0)).optional()?.map(super::rows::time))
}

/// The name of these records, given when they were made.
fn writer_name(conn: &Connection) -> Result<String, Fault> {
    let find = "SELECT value FROM meta WHERE name = 'writer'";
    if let Some(name) = conn.query_row(find, [], |row| row.get(0)).optional()? {
        return Ok(name);
    }
    let name = Tx::entry_id()?.to_string();
    conn.execute("INSERT INTO meta (name, value) VALUES ('writer', ?1)", [&name])?;
    Ok(name)
}

fn raise_epoch(conn: &Connection) -> Result<i64, Fault> {
    let raise = "INSERT INTO meta (name, value) VALUES ('epoch', '1') ON CONFLICT (name) \
                 DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) RETURNING CAST(value AS INTEGER)";
    Ok(conn.query_row(raise, [], |row| row.get(0))?)
}

/// The end of the ledger as it was committed.
pub(in crate::records) fn read_end(conn: &Connection) -> Result<End, Fault> {
    let find = "SELECT size, chain, nodes FROM edge WHERE id = 1";
    let row = conn.query_row(find, [], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))).optional()?;
    let Some((size, chain, nodes)): Option<(i64, [u8; 32], Vec<u8>)> = row else {
        if !conn.is_readonly("main")? {
            let sql = "INSERT INTO edge (id, size, chain, nodes) VALUES (1, 0, ?1, x'')";
            conn.execute(sql, params![chain::START])?;
        }
        return Ok(End { edge: Edge::default(), chain: chain::START });
    };
    match Edge::from_bytes(count(size), &nodes) {
        Some(edge) => Ok(End { edge, chain }),
        None => Err(Fault::Refused(RecordsError::Database("the end of the ledger is damaged".into()))),
    }
}

fn opened(tx: &mut Tx<'_>, at: i64) -> Result<(), Fault> {
    let told = facts([
        ("epoch", tx.fixed.epoch.into()),
        ("software", tx.fixed.options.software.as_str().into()),
        ("sqlite", rusqlite::version().into()),
    ]);
    tx.append(Tx::entry_id()?, Kind::Opened, at, told, Vec::new());
    Ok(())
}

/// An attempt without an end.
struct Unfinished {
    id: i64,
    is_send: bool,
    destination: i64,
    entry: EntryId,
}

/// Ends one attempt that was broken off by our own end while we go on (REL-24).
pub(in crate::records) fn interrupted(tx: &mut Tx<'_>, attempt: AttemptId, now: SystemTime) -> Result<(), Fault> {
    let mut recovered = Recovered::default();
    for found in unfinished(tx, Some(attempt))? {
        interrupt(tx, &found, micros(now), &mut recovered)?;
        let destination = tx.destination_name(found.destination)?;
        tx.kick(destination);
    }
    Ok(())
}

fn unfinished(tx: &Tx<'_>, only: Option<AttemptId>) -> Result<Vec<Unfinished>, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT id, kind, destination, entry FROM attempts WHERE ended IS NULL AND (?1 IS NULL OR id = ?1) ORDER BY id",
    )?;
    let rows = find.query_map([only.map(|only| only.0)], |row| {
        let (kind, entry): (String, [u8; 16]) = (row.get(1)?, row.get(3)?);
        Ok(Unfinished { id: row.get(0)?, is_send: kind == "send", destination: row.get(2)?, entry: EntryId(entry) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends an attempt as interrupted. What was being sent may have arrived, so the destination is asked before it is sent again;
/// what was only asked about is asked about again.
fn interrupt(tx: &mut Tx<'_>, attempt: &Unfinished, at: i64, recovered: &mut Recovered) -> Result<(), Fault> {
    let entry = Tx::entry_id()?;
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns} FROM transfers WHERE destination = ?1 AND lane = ?2 AND attempt = ?3"
    ))?;
    let rows = find.query_map(params![attempt.destination, lane::IN_HAND, attempt.id], Transfer::read)?;
    let transfers = rows.collect::<Result<Vec<_>, _>>()?;
    drop(find);
    let (mut unknown, mut held, mut opened): (Vec<TransferId>, Vec<TransferId>, Vec<Fact>) = Default::default();
    let mut asked: Vec<TransferId> = Vec::new();
    for transfer in transfers {
        let mut transfer = transfer?;
        transfer.attempt = None;
        transfer.due = 0;
        transfer.entry = entry;
        if attempt.is_send {
            transfer.outcome = Some("interrupted".into());
            transfer.interruptions = transfer.interruptions.saturating_add(1);
            let poison = transfer.interruptions >= tx.fixed.options.hold_after;
            transfer.go(if poison { State::Held } else { State::Unknown }, at)?;
            if poison {
                transfer.resume = Some(State::Unknown.word().to_owned());
                let why = "the gateway stopped each time that it was sent";
                let words = tx.words(why)?.0;
                opened.push(open_exception(tx, &transfer, "poison", Some(words), at)?);
                held.push(transfer.id);
            } else {
                unknown.push(transfer.id);
            }
        }
        if !attempt.is_send {
            asked.push(transfer.id);
        }
        let noted = Noted { at, what: "interrupted", attempt: Some(attempt.id), act: None, words: None };
        transfer.save_step(tx.conn, &noted)?;
    }
    tx.conn.prepare_cached("UPDATE attempts SET ended = ?2, remaining = 0 WHERE id = ?1")?.execute([attempt.id, at])?;
    recovered.interrupted += 1;
    let ended: Vec<TransferId> = asked.into_iter().chain(unknown.iter().chain(&held).copied()).collect();
    recovered.unknown += unknown.len();
    recovered.held += held.len();
    let mut told = facts([("attempt", attempt.id.into()), ("end", 1.into())]);
    let step = |(to, ids): (State, Vec<TransferId>)| (!ids.is_empty()).then(|| change::step(to, &ids, facts([])));
    let steps: Vec<Fact> = [(State::Unknown, unknown), (State::Held, held)].into_iter().filter_map(step).collect();
    for (name, list) in [("steps", steps), ("opened", opened)] {
        if !list.is_empty() {
            told.insert(name.to_owned(), Fact::List(list));
        }
    }
    tx.append(entry, Kind::Interrupted, at, told, vec![attempt.entry]);
    rejections::apply::stop(tx, &ended, at)
}

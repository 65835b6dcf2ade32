//! Rows of rejection notes: those to be read, what each names, whose count, and what people undo (WEB-105).

pub(in crate::records) mod apply;

use super::lists::at_most;
use super::rows::{Fault, count, damaged, digest, micros, origin, origin_kind, parsed, place, refuse, time};
use super::tx::Tx;
use crate::dicom::rejection::{KEY_OBJECT_SELECTION, Named, Reason};
use crate::dicom::uid::{InstanceUid, StudyUid, TransferSyntaxUid};
use crate::ledger::entry::{Facts, Kind, facts};
use crate::peers::Origin;
use crate::records::rejections::Unread;
use crate::records::{Elsewhere, InstanceId, NamedInstance, NoteRead, RejectionView, Standing};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::SystemTime;

/// Notes of one look.
const LOOK: i64 = 16;
/// Names of one answer.
const NAMES: i64 = 1000;

/// Whether the party of an arrival `b` of a note is the party of the first arrival `a` of what it names: who brought an instance may
/// take it back, and nobody else. What a peer pushed and what was pulled from it came from the same party.
const SAME_PARTY: &str =
    "b.origin_name = a.origin_name AND (b.origin_kind = 'operator') = (a.origin_kind = 'operator')";

/// Notes to be read or looked through.
pub(in crate::records) fn unread(conn: &Connection, InstanceId(after): InstanceId) -> Result<Vec<Unread>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT n.instance, n.standing = 'unread', n.pending, i.transfer_syntax, i.sha256, b.file, b.shared, b.offset, b.length, \
         i.length FROM rejections n JOIN instances i ON i.id = n.instance JOIN blobs b ON b.id = i.blob \
         WHERE (n.standing = 'unread' OR n.pending > 0) AND (n.standing <> 'unread' OR i.state = 'stored') \
         AND n.instance > ?1 ORDER BY n.instance LIMIT ?2",
    )?;
    let mut rows = find.query([after, LOOK])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(Unread {
            instance: InstanceId(row.get(0)?),
            is_unread: row.get(1)?,
            turn: row.get(2)?,
            transfer_syntax: parsed(&row.get::<_, String>(3)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
            sha256: digest(&row.get::<_, Vec<u8>>(4)?)?,
            place: place(row, 5)?,
            length: count(row.get(9)?),
        });
    }
    Ok(list)
}

/// Notes that an instance has arrived, in the transaction of its arrival and before its provenance: a Key Object Selection is to be
/// read, or looked through again if it comes from somebody new.
pub(in crate::records) fn arrived(tx: &Tx<'_>, class: &str, instance: i64, origin: &Origin) -> Result<(), Fault> {
    if class != KEY_OBJECT_SELECTION {
        return Ok(());
    }
    let mut insert =
        tx.conn.prepare_cached("INSERT OR IGNORE INTO rejections (instance, standing) VALUES (?1, 'unread')")?;
    insert.execute([instance])?;
    let mut update = tx.conn.prepare_cached(
        "UPDATE rejections SET pending = pending + (standing = 'in force'), \
         standing = CASE standing WHEN 'not honoured' THEN 'unread' ELSE standing END WHERE instance = ?1 \
         AND NOT EXISTS (SELECT 1 FROM arrivals WHERE instance = ?1 AND origin_name = ?2)",
    )?;
    update.execute(params![instance, origin.name()])?;
    Ok(())
}

/// An instance as notes see it.
#[derive(Clone, Copy)]
pub(in crate::records) struct Subject<'a> {
    pub(in crate::records) id: i64,
    pub(in crate::records) uid: &'a str,
    pub(in crate::records) study: &'a str,
    /// Who brought it first: the kind as in the column, and the name.
    pub(in crate::records) brought_by: (&'a str, &'a str),
}

/// The first note that hides an instance, if one does. A note that is itself hidden hides nothing; and a note is hidden by later ones
/// only, so that no two reject each other.
pub(in crate::records) fn hidden_by(conn: &Connection, subject: Subject<'_>) -> Result<Option<i64>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "WITH a (origin_kind, origin_name) AS (SELECT ?4, ?5) \
         SELECT min(r.note) FROM rejected r JOIN rejections n ON n.instance = r.note JOIN instances k ON k.id = r.note CROSS JOIN a \
         WHERE r.uid = ?1 AND r.study = ?2 AND n.standing = 'in force' AND k.hidden IS NULL AND k.id <> ?3 \
         AND (k.id > ?3 OR NOT EXISTS (SELECT 1 FROM rejections o WHERE o.instance = ?3 AND o.standing <> 'ordinary')) \
         AND EXISTS (SELECT 1 FROM arrivals b WHERE b.instance = r.note AND {SAME_PARTY})"
    ))?;
    let Subject { id, uid, study, brought_by: (kind, name) } = subject;
    Ok(find.query_row(params![uid, study, id, kind, name], |row| row.get(0))?)
}

/// Whether an instance that is known here is hidden in every version.
pub(in crate::records) fn is_hidden_here(conn: &Connection, study: &str, uid: &str) -> Result<bool, Fault> {
    Ok(hidden_versions(conn, study, uid)? == Some((true, true)))
}

/// Whether any version, and whether all versions of an instance are hidden; none if it is not known here.
fn hidden_versions(conn: &Connection, study: &str, uid: &str) -> Result<Option<(bool, bool)>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT max(i.hidden IS NOT NULL), min(i.hidden IS NOT NULL) FROM instances i JOIN studies s ON s.id = i.study \
         WHERE i.sop_uid = ?1 AND s.uid = ?2",
    )?;
    let (any, all): (Option<bool>, Option<bool>) =
        find.query_row([uid, study], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(any.zip(all))
}

/// Whether an instance that is held elsewhere is hidden: if any version is that is known here, else as it would be if it came from there.
pub(in crate::records) fn hides_elsewhere(conn: &Connection, row: &Elsewhere) -> Result<bool, Fault> {
    let Some(uid) = &row.instance else { return Ok(false) };
    if let Some((any, _)) = hidden_versions(conn, row.study.as_str(), uid.as_str())? {
        return Ok(any);
    }
    let brought_by = (origin_kind(&row.origin), row.origin.name());
    let subject = Subject { id: 0, uid: uid.as_str(), study: row.study.as_str(), brought_by };
    Ok(hidden_by(conn, subject)?.is_some())
}

/// Keeps what a note names.
pub(in crate::records) fn name(tx: &mut Tx<'_>, InstanceId(note): InstanceId, named: &[Named]) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached("INSERT OR IGNORE INTO rejected (note, uid, study) VALUES (?1, ?2, ?3)")?;
    for Named { study, instance } in named {
        insert.execute(params![note, instance.as_str(), study.as_str()])?;
    }
    Ok(())
}

/// Records what was read of a note; where it stands now.
pub(in crate::records) fn read(
    tx: &mut Tx<'_>,
    InstanceId(note): InstanceId,
    read: &NoteRead,
    now: SystemTime,
) -> Result<Standing, Fault> {
    let at = micros(now);
    let (standing, reason, words) = match read {
        NoteRead::Ordinary => (Standing::Ordinary, None, None),
        NoteRead::Unusable(why) => (Standing::NotHonoured, None, Some(why.as_str())),
        NoteRead::Rejects { reason, .. } => match objection(tx, note)? {
            Some(why) => (Standing::NotHonoured, Some(*reason), Some(why)),
            None => (Standing::InForce, Some(*reason), None),
        },
    };
    let mut told = facts([("note", note.into()), ("standing", standing.word().into())]);
    let mut kept = None;
    if let Some(words) = words {
        let (id, fact) = tx.words(words)?;
        told.insert("words".into(), fact);
        kept = Some(id);
    }
    if let (Some(reason), NoteRead::Rejects { named, .. }) = (reason, read) {
        told.insert("reason".into(), reason.code().into());
        told.insert("named".into(), (named.len() as i64).into());
    }
    // What this note names is looked through; of one that is ordinary, whether it is named itself.
    let mut update = tx.conn.prepare_cached(
        "UPDATE rejections SET standing = ?2, reason = ?3, decided = ?4, words = ?5, pending = pending + 1 \
         WHERE instance = ?1 AND standing = 'unread'",
    )?;
    let reason = reason.map(Reason::code);
    if update.execute(params![note, standing.word(), reason, at, kept])? == 0 {
        drop(update);
        return standing_of(tx.conn, note);
    }
    drop(update);
    if standing != Standing::Ordinary {
        tx.append(Tx::entry_id()?, Kind::Rejected, at, told, Vec::new());
    }
    Ok(standing)
}

fn standing_of(conn: &Connection, note: i64) -> Result<Standing, Fault> {
    let mut find = conn.prepare_cached("SELECT standing FROM rejections WHERE instance = ?1")?;
    let word: Option<String> = find.query_row([note], |row| row.get(0)).optional()?;
    match word {
        Some(word) => Standing::parse(&word).ok_or_else(|| damaged("standing of a note")),
        None => refuse(format!("instance {note} is no note")),
    }
}

/// Why a note does not count, if it does not.
fn objection(tx: &Tx<'_>, note: i64) -> Result<Option<&'static str>, Fault> {
    let mut own = tx.conn.prepare_cached(
        "SELECT 1 FROM instances k JOIN studies s ON s.id = k.study JOIN rejected r ON r.note = k.id AND r.study = s.uid WHERE k.id = ?1",
    )?;
    if !own.exists([note])? {
        return Ok(Some("the note's own study is not among those that it names"));
    }
    let known = "SELECT 1 FROM rejected r CROSS JOIN instances i ON i.sop_uid = r.uid \
                 CROSS JOIN studies s ON s.id = i.study AND s.uid = r.study";
    let mut any = tx.conn.prepare_cached(&format!("{known} WHERE r.note = ?1 AND i.id <> ?1 LIMIT 1"))?;
    let mut theirs = tx.conn.prepare_cached(&format!(
        "{known} CROSS JOIN arrivals a ON a.instance = i.id AND a.n = 1 WHERE r.note = ?1 AND i.id <> ?1 \
         AND EXISTS (SELECT 1 FROM arrivals b WHERE b.instance = ?1 AND {SAME_PARTY}) LIMIT 1"
    ))?;
    let foreign = any.exists([note])? && !theirs.exists([note])?;
    Ok(foreign
        .then_some("nothing of what it names was brought by who sent the note, and only who brought it may reject it"))
}

/// A person undoes a note.
pub(in crate::records) fn lift(
    tx: &mut Tx<'_>,
    note: &InstanceUid,
    (who, reason): (&str, &str),
    now: SystemTime,
) -> Result<(), Fault> {
    let at = micros(now);
    let (words, fact) = tx.words(reason)?;
    let mut update = tx.conn.prepare_cached(
        "UPDATE rejections SET standing = 'lifted', pending = pending + 1, lifted = ?2, lifted_by = ?3, lifted_words = ?4 \
         WHERE standing = 'in force' AND instance IN (SELECT id FROM instances WHERE sop_uid = ?1) RETURNING instance",
    )?;
    let lifted = update.query_map(params![note.as_str(), at, who, words], |row| row.get(0))?;
    let lifted: Vec<i64> = lifted.collect::<Result<_, _>>()?;
    drop(update);
    if lifted.is_empty() {
        return refuse(format!("{note} is no rejection note that is in force here"));
    }
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, 'undo', ?2, ?3)")?;
    insert.insert(params![at, who, words])?;
    drop(insert);
    let mut told: Facts = facts([("verb", "undo".into()), ("who", who.into()), ("words", fact)]);
    told.insert("notes".into(), lifted.into_iter().map(crate::ledger::entry::Fact::from).collect());
    tx.append(Tx::entry_id()?, Kind::Act, at, told, Vec::new());
    Ok(())
}

/// Rejection notes, the latest first, or the versions of one.
pub(in crate::records) fn list(
    conn: &Connection,
    note: Option<&InstanceUid>,
    offset: u64,
    limit: usize,
) -> Result<Vec<RejectionView>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT k.sop_uid, s.uid, a.origin_kind, a.origin_name, n.standing, k.hidden IS NOT NULL, n.reason, \
         (SELECT count(*) FROM rejected r WHERE r.note = n.instance), (SELECT count(*) FROM instances h WHERE h.hidden = n.instance), \
         n.decided, w.text, n.lifted_by, l.text FROM rejections n JOIN instances k ON k.id = n.instance \
         JOIN studies s ON s.id = k.study JOIN arrivals a ON a.instance = k.id AND a.n = 1 LEFT JOIN words w ON w.id = n.words \
         LEFT JOIN words l ON l.id = n.lifted_words WHERE n.standing <> 'ordinary' AND (?1 IS NULL OR k.sop_uid = ?1) \
         ORDER BY n.instance DESC LIMIT ?2 OFFSET ?3",
    )?;
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let mut rows = find.query(params![note.map(InstanceUid::as_str), at_most(limit) as i64, offset])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(view(row)?);
    }
    Ok(list)
}

fn view(row: &Row<'_>) -> Result<RejectionView, Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    Ok(RejectionView {
        note: parsed(&text(0)?, "SOP Instance UID", InstanceUid::parse)?,
        study: parsed(&text(1)?, "Study Instance UID", StudyUid::parse)?,
        source: origin(&text(2)?, &text(3)?)?,
        standing: Standing::parse(&text(4)?).ok_or_else(|| damaged("standing of a note"))?,
        is_rejected: row.get(5)?,
        reason: row.get::<_, Option<String>>(6)?.as_deref().and_then(Reason::parse),
        named: count(row.get(7)?),
        hides: count(row.get(8)?),
        decided: row.get::<_, Option<i64>>(9)?.map(time),
        words: row.get(10)?,
        lifted_by: row.get(11)?,
        lifted_words: row.get(12)?,
    })
}

/// What a note names.
pub(in crate::records) fn named(
    conn: &Connection,
    note: &InstanceUid,
    after: &str,
) -> Result<Vec<NamedInstance>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT r.uid, min(r.study), EXISTS (SELECT 1 FROM instances i WHERE i.sop_uid = r.uid), \
         EXISTS (SELECT 1 FROM instances i WHERE i.sop_uid = r.uid AND i.hidden IS NOT NULL) FROM rejected r \
         WHERE r.note IN (SELECT id FROM instances WHERE sop_uid = ?1) AND r.uid > ?2 GROUP BY r.uid ORDER BY r.uid LIMIT ?3",
    )?;
    let mut rows = find.query(params![note.as_str(), after, NAMES])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(NamedInstance {
            instance: parsed(&row.get::<_, String>(0)?, "SOP Instance UID", InstanceUid::parse)?,
            study: parsed(&row.get::<_, String>(1)?, "Study Instance UID", StudyUid::parse)?,
            is_known: row.get(2)?,
            is_hidden: row.get(3)?,
        });
    }
    Ok(list)
}

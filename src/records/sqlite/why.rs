//! The story of an instance or a study: what happened, in order, what stands now, and what comes next.

use super::lists::next;
use super::rows::{Fault, cause, count, damaged, micros, origin, priority, small, source, state, time, verify};
use crate::dicom::rejection::Reason;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::peers::Destination;
use crate::records::{AttemptId, BatchKind, Event, ExceptionId, Rejected, Standing, Taken, What};
use rusqlite::{Connection, Row};
use std::time::SystemTime;

/// Whose story.
pub(in crate::records) enum Subject {
    /// Of every version of an instance.
    Instance(InstanceUid),
    /// Of every instance of a study, taken together.
    Study(StudyUid),
}

/// The most events of one kind; of more, the latest are told.
const MOST: usize = 2000;

/// The transfers of the subject, found through their index.
const TRANSFERS: &str = "scope i CROSS JOIN destinations d JOIN transfers t \
    ON t.study = i.study AND t.destination = d.id AND t.instance = i.id";

/// The story, in order; empty if the subject is not known.
pub(in crate::records) fn why(conn: &Connection, subject: &Subject, now: SystemTime) -> Result<Vec<Event>, Fault> {
    let (scope, uid) = match subject {
        Subject::Instance(uid) => ("sop_uid = ?1", uid.as_str()),
        Subject::Study(uid) => ("study = (SELECT id FROM studies WHERE uid = ?1)", uid.as_str()),
    };
    let ask = Ask { conn, scope, uid, part: part(conn, subject)? };
    let mut events = ask.arrivals()?;
    events.extend(ask.unrouted()?);
    events.extend(ask.owed()?);
    events.extend(ask.exceptions()?);
    events.extend(ask.tried()?);
    events.extend(ask.moved()?);
    events.extend(ask.trying()?);
    events.extend(ask.purged()?);
    events.extend(ask.rejected()?);
    events.extend(ask.accessed()?);
    if let Subject::Study(study) = subject {
        events.extend(super::prefetch::story(conn, study.as_str())?);
    }
    // Stable: what happened at the same time stays in the order of cause and effect.
    events.sort_by_key(|event| event.at);
    events.extend(ask.standing(now)?);
    Ok(events)
}

/// What the events are told apart by: the versions of an instance that has several.
fn part(conn: &Connection, subject: &Subject) -> Result<&'static str, Fault> {
    let Subject::Instance(uid) = subject else { return Ok("NULL") };
    let mut find = conn.prepare_cached("SELECT count(*) FROM instances WHERE sop_uid = ?1")?;
    let versions: i64 = find.query_row([uid.as_str()], |row| row.get(0))?;
    Ok(if versions > 1 { "version" } else { "NULL" })
}

struct Ask<'a> {
    conn: &'a Connection,
    scope: &'a str,
    uid: &'a str,
    part: &'static str,
}

impl Ask<'_> {
    /// What is told of, with the part to which each event belongs.
    fn scope(&self) -> String {
        let Self { scope, part, .. } = self;
        format!(
            "WITH scope AS MATERIALIZED (SELECT id, study, sop_uid, {part} AS part, unrouted, received FROM instances \
             WHERE {scope})"
        )
    }

    /// Runs a query that gives first time, last time, number of instances, and then what `what` reads from column 3 on; and the `part`.
    fn events(&self, sql: &str, what: impl Fn(&Row<'_>) -> Result<What, Fault>) -> Result<Vec<Event>, Fault> {
        self.events_by("", sql, what)
    }

    /// The same; `last` settles the order of what happened at the same time.
    fn events_by(
        &self,
        last: &str,
        sql: &str,
        what: impl Fn(&Row<'_>) -> Result<What, Fault>,
    ) -> Result<Vec<Event>, Fault> {
        let sql = format!("{} {sql} ORDER BY 1 DESC{last} LIMIT {MOST}", self.scope());
        let mut find = self.conn.prepare_cached(&sql)?;
        let mut rows = find.query([self.uid])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
            let until = (last > first).then(|| time(last));
            let version = row.get::<_, Option<i64>>("part")?.map(small);
            events.push(Event { at: time(first), until, instances: count(row.get(2)?), version, what: what(row)? });
        }
        events.reverse();
        Ok(events)
    }

    fn arrivals(&self) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT min(a.at), max(a.at), count(DISTINCT i.sop_uid), a.origin_kind, a.origin_name, a.source, a.how, \
                   a.withheld, i.part FROM scope i JOIN arrivals a ON a.instance = i.id GROUP BY 4, 5, 6, 7, 8, 9";
        self.events(sql, |row| {
            let text = |n: usize| row.get::<_, String>(n);
            let withheld: Option<String> = row.get(7)?;
            let withheld: Vec<(String, String)> = match withheld {
                None => Vec::new(),
                Some(list) => serde_json::from_str(&list).map_err(|_| damaged("list of destinations"))?,
            };
            Ok(What::Received {
                origin: origin(&text(3)?, &text(4)?)?,
                source: source(&text(5)?),
                taken: match text(6)?.as_str() {
                    "stored" => Taken::First,
                    "same" => Taken::Again,
                    _ => Taken::Differs,
                },
                withheld: withheld.into_iter().map(|(to, why)| (Destination(to), why)).collect(),
            })
        })
    }

    fn unrouted(&self) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT min(received), max(received), count(DISTINCT sop_uid), part FROM scope WHERE unrouted = 1 GROUP BY part";
        self.events(sql, |_| Ok(What::Unrouted))
    }

    fn owed(&self) -> Result<Vec<Event>, Fault> {
        let sql = format!(
            "SELECT min(t.created), max(t.created), count(DISTINCT i.sop_uid), d.name, t.cause, t.route, t.mandatory, t.verify, \
             t.priority, i.part FROM {TRANSFERS} GROUP BY 4, 5, 6, 7, 8, 9, 10"
        );
        self.events(&sql, |row| {
            Ok(What::Owed {
                destination: Destination(row.get(3)?),
                cause: cause(&row.get::<_, String>(4)?)?,
                route: row.get(5)?,
                mandatory: row.get(6)?,
                verify: verify(&row.get::<_, String>(7)?)?,
                priority: priority(row.get(8)?)?,
            })
        })
    }

    fn exceptions(&self) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT min(x.opened), max(x.opened), count(DISTINCT i.sop_uid), min(x.id), x.kind, x.closed, w.text, i.part \
                   FROM scope i JOIN exceptions x ON x.instance = i.id LEFT JOIN words w ON w.id = x.words \
                   GROUP BY x.kind, x.closed, w.text, x.closed IS NULL, i.part";
        self.events(sql, |row| {
            Ok(What::Exception {
                exception: ExceptionId(row.get(3)?),
                kind: row.get(4)?,
                closed: row.get::<_, Option<i64>>(5)?.map(time),
                words: row.get(6)?,
            })
        })
    }

    fn tried(&self) -> Result<Vec<Event>, Fault> {
        let sql = format!(
            "SELECT min(p.at), max(p.at), count(DISTINCT i.sop_uid), p.attempt, a.kind, d.name, a.began, p.what, p.became, w.text, \
             aw.text, i.part \
             FROM {TRANSFERS} JOIN steps p ON p.transfer = t.id JOIN attempts a ON a.id = p.attempt \
             LEFT JOIN words w ON w.id = p.words LEFT JOIN words aw ON aw.id = a.words GROUP BY p.attempt, p.what, p.became, p.words, \
             i.part"
        );
        self.events(&sql, |row| {
            Ok(What::Tried {
                attempt: AttemptId(row.get(3)?),
                kind: kind(&row.get::<_, String>(4)?)?,
                destination: Destination(row.get(5)?),
                began: time(row.get(6)?),
                outcome: row.get(7)?,
                became: state(&row.get::<_, String>(8)?)?,
                words: row.get(9)?,
                summary: row.get(10)?,
            })
        })
    }

    fn moved(&self) -> Result<Vec<Event>, Fault> {
        let sql = format!(
            "SELECT p.at, p.at, count(DISTINCT i.sop_uid), d.name, p.what, c.who, w.text, p.became, i.part FROM {TRANSFERS} \
             JOIN steps p ON p.transfer = t.id LEFT JOIN acts c ON c.id = p.act LEFT JOIN words w ON w.id = p.words \
             WHERE p.attempt IS NULL GROUP BY p.at, d.name, p.what, p.act, p.words, p.became, i.part"
        );
        self.events(&sql, |row| {
            Ok(What::Moved {
                destination: Destination(row.get(3)?),
                what: row.get(4)?,
                who: row.get(5)?,
                words: row.get(6)?,
                became: state(&row.get::<_, String>(7)?)?,
            })
        })
    }

    fn trying(&self) -> Result<Vec<Event>, Fault> {
        let sql = format!(
            "SELECT a.began, a.began, count(DISTINCT i.sop_uid), a.id, a.kind, d.name, i.part FROM {TRANSFERS} \
             JOIN attempts a ON a.id = t.attempt GROUP BY a.id, i.part"
        );
        self.events(&sql, |row| {
            Ok(What::Trying {
                attempt: AttemptId(row.get(3)?),
                kind: kind(&row.get::<_, String>(4)?)?,
                destination: Destination(row.get(5)?),
            })
        })
    }

    fn purged(&self) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT p.at, p.at, count(DISTINCT i.sop_uid), p.rule, p.who, w.text, i.part FROM scope i \
                   CROSS JOIN purged g ON g.instance = i.id JOIN purges p ON p.id = g.purge \
                   LEFT JOIN words w ON w.id = p.words GROUP BY p.id, i.part";
        self.events_by(", p.id DESC", sql, |row| {
            let rule = super::purge::rule(&row.get::<_, String>(3)?)?;
            Ok(What::Purged { rule, who: row.get(4)?, words: row.get(5)? })
        })
    }

    /// Notes that name any of it, notes among it, and what people undid.
    fn rejected(&self) -> Result<Vec<Event>, Fault> {
        let columns = "k.sop_uid, n.standing, k.hidden IS NOT NULL, n.reason";
        let notes = "JOIN instances k ON k.id = n.instance LEFT JOIN words w ON w.id = n.words \
                     LEFT JOIN words l ON l.id = n.lifted_words";
        let named = "scope i JOIN instances x ON x.id = i.id JOIN rejected r ON r.uid = x.sop_uid JOIN rejections n ON n.instance = r.note";
        let own = "scope i JOIN rejections n ON n.instance = i.id";
        let standing = "n.standing <> 'ordinary'";
        let rows = [
            format!(
                "SELECT n.decided, n.decided, count(DISTINCT i.sop_uid), 0, {columns}, x.hidden IS NOT NULL, NULL, w.text, i.part \
                     FROM {named} {notes} WHERE n.decided IS NOT NULL AND {standing} \
                     GROUP BY n.instance, x.hidden IS NOT NULL, i.part"
            ),
            format!(
                "SELECT n.decided, n.decided, 1, 1, {columns}, \
                     EXISTS (SELECT 1 FROM instances h WHERE h.hidden = n.instance), NULL, w.text, i.part FROM {own} {notes} \
                     WHERE n.decided IS NOT NULL AND {standing}"
            ),
            format!(
                "SELECT n.lifted, n.lifted, count(DISTINCT i.sop_uid), 0, {columns}, x.hidden IS NOT NULL, n.lifted_by, l.text, \
                     i.part FROM {named} {notes} WHERE n.lifted IS NOT NULL GROUP BY n.instance, x.hidden IS NOT NULL, i.part"
            ),
            format!(
                "SELECT n.lifted, n.lifted, 1, 1, {columns}, 0, n.lifted_by, l.text, i.part FROM {own} {notes} \
                     WHERE n.lifted IS NOT NULL"
            ),
        ];
        let mut events = Vec::new();
        for sql in rows {
            events.extend(self.events(&sql, |row| {
                let standing: String = row.get(5)?;
                Ok(What::Rejected(Rejected {
                    is_own: row.get(3)?,
                    note: row.get(4)?,
                    standing: Standing::parse(&standing).ok_or_else(|| damaged("standing of a note"))?,
                    is_rejected: row.get(6)?,
                    reason: row.get::<_, Option<String>>(7)?.as_deref().and_then(Reason::parse),
                    hides: row.get(8)?,
                    undone_by: row.get(9)?,
                    words: row.get(10)?,
                }))
            })?);
        }
        Ok(events)
    }

    /// Accesses are kept by study; of an instance that of its study is told.
    fn accessed(&self) -> Result<Vec<Event>, Fault> {
        let sql = "SELECT c.at, c.at, 1, c.what, c.party, c.site, c.caller, c.purpose, c.detail, c.given, \
                   NULL AS part FROM accesses c \
                   WHERE c.study IN (SELECT s.uid FROM scope i JOIN studies s ON s.id = i.study)";
        self.events(sql, |row| super::access::read(row, 3).map(What::Accessed))
    }

    /// Where everything stands now, in order of destination and state.
    fn standing(&self, now: SystemTime) -> Result<Vec<Event>, Fault> {
        let now = micros(now);
        let sql = format!(
            "SELECT {now}, {now}, count(DISTINCT i.sop_uid), d.name, t.state, t.verify, \
             min(iif(t.lane = 2, max(t.due, coalesce(d.ask_not_before, 0)), t.due)) FILTER (WHERE t.lane IN (0, 1, 2)), \
             d.not_before, CASE WHEN t.lane IN (0, 1, 2) THEN d.reach END, w.text, \
             CASE WHEN t.lane IN (0, 1, 2) THEN d.paused_by END, q.text, \
             CASE WHEN t.lane = 2 AND d.unasked IS NOT NULL THEN coalesce(u.text, '') END, i.part FROM {TRANSFERS} \
             LEFT JOIN words u ON u.id = d.unasked_words LEFT JOIN words w ON w.id = d.words LEFT JOIN words q ON q.id = d.paused_words \
             GROUP BY 4, 5, 6, i.part"
        );
        let mut find = self.conn.prepare(&format!("{} {sql}", self.scope()))?;
        let mut rows = find.query([self.uid])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let reach: Option<String> = row.get(8)?;
            let words: Option<String> = row.get(9)?;
            let waiting_for = reach
                .filter(|reach| reach != "up")
                .map(|reach| words.map_or(format!("it is {reach}"), |words| format!("it is {reach}: {words}")));
            let unasked: Option<String> = row.get(12)?;
            let waiting_for =
                waiting_for.or_else(|| unasked.map(|why| format!("it cannot be asked what it holds: {why}")));
            let paused: Option<String> = row.get(10)?;
            let is_paused = paused.is_some();
            let waiting_for = match (paused, row.get::<_, Option<String>>(11)?) {
                (Some(who), Some(why)) => Some(format!("it is paused by {who}: {why}")),
                (Some(who), None) => Some(format!("it is paused by {who}")),
                (None, _) => waiting_for,
            };
            let what = What::Now {
                destination: Destination(row.get(3)?),
                state: state(&row.get::<_, String>(4)?)?,
                verify: verify(&row.get::<_, String>(5)?)?,
                next: next(row.get(6)?, row.get(7)?, now).filter(|_| !is_paused).map(time),
                waiting_for,
            };
            let version = row.get::<_, Option<i64>>("part")?.map(small);
            events.push(Event { at: time(now), until: None, instances: count(row.get(2)?), version, what });
        }
        Ok(events)
    }
}

fn kind(word: &str) -> Result<BatchKind, Fault> {
    match word {
        "send" => Ok(BatchKind::Send),
        "check" => Ok(BatchKind::Check),
        _ => Err(damaged("kind of attempt")),
    }
}

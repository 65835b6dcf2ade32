//! What the last verification by the gateway itself came to, kept over restarts (LED-006).

use super::rows::{Fault, count, micros, time, whole};
use super::tx::Tx;
use crate::records::Verified;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

const NAME: &str = "verified";

/// Notes it.
pub(in crate::records) fn note(tx: &Tx<'_>, verified: &Verified) -> Result<(), Fault> {
    let Verified { began, ended, entries, problems, first_bad, first, sound } = verified;
    let text = json!({
        "began": micros(*began), "ended": micros(*ended), "entries": whole(*entries)?, "problems": whole(*problems)?,
        "first_bad": first_bad.map(whole).transpose()?, "first": first, "sound": sound.map(micros),
    });
    let mut insert = tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute([NAME, &text.to_string()])?;
    Ok(())
}

/// The last. A note that cannot be read is none: it is verified anew then.
pub(in crate::records) fn find(conn: &Connection) -> Result<Option<Verified>, Fault> {
    let mut find = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let text: Option<String> = find.query_row([NAME], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| read(&serde_json::from_str(&text).ok()?)))
}

fn read(note: &Value) -> Option<Verified> {
    let number = |name: &str| note[name].as_i64();
    Some(Verified {
        began: time(number("began")?),
        ended: time(number("ended")?),
        entries: count(number("entries")?),
        problems: count(number("problems")?),
        first_bad: number("first_bad").map(count),
        first: note["first"].as_str().map(str::to_owned),
        sound: number("sound").map(time),
    })
}

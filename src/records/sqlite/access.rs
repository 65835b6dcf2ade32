//! Rows that say who asked for a study, was given it, or was not: to be found by the study.

use super::rows::{Fault, count};
use super::tx::Tx;
use crate::dicom::on_behalf::OnBehalf;
use crate::ledger::entry::Facts;
use crate::records::Accessed;
use rusqlite::{Row, params};

/// What is kept beside an entry of the same.
pub(in crate::records) struct Access<'a> {
    pub(in crate::records) at: i64,
    /// `query`, `retrieve`, `C-MOVE`, `C-GET`, `withheld`, `sought` or `pulled`.
    pub(in crate::records) what: &'a str,
    /// The peer or node; the peers that were asked.
    pub(in crate::records) party: &'a str,
    /// For whom it asked, or was asked.
    pub(in crate::records) behalf: &'a OnBehalf,
    /// Where images went, or the rule that withheld them.
    pub(in crate::records) detail: Option<&'a str>,
    pub(in crate::records) given: i64,
}

/// Puts into an entry for whom it was, as far as that was said.
pub(in crate::records) fn say(entry: &mut Facts, behalf: &OnBehalf) {
    let said = [("site", &behalf.site), ("caller", &behalf.caller), ("purpose", &behalf.purpose)];
    for (name, value) in said.into_iter().filter(|(_, value)| !value.is_empty()) {
        entry.insert(name.into(), value.as_str().into());
    }
}

/// Keeps an access to each of these studies.
pub(in crate::records) fn keep(tx: &Tx<'_>, studies: &[&str], access: &Access<'_>) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO accesses (study, at, what, party, site, caller, purpose, detail, given) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let OnBehalf { site, caller, purpose } = access.behalf;
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    for study in studies {
        let Access { at, what, party, detail, given, .. } = access;
        insert.execute(params![study, at, what, party, said(site), said(caller), said(purpose), detail, given])?;
    }
    Ok(())
}

/// An access from its columns: what, party, site, caller, purpose, detail, given, from `first` on.
pub(in crate::records) fn read(row: &Row<'_>, first: usize) -> Result<Accessed, Fault> {
    let said = |n: usize| row.get::<_, Option<String>>(first + n).map(Option::unwrap_or_default);
    Ok(Accessed {
        what: row.get(first)?,
        party: row.get(first + 1)?,
        behalf: OnBehalf { site: said(2)?, caller: said(3)?, purpose: said(4)? },
        detail: row.get(first + 5)?,
        given: count(row.get(first + 6)?),
    })
}

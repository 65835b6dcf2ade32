//! The cross-reference: which local number is whose NHS number, who said so and when (IDY-040, IDY-041, IDY-045).
//!
//! Statements are kept beside one another and never overwrite each other; what follows from them is decided when it is asked for.

use super::sqlite::cross_reference as rows;
use super::sqlite::merges;
use super::sqlite::rows::{Fault, micros};
use super::sqlite::tx::Tx;
use super::{Records, RecordsError};
use crate::dicom::cross_reference::{Link, LocalId, Said, Unlinked, link};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::ledger::entry::{Kind, facts};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Local numbers of one patient that are looked for, and those that are looked at.
const MOST_LOCAL: usize = 16;
const MOST_CANDIDATES: usize = 64;

/// Statements that one commit takes.
pub const MOST_STATEMENTS: usize = 1000;

/// A statement of the cross-reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Of which local number.
    pub who: LocalId,
    /// What was said of it.
    pub said: Said,
    /// Who said so: `node PACS`, `import`, `hl7 RIS`.
    pub source: String,
    /// When that was first said.
    pub at: SystemTime,
}

/// Two local numbers that a source said to be one patient's when it merged them (IDY-045). Nothing else joins numbers: no name, no date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The number that was.
    pub former: LocalId,
    /// The number that stays.
    pub stays: LocalId,
    /// Who said so: `hl7 PAS`.
    pub source: String,
    /// When that was first said.
    pub at: SystemTime,
}

/// What became of statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learned {
    /// Statements that were not there before.
    pub new: u64,
    /// Statements that were.
    pub known: u64,
    /// Statements beyond what is kept of one number, 32: it contradicts itself already.
    pub beyond: u64,
}

/// Whose statements are looked for.
#[derive(Debug, Clone)]
pub enum Sought {
    /// Those of a number, of one issuer or of all.
    Id(String, Option<String>),
    /// Those that name an NHS number.
    Number(NhsNumber),
}

/// Enters that statements are new, if any are; `who` brought them, if a person did.
pub(super) fn enter(
    tx: &mut Tx<'_>,
    source: &str,
    who: Option<&str>,
    learned: Learned,
    now: SystemTime,
) -> Result<(), Fault> {
    if learned.new > 0 {
        let new = i64::try_from(learned.new).unwrap_or(i64::MAX);
        let mut told = facts([("what", "learned".into()), ("source", source.into()), ("statements", new.into())]);
        if let Some(who) = who {
            told.insert("who".into(), who.into());
        }
        tx.append(Tx::entry_id()?, Kind::Identified, micros(now), told, Vec::new());
    }
    Ok(())
}

/// Enters that numbers were merged, if any were.
pub(super) fn enter_merges(tx: &mut Tx<'_>, source: &str, new: u64, now: SystemTime) -> Result<(), Fault> {
    if new > 0 {
        let new = i64::try_from(new).unwrap_or(i64::MAX);
        let told = facts([("what", "merged".into()), ("source", source.into()), ("merges", new.into())]);
        tx.append(Tx::entry_id()?, Kind::Identified, micros(now), told, Vec::new());
    }
    Ok(())
}

impl Records {
    /// Whose number a local number is. Its birth date must agree in all that is known: what was said of the number, what was said of
    /// others with the same NHS number, what our own nodes sent of this patient, and `birth_date` if the asker knows one.
    ///
    /// Numbers that were merged with it are the same patient's: what was said of any of them counts for all, and must agree (IDY-045).
    /// An issuer that issues NHS numbers makes the number itself the answer, if it is one.
    pub async fn nhs_number_of(&self, who: LocalId, birth_date: Option<String>) -> Result<Link, RecordsError> {
        if is_issuer(&who.issuer) {
            let number = NhsNumber::parse(&who.id).ok().filter(|number| !number.is_test());
            return Ok(number.map_or(Link::Nobody(Unlinked::NotKnown), Link::To));
        }
        let (said, of_number, mut known, all) = self
            .inner
            .readers
            .ask(move |conn| {
                let (group, all) = merges::group(conn, &who)?;
                let (mut said, mut known) = (Vec::new(), Vec::new());
                for one in &group {
                    said.extend(rows::said_of(conn, one)?);
                }
                let of_number = rows::birth_dates_of(conn, &said)?;
                for one in group.iter().filter(|_| !said.is_empty()) {
                    known.extend(rows::known_birth_dates(conn, one)?);
                }
                Ok((said, of_number, known, all))
            })
            .await?;
        known.extend(birth_date);
        if !all {
            return Ok(Link::Nobody(Unlinked::Contradicted));
        }
        Ok(link(&said, &of_number, &known))
    }

    /// The local numbers that are surely the patient's with this NHS number ([`Records::nhs_number_of`]), 16 at most, from whoever issued
    /// them. What is not sure is not among them.
    pub async fn local_ids_of(&self, number: NhsNumber) -> Result<Vec<LocalId>, RecordsError> {
        let said = self.statements(Sought::Number(number)).await?;
        let named: BTreeSet<LocalId> = said.into_iter().map(|statement| statement.who).take(MOST_CANDIDATES).collect();
        let merged = self.inner.readers.ask(move |conn| {
            let mut all = BTreeSet::new();
            for one in &named {
                all.extend(merges::group(conn, one)?.0);
            }
            Ok(all)
        });
        let mut sure = Vec::new();
        for one in merged.await?.into_iter().take(MOST_CANDIDATES) {
            if sure.len() < MOST_LOCAL && self.nhs_number_of(one.clone(), None).await? == Link::To(number) {
                sure.push(one);
            }
        }
        Ok(sure)
    }

    /// Takes statements of one source, [`MOST_STATEMENTS`] at most, and enters how many were new and who brought them. The same
    /// again changes nothing and is not entered.
    pub async fn learn(
        &self,
        statements: Vec<(LocalId, Said)>,
        source: &str,
        who: &str,
        now: SystemTime,
    ) -> Result<Learned, RecordsError> {
        if statements.len() > MOST_STATEMENTS || source.trim().is_empty() {
            return Err(RecordsError::Refused(format!("1 to {MOST_STATEMENTS} statements of a named source at once")));
        }
        let (source, who) = (source.to_owned(), who.to_owned());
        self.commit(move |tx| {
            let mut learned = Learned::default();
            for (id, said) in &statements {
                rows::learn(tx, id, said, &source, micros(now), &mut learned)?;
            }
            enter(tx, &source, Some(&who), learned, now)?;
            Ok(learned)
        })
        .await
    }

    /// Takes back what one source said of a local number, merges with it included; how many statements that were. `who` is a person's name, `reason` is kept
    /// beside the ledger, which names neither patient nor number.
    pub async fn unlearn(
        &self,
        id: LocalId,
        source: &str,
        who: &str,
        reason: &str,
        now: SystemTime,
    ) -> Result<u64, RecordsError> {
        if who.trim().is_empty() || reason.trim().is_empty() {
            return Err(RecordsError::Refused("to take a statement back needs a name and a reason".into()));
        }
        let (source, who, reason) = (source.to_owned(), who.to_owned(), reason.to_owned());
        self.commit(move |tx| {
            let gone = rows::unlearn(tx, &id, &source)? + merges::forget(tx, &id, &source)?;
            if gone > 0 {
                let told = facts([
                    ("what", "unlearned".into()),
                    ("source", source.as_str().into()),
                    ("who", who.as_str().into()),
                    ("statements", i64::try_from(gone).unwrap_or(i64::MAX).into()),
                    ("words", tx.words(&reason)?.1),
                ]);
                tx.append(Tx::entry_id()?, Kind::Identified, micros(now), told, Vec::new());
            }
            Ok(gone)
        })
        .await
    }

    /// Statements of the cross-reference, in the order of issuer, number and time; 1,000 at most.
    pub async fn statements(&self, sought: Sought) -> Result<Vec<Statement>, RecordsError> {
        self.inner.readers.ask(move |conn| rows::statements(conn, &sought)).await
    }

    /// The merges that name a number, of one issuer or of all; 100 at most.
    pub async fn merges(&self, id: String, issuer: Option<String>) -> Result<Vec<Merge>, RecordsError> {
        self.inner.readers.ask(move |conn| merges::of(conn, &id, issuer.as_deref())).await
    }

    /// The birth dates under which our own nodes sent studies of a local number, and of those that were merged with it, from 100 studies
    /// of each at most.
    pub async fn birth_dates(&self, who: LocalId) -> Result<Vec<String>, RecordsError> {
        let dates = move |conn: &super::sqlite::sharing::Connection| {
            let mut dates = Vec::new();
            for one in merges::group(conn, &who)?.0 {
                dates.extend(rows::known_birth_dates(conn, &one)?);
            }
            Ok(dates)
        };
        self.inner.readers.ask(dates).await
    }
}

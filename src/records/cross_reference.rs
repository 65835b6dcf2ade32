//! The cross-reference: which local number is whose NHS number, who said so and when (IDY-040, IDY-041, IDY-045).
//!
//! Statements are kept beside one another and never overwrite each other; what follows from them is decided when it is asked for.

use super::sqlite::cross_reference as rows;
use super::sqlite::rows::micros;
use super::sqlite::tx::Tx;
use super::{Records, RecordsError};
use crate::dicom::cross_reference::{Link, LocalId, Said, Unlinked, link};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::ledger::entry::{Kind, facts};
use std::time::SystemTime;

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

impl Records {
    /// Whose number a local number is. Its birth date must agree in all that is known: what was said of the number, what was said of
    /// others with the same NHS number, what our own nodes sent of this patient, and `birth_date` if the asker knows one.
    ///
    /// An issuer that issues NHS numbers makes the number itself the answer, if it is one.
    pub async fn nhs_number_of(&self, who: LocalId, birth_date: Option<String>) -> Result<Link, RecordsError> {
        if is_issuer(&who.issuer) {
            let number = NhsNumber::parse(&who.id).ok().filter(|number| !number.is_test());
            return Ok(number.map_or(Link::Nobody(Unlinked::NotKnown), Link::To));
        }
        let (said, of_number, mut known) = self
            .inner
            .readers
            .ask(move |conn| {
                let said = rows::said_of(conn, &who)?;
                let of_number = rows::birth_dates_of(conn, &said)?;
                let known = if said.is_empty() { Vec::new() } else { rows::known_birth_dates(conn, &who)? };
                Ok((said, of_number, known))
            })
            .await?;
        known.extend(birth_date);
        Ok(link(&said, &of_number, &known))
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
            if learned.new > 0 {
                let new = i64::try_from(learned.new).unwrap_or(i64::MAX);
                let told = facts([
                    ("what", "learned".into()),
                    ("source", source.as_str().into()),
                    ("who", who.as_str().into()),
                    ("statements", new.into()),
                ]);
                tx.append(Tx::entry_id()?, Kind::Identified, micros(now), told, Vec::new());
            }
            Ok(learned)
        })
        .await
    }

    /// Takes back what one source said of a local number; how many statements that were. `who` is a person's name, `reason` is kept
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
            let gone = rows::unlearn(tx, &id, &source)?;
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

    /// The birth dates under which our own nodes sent studies of a local number, from 100 studies at most.
    pub async fn birth_dates(&self, who: LocalId) -> Result<Vec<String>, RecordsError> {
        self.inner.readers.ask(move |conn| rows::known_birth_dates(conn, &who)).await
    }
}

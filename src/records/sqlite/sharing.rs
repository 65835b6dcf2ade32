//! What is withheld from whom: rules of the site against rows of studies and series.

use super::merges;
use super::rejections;
use super::rows::{Fault, source};
use super::study::texts;
use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_ID};
use crate::dicom::cross_reference::LocalId;
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::tag::Tag;
use crate::peers::{Hidden, StudyFacts, Withhold};
use crate::records::sharing::{Eyes, Note};
use crate::records::{Elsewhere, Event, Picked, What};
pub(in crate::records) use rusqlite::Connection;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// One question, as somebody sees the records.
pub(in crate::records) struct Look {
    eyes: Eyes,
    /// The study that was looked at last, with what is hidden of it.
    last: Option<(String, Hidden)>,
    notes: BTreeSet<Note>,
}

impl Look {
    pub(in crate::records) fn new(eyes: Eyes) -> Self {
        Self { eyes, last: None, notes: BTreeSet::new() }
    }

    /// What was withheld meanwhile.
    pub(in crate::records) fn notes(self) -> BTreeSet<Note> {
        self.notes
    }

    /// Whether no rule concerns anybody who looks.
    pub(in crate::records) fn is_clear(&self) -> bool {
        self.eyes.viewers.is_empty()
    }

    /// Whether another site looks, which is shown less.
    pub(in crate::records) fn is_of_another_site(&self) -> bool {
        self.eyes.another_site
    }

    /// What counts as kept of instances `i`. What was pulled from a site goes to who asked for it here, and to no other site: its own
    /// site may have withdrawn it meanwhile, or withhold it from that one ("Origins and loops"). What a rejection note hides is kept
    /// for nobody (WEB-105). It looks at nothing but who looks and the instance's own row: see [`super::tally`].
    pub(in crate::records) fn kept(&self) -> &'static str {
        match self.eyes.another_site {
            true => "i.state = 'stored' AND i.behind IS NULL AND i.hidden IS NULL AND i.borrowed <> 1",
            false => "i.state = 'stored' AND i.behind IS NULL AND i.hidden IS NULL",
        }
    }

    /// The same without regard to the state.
    pub(in crate::records) fn ever_kept(&self) -> &'static str {
        match self.eyes.another_site {
            true => "i.behind IS NULL AND i.hidden IS NULL AND i.borrowed <> 1",
            false => "i.behind IS NULL AND i.hidden IS NULL",
        }
    }

    /// What of instances `i` is nobody's to see who looks, whatever its state.
    pub(in crate::records) fn out_of_sight(&self) -> &'static str {
        match self.eyes.another_site {
            true => "i.hidden IS NOT NULL OR i.borrowed = 1",
            false => "i.hidden IS NOT NULL",
        }
    }

    /// Those who look, as a list for a query.
    pub(in crate::records) fn viewers(&self) -> String {
        Value::from_iter(self.eyes.viewers.iter().map(|(party, _)| party.as_str())).to_string()
    }

    /// What is hidden of a study from any of those who look.
    pub(in crate::records) fn hidden(&mut self, conn: &Connection, study: &str) -> Result<Hidden, Fault> {
        if self.is_clear() {
            return Ok(Hidden::default());
        }
        if let Some((known, hidden)) = &self.last
            && known == study
        {
            return Ok(hidden.clone());
        }
        let mut all = Hidden::default();
        for (party, rules) in &self.eyes.viewers {
            let hidden = judge(conn, study, rules, Said::Ever)?;
            let note = |rule: &str| Note { party: party.clone(), study: study.to_owned(), rule: rule.to_owned() };
            self.notes.extend(hidden.rules().into_iter().map(note));
            all.study = all.study.or(hidden.study);
            all.series.extend(hidden.series);
        }
        self.last = Some((study.to_owned(), all.clone()));
        Ok(all)
    }

    /// Whether any of a study is shown.
    pub(in crate::records) fn shows(&mut self, conn: &Connection, study: &str) -> Result<bool, Fault> {
        Ok(self.hidden(conn, study)?.study.is_none())
    }

    /// Whether a series is shown.
    pub(in crate::records) fn shows_series(
        &mut self,
        conn: &Connection,
        study: &str,
        series: &str,
    ) -> Result<bool, Fault> {
        Ok(self.hidden(conn, study)?.rule(series).is_none())
    }
}

impl Look {
    /// Whether what is held elsewhere is shown: by what is known here, and by what its holder says of it. Where a rule is about series and
    /// only the study is described, the whole is not shown unless its modalities leave no doubt.
    pub(in crate::records) fn shows_elsewhere(
        &mut self,
        conn: &Connection,
        row: Elsewhere,
        issuer: &str,
    ) -> Result<bool, Fault> {
        if rejections::hides_elsewhere(conn, &row)? {
            return Ok(false);
        }
        if self.is_clear() {
            return Ok(true);
        }
        let hidden = self.hidden(conn, row.study.as_str())?;
        if hidden.certain(row.series.as_ref().map(|series| series.as_str())).is_some() {
            return Ok(false);
        }
        let mut facts = StudyFacts { texts: row.attributes.0, ..StudyFacts::default() };
        facts.origins.insert(row.origin.name().to_owned());
        let said = facts.texts.get(&ISSUER_OF_PATIENT_ID).filter(|issuer| !issuer.is_empty()).cloned();
        identify(conn, &mut facts, &BTreeSet::from([said.unwrap_or_else(|| issuer.to_owned())]))?;
        for (party, rules) in &self.eyes.viewers {
            let withholds = |rule: &&Withhold| {
                rule.holds(&facts)
                    && match (rule.is_of_series(), &row.series) {
                        (false, _) => true,
                        (true, Some(_)) => rule.holds_for(&facts.texts),
                        (true, None) => !rule.leaves(&row.modalities),
                    }
            };
            if let Some(rule) = rules.iter().find(withholds) {
                let (party, study) = (party.clone(), row.study.to_string());
                self.notes.insert(Note { party, study, rule: rule.name.clone() });
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The UIDs of hidden series as a list for a query.
pub(in crate::records) fn list(hidden: &Hidden) -> String {
    Value::from_iter(hidden.series.keys().map(String::as_str)).to_string()
}

/// See [`crate::records::Records::may_be_sought`].
pub(in crate::records) fn sought(conn: &Connection, mut picked: Picked, look: &mut Look) -> Result<Picked, Fault> {
    let (mut studies, mut hidden_series) = (Vec::with_capacity(picked.studies.len()), BTreeSet::new());
    for study in picked.studies {
        let hidden = look.hidden(conn, study.as_str())?;
        if hidden.certain(None).is_none() {
            hidden_series.extend(hidden.series.into_keys());
            studies.push(study);
        }
    }
    let named = (picked.series.len(), picked.instances.len());
    picked.series.retain(|series| !hidden_series.contains(series.as_str()));
    let mut instances = Vec::with_capacity(picked.instances.len());
    for instance in picked.instances {
        let mut hidden = false;
        for study in &studies {
            hidden = hidden || rejections::is_hidden_here(conn, study.as_str(), instance.as_str())?;
        }
        instances.extend(Some(instance).filter(|_| !hidden));
    }
    picked.instances = instances;
    // A list of which nothing is left would mean all.
    let emptied = (named.0 > 0 && picked.series.is_empty()) || (named.1 > 0 && picked.instances.is_empty());
    picked.studies = if emptied { Vec::new() } else { studies };
    Ok(picked)
}

/// See [`crate::records::Records::why_withheld`].
pub(in crate::records) fn told(
    conn: &Connection,
    uid: &str,
    rules: &[Withhold],
    now: SystemTime,
) -> Result<Vec<Event>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT uid FROM studies WHERE uid = ?1 UNION \
         SELECT s.uid FROM instances i JOIN studies s ON s.id = i.study WHERE i.sop_uid = ?1",
    )?;
    let studies: Vec<String> = find.query_map([uid], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut events = Vec::new();
    for study in &studies {
        for rule in rules {
            let alone = std::slice::from_ref(rule);
            let hidden = judge(conn, study, alone, Said::Ever)?;
            if hidden.is_nothing() {
                continue;
            }
            let later = judge(conn, study, alone, Said::First)? != hidden;
            let series = hidden.series.into_keys().collect();
            let what = What::Withheld { rule: rule.name.clone(), from: rule.to.clone(), series, later };
            events.push(Event { at: now, until: None, instances: 1, version: None, what });
        }
    }
    Ok(events)
}

/// What counts of what was said of a study and its series.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// What the first image said.
    First,
    /// What any image ever said.
    Ever,
}

/// What these rules hide of a study.
fn judge(conn: &Connection, study: &str, rules: &[Withhold], said: Said) -> Result<Hidden, Fault> {
    let mut find = conn.prepare_cached("SELECT id FROM studies WHERE uid = ?1")?;
    let found = find.query_row([study], |row| row.get::<_, i64>(0)).optional()?;
    let Some(id) = found else { return Ok(Hidden::default()) };
    let holding = holding(conn, id, rules, said)?;
    if let Some(rule) = holding.iter().find(|rule| !rule.is_of_series()) {
        return Ok(Hidden { study: Some(rule.name.clone()), ..Hidden::default() });
    }
    let mut hidden = Hidden::default();
    if holding.is_empty() {
        return Ok(hidden);
    }
    let mut find = conn.prepare_cached(
        "SELECT uid, attributes FROM series WHERE study = ?1 UNION ALL SELECT r.uid, m.attributes FROM also_said m \
         JOIN series r ON r.id = m.series WHERE m.study = ?1 AND m.series > 0 AND ?2",
    )?;
    let mut rows = find.query(params![id, said == Said::Ever])?;
    let mut known = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let (uid, said) = (row.get::<_, String>(0)?, legible(row, 1));
        if let Some(rule) = holding.iter().find(|rule| said.as_ref().is_none_or(|said| rule.holds_for(said))) {
            hidden.series.entry(uid.clone()).or_insert_with(|| rule.name.clone());
        }
        known.insert(uid);
    }
    if known.len() == hidden.series.len() {
        hidden.study = hidden.series.values().next().cloned();
    }
    Ok(hidden)
}

/// The attributes of a column; `None` if they cannot be read: such a row may have said anything, and to withhold is the safe side (SEC-022).
fn legible(row: &Row<'_>, column: usize) -> Option<BTreeMap<Tag, String>> {
    row.get_ref(column).ok()?.as_str().ok().and_then(|text| texts(text).ok())
}

/// The rules that hold by anything that was ever said of a study and its patient, by its first instance or by a later one: an image that
/// was filed in it under another patient's number is that patient's too (SEC-022).
fn holding<'a>(conn: &Connection, study: i64, rules: &'a [Withhold], counts: Said) -> Result<Vec<&'a Withhold>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT attributes FROM studies WHERE id = ?1 UNION ALL \
         SELECT attributes FROM also_said WHERE study = ?1 AND series = 0 AND ?2",
    )?;
    let mut rows = find.query(params![study, counts == Said::Ever])?;
    let mut holding = vec![false; rules.len()];
    // There may be a row for each instance, which differ in what no rule looks at.
    let conditions = rules.iter().flat_map(|rule| &rule.when).map(|condition| condition.attribute.tag);
    let looked_at: BTreeSet<Tag> = conditions.chain([PATIENT_ID, ISSUER_OF_PATIENT_ID]).collect();
    let mut seen = BTreeSet::new();
    let mut patients = BTreeMap::<(String, String), (Vec<LocalId>, Vec<NhsNumber>)>::new();
    // Asked for once, and only if a rule may hold.
    let mut whence = None;
    while let Some(row) = rows.next()? {
        let mut said = legible(row, 0);
        if let Some(said) = &mut said {
            said.retain(|tag, _| looked_at.contains(tag));
        }
        let may_hold = |rule: &Withhold| said.as_ref().is_none_or(|said| rule.may_hold(said));
        if !seen.insert(said.clone()) || !rules.iter().any(may_hold) {
            continue;
        }
        if whence.is_none() {
            whence = Some(came_from(conn, study)?);
        }
        let Some((origins, issuers)) = &whence else { continue };
        let Some(said) = said else {
            for (rule, holds) in rules.iter().zip(&mut holding) {
                *holds = *holds || rule.from.is_empty() || rule.from.iter().any(|name| origins.contains(name));
            }
            continue;
        };
        let text = |tag: Tag| said.get(&tag).cloned().unwrap_or_default();
        let patient = (text(PATIENT_ID), text(ISSUER_OF_PATIENT_ID));
        let mut facts = StudyFacts { texts: said, origins: origins.clone(), ..StudyFacts::default() };
        if let Some((ids, numbers)) = patients.get(&patient) {
            (facts.ids, facts.numbers) = (ids.clone(), numbers.clone());
        } else {
            let named = (!patient.1.is_empty()).then(|| BTreeSet::from([patient.1.clone()]));
            identify(conn, &mut facts, named.as_ref().unwrap_or(issuers))?;
            patients.insert(patient, (facts.ids.clone(), facts.numbers.clone()));
        }
        for (rule, holds) in rules.iter().zip(&mut holding) {
            *holds = *holds || rule.holds(&facts);
        }
    }
    Ok(rules.iter().zip(holding).filter_map(|(rule, holds)| holds.then_some(rule)).collect())
}

/// Whom a study came from, and who of them issues the numbers that say no issuer.
fn came_from(conn: &Connection, study: i64) -> Result<(BTreeSet<String>, BTreeSet<String>), Fault> {
    let mut find = conn.prepare_cached(
        "SELECT DISTINCT a.origin_name, a.source FROM instances i JOIN arrivals a ON a.instance = i.id WHERE i.study = ?1",
    )?;
    let (mut origins, mut issuers) = (BTreeSet::new(), BTreeSet::new());
    let mut rows = find.query([study])?;
    while let Some(row) = rows.next()? {
        origins.insert(row.get(0)?);
        issuers.extend(source(&row.get::<_, String>(1)?).issuer);
    }
    Ok((origins, issuers))
}

/// Who the patient may be whose number one of these parties issued.
fn identify(conn: &Connection, facts: &mut StudyFacts, issuers: &BTreeSet<String>) -> Result<(), Fault> {
    let id = facts.texts.get(&PATIENT_ID).cloned().unwrap_or_default();
    facts.ids = issuers.iter().filter_map(|issuer| LocalId::new(issuer, &id)).collect();
    // Who objected under one number is withheld under each that was merged with it (IDY-045).
    for one in facts.ids.clone() {
        facts.ids.extend(merges::group(conn, &one)?.0);
    }
    // Ten digits that may be an NHS number are taken for one here, whoever issued them.
    facts.numbers = NhsNumber::parse(&id).ok().into_iter().collect();
    let mut find =
        conn.prepare_cached("SELECT DISTINCT number FROM identities WHERE patient_id = ?1 AND issuer = ?2")?;
    for id in &facts.ids {
        for number in find.query_map(params![id.id, id.issuer], |row| row.get::<_, String>(0))? {
            facts.numbers.extend(NhsNumber::parse(&number?).ok());
        }
    }
    Ok(())
}

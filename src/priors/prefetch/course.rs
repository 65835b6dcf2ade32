//! The course of one prefetch: the sites are searched as for a query, the rules choose, and what they choose is pulled as for a move.

use super::rule::{Candidate, Rule};
use super::{Inner, PURPOSE, Prefetching};
use crate::dicom::attributes::BODY_PART_EXAMINED;
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::StudyUid;
use crate::peers::{Destination, Party, Priority};
use crate::priors::gather::Why;
use crate::priors::search::{Outcome, Wanted, What};
use crate::priors::watch::Came;
use crate::priors::whom::Patient;
use crate::priors::{Priors, Site};
use crate::records::{Order, Picked, PrefetchCause, PrefetchRow, RecordsError};
use jiff::Zoned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Candidates whose body parts are asked for, for one rule.
const MOST_LOOKED_AT: usize = 50;
/// While somebody else's pull is under way the next one waits, looking again so often, and no longer than this.
const LOOK: Duration = Duration::from_millis(500);
const LONGEST_STEP_ASIDE: Duration = Duration::from_secs(600);

/// Why a study is given to nobody (IDY-040).
const REFILED: &str = "a study whose site files it under another patient by now than its copy here";
const UNFILED: &str = "a study of which its site does not say whose it is";
const UNCHECKED: &str = "a study of which a site that has it does not say whether its copy here is still its patient's";

/// What a try came to. No patient data.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What was done, for people.
    pub(super) told: String,
    /// Why it is to be tried again, if so.
    pub(super) unfinished: Option<String>,
}

/// What was done so far.
#[derive(Default)]
struct Sums {
    studies: BTreeSet<StudyUid>,
    /// Those of them that are given to nobody, since they may be of another patient, and why.
    doubtful: BTreeMap<StudyUid, &'static str>,
    instances: u64,
    lost: u64,
    silent: BTreeSet<String>,
    not_asked: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Sums {
    fn tried(self) -> Tried {
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        let mut told = format!("{} studies chosen, {} instances came", self.studies.len(), self.instances);
        if !self.not_asked.is_empty() {
            told.push_str(&format!(", not asked for want of a number: {}", list(self.not_asked)));
        }
        for refused in self.refused {
            told.push_str(&format!(", {refused}"));
        }
        let unfinished = match (self.silent.is_empty(), self.lost) {
            (true, 0) => None,
            (true, lost) => Some(format!("{lost} instances did not come")),
            (false, _) => Some(format!("no answer that can be used from {}", list(self.silent))),
        };
        Tried { told, unfinished }
    }
}

/// Tries one prefetch from its beginning; what is here already is not pulled again.
pub(super) async fn run(inner: &Inner, row: &PrefetchRow, settings: &Prefetching) -> Tried {
    let rules: Vec<&Rule> = settings.rules.iter().filter(|rule| rule.concerns(&row.what.modalities)).collect();
    if rules.is_empty() {
        return Tried { told: "no rule of [[prefetch]] concerns it".into(), unfinished: None };
    }
    let course = Course { inner, row, settings, behalf: behalf(inner, row) };
    match course.run(&rules).await {
        Ok(sums) => sums.tried(),
        Err(error) => Tried { told: "the records failed".into(), unfinished: Some(error.to_string()) },
    }
}

/// Who is named to the other sites: what caused it, and always this purpose (SEC-022).
fn behalf(inner: &Inner, row: &PrefetchRow) -> OnBehalf {
    let behalf = inner.registry.borrow().behalf_of_user("", Some(PURPOSE));
    OnBehalf { caller: row.what.who.clone(), ..behalf }
}

struct Course<'a> {
    inner: &'a Inner,
    row: &'a PrefetchRow,
    settings: &'a Prefetching,
    behalf: OnBehalf,
}

impl Course<'_> {
    fn priors(&self) -> &Priors {
        self.inner.fetcher.priors()
    }

    async fn patient(&self) -> Patient {
        let what = &self.row.what;
        let nhs = NhsNumber::parse(&what.nhs).ok();
        let (id, issuer) = (what.patient_id.clone(), what.issuer.clone());
        let patient = Patient { id, issuer, nhs, birth_date: String::new() };
        let birth_date = Some(what.birth_date.clone()).filter(|date| !date.is_empty());
        self.priors().linked(patient, birth_date).await
    }

    async fn run(&self, rules: &[&Rule]) -> Result<Sums, RecordsError> {
        let mut sums = Sums::default();
        let sites = self.priors().sites();
        let asked = sites.sites.iter().filter(|site| rules.iter().any(|rule| rule.asks(&site.name)));
        let candidates = self.candidates(asked.cloned().collect(), &mut sums).await?;
        let today = Zoned::now().date();
        for rule in rules {
            for candidate in self.chosen(rule, rule.fitting(&candidates, today), &mut sums).await {
                self.pull(candidate, &mut sums, &rule.name).await?;
                if let Some(to) = &rule.to {
                    self.owe(candidate, to, rule, &mut sums).await?;
                }
            }
        }
        Ok(sums)
    }

    /// The patient's studies at these sites that are not our own.
    async fn candidates(&self, sites: Vec<Site>, sums: &mut Sums) -> Result<Vec<Candidate>, RecordsError> {
        let mut answers = self.priors().search(&Wanted::Patient(self.patient().await), sites, &self.behalf);
        let mut all = Vec::new();
        while let Some(part) = answers.next().await {
            match part.what {
                What::Found(found) => all.extend(found.into_iter().map(Candidate::of)),
                What::Ended(Outcome::NotAnswering(_)) => drop(sums.silent.insert(part.site)),
                What::Ended(Outcome::NotAsked(_)) => drop(sums.not_asked.insert(part.site)),
                What::Ended(_) => {}
            }
        }
        let mut theirs = Vec::new();
        for candidate in all {
            let cause = matches!(&self.row.what.cause, PrefetchCause::Study(study) if *study == candidate.study);
            let held = self.inner.fetcher.records().held_of(&candidate.study).await?;
            if !cause && held.iter().all(|held| held.pulled) {
                theirs.push(candidate);
            }
        }
        Ok(theirs)
    }

    /// Those of the fitting that a rule means: by body part, if it says so, as many as it says.
    async fn chosen<'a>(&self, rule: &Rule, fitting: Vec<&'a Candidate>, sums: &mut Sums) -> Vec<&'a Candidate> {
        if rule.body_part.is_empty() {
            return fitting.into_iter().take(rule.newest).collect();
        }
        let mut chosen = Vec::new();
        for candidate in fitting.into_iter().take(MOST_LOOKED_AT) {
            if chosen.len() == rule.newest {
                break;
            }
            if self.has_body_part(rule, candidate, sums).await {
                chosen.push(candidate);
            }
        }
        chosen
    }

    async fn has_body_part(&self, rule: &Rule, candidate: &Candidate, sums: &mut Sums) -> bool {
        let sites = self.priors().sites().site(&candidate.site).cloned().into_iter().collect();
        let mut answers = self.priors().search(&Wanted::Series(candidate.study.clone()), sites, &self.behalf);
        let mut fits = false;
        while let Some(part) = answers.next().await {
            match part.what {
                What::Found(series) => {
                    let of = |found: &crate::priors::merge::Found| {
                        found.values.0.get(&BODY_PART_EXAMINED).cloned().unwrap_or_default()
                    };
                    fits |= series.iter().any(|found| rule.fits_body_part(&of(found)));
                }
                What::Ended(Outcome::NotAnswering(_)) => drop(sums.silent.insert(part.site)),
                What::Ended(_) => {}
            }
        }
        fits
    }

    /// Pulls a study as a move would, with whoever else pulls it, once nobody's own pull is in the way.
    async fn pull(&self, candidate: &Candidate, sums: &mut Sums, rule: &str) -> Result<(), RecordsError> {
        if !sums.studies.insert(candidate.study.clone()) {
            return Ok(());
        }
        self.note(candidate, rule, "being pulled".into()).await?;
        self.step_aside().await;
        let _own = Own::begin(self.inner);
        let picked = Picked { studies: vec![candidate.study.clone()], ..Picked::default() };
        let held = self.inner.fetcher.records().held_of(&candidate.study).await?;
        let copied = held.iter().any(|held| held.pulled);
        // Whether a copy is still its patient's only the site knows from which it came, which need not be the first that shows the study.
        let from = if copied { None } else { Some(candidate.site.as_str()) };
        let mut gathering = self.inner.fetcher.gather(&picked, from, &self.behalf).await?;
        gathering.start();
        let (mut came, mut lost) = (0_u64, 0_u64);
        while let Some(next) = gathering.next().await {
            match next {
                Came::Here(..) => came += 1,
                Came::Lost(..) => lost += 1,
            }
        }
        sums.instances += came;
        sums.lost += lost;
        sums.silent.extend(gathering.silent.iter().map(|silent| silent.site.clone()));
        let untold = gathering.silent.iter().any(|silent| silent.why == Why::Unfiled);
        let doubt = match () {
            () if !gathering.stale.is_empty() => Some(REFILED),
            () if untold => Some(UNFILED),
            () if copied && gathering.silent.iter().any(|silent| !silent.why.is_of_its_list()) => Some(UNCHECKED),
            () => None,
        };
        sums.doubtful.extend(doubt.map(|doubt| (candidate.study.clone(), doubt)));
        let how = match (gathering.silent.is_empty(), lost) {
            _ if !gathering.stale.is_empty() => {
                let stale = gathering.stale.len();
                format!(
                    "the site files it under another patient by now, and has not given {stale} instances again as they are here"
                )
            }
            _ if untold => "the site did not say under which number it files it".to_owned(),
            (false, _) => "the site did not say what it has of it".to_owned(),
            (true, 0) => format!("{came} instances came, nothing is missing"),
            (true, lost) => format!("{came} instances came, {lost} did not"),
        };
        self.note(candidate, rule, how).await
    }

    async fn note(&self, candidate: &Candidate, rule: &str, how: String) -> Result<(), RecordsError> {
        let records = self.inner.fetcher.records();
        records.prefetch_chose(self.row.id, &candidate.study, &candidate.site, rule, how, SystemTime::now()).await
    }

    /// Lets pulls that somebody waits for go first.
    async fn step_aside(&self) {
        let until = tokio::time::Instant::now() + LONGEST_STEP_ASIDE;
        let own = || self.inner.own.load(Ordering::SeqCst);
        while self.inner.fetcher.under_way() > own() && tokio::time::Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Owes what is here of a study to a node, as if a person had sent it: `foreign`, `[[withhold]]` and all else hold. A copy that may
    /// be of another patient is given to nobody (IDY-040).
    async fn owe(
        &self,
        candidate: &Candidate,
        to: &Destination,
        rule: &Rule,
        sums: &mut Sums,
    ) -> Result<(), RecordsError> {
        if let Some(why) = sums.doubtful.get(&candidate.study) {
            sums.refused.insert(format!("not given to {to}: {why}"));
            return Ok(());
        }
        let verify = match self.inner.registry.borrow().destination(to) {
            Some(Party::Node(node)) if node.may.receive => node.verify,
            _ => {
                sums.refused.insert(format!("not given to {to}, which may not receive"));
                return Ok(());
            }
        };
        let order = Order {
            study: candidate.study.clone(),
            from: None,
            destination: to.clone(),
            verify,
            priority: Priority::Prior,
            who: format!("rule \"{}\" of [[prefetch]]", rule.name),
            reason: String::new(),
            again: false,
            resend_after: self.settings.resend_after,
            now: SystemTime::now(),
        };
        self.inner.fetcher.records().order(order).await.map(drop)
    }
}

/// A pull of our own is under way until this is dropped.
struct Own<'a>(&'a Inner);

impl<'a> Own<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.own.fetch_add(1, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.0.own.fetch_sub(1, Ordering::SeqCst);
    }
}

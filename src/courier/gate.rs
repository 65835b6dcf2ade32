//! The second decision: whether what is about to be sent may still go there, by the routes that are in force now (INV-15).
//!
//! Between arrival and sending the configuration may have changed: what was owed by routes that are over is asked about again.
//! What no route sends there any more waits for a person. What a person asked for, or has released, goes. What a rule of the site
//! withholds from the destination does not, whoever asked for it.

use super::carrier::Report;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::{Cause, TransferId};
use crate::peers::{Destination, Hidden};
use crate::records::{Batch, Leased, Records, Routable, Standing};
use crate::router::{self, Route, Routes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Before a Key Object Selection that was not read yet is looked at again.
const UNREAD: Duration = Duration::from_secs(1);

/// What stands between the lanes and the carriers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Gate {
    records: Records,
    routes: watch::Receiver<Arc<Routes>>,
    shut: Arc<AtomicBool>,
}

/// What became of a batch at the gate.
pub(super) struct Passed {
    /// What goes; none if nothing does.
    pub(super) batch: Option<Batch>,
    /// What does not, and why.
    pub(super) stays: Vec<(TransferId, Outcome)>,
}

impl Gate {
    pub(super) fn new(records: Records, routes: watch::Receiver<Arc<Routes>>) -> Self {
        Self { records, routes, shut: Arc::default() }
    }

    /// Shut, no lane leases anything: other routes are being put in force, and the lanes that go with them are not there yet.
    pub(super) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Release);
    }

    /// Whether nothing is to be leased now.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Judges a batch that is to be sent. Nothing of it has been sent yet.
    pub(super) async fn pass(&self, batch: &Batch) -> Passed {
        let routes = Arc::clone(&self.routes.borrow());
        if batch.routes.as_ref().is_some_and(|leased_by| **leased_by != **routes.version()) {
            return Passed {
                batch: None,
                stays: all(batch, "the configuration changed just now", Some(Duration::ZERO)),
            };
        }
        let hidden = match self.records.hidden(&batch.destination.0, &batch.study).await {
            Ok(hidden) => hidden,
            Err(error) => {
                let why = format!("whether it may be shown there cannot be read: {error}");
                return Passed { batch: None, stays: all(batch, &why, None) };
            }
        };
        let Passed { batch: shown, mut stays } = withheld(&hidden, batch);
        let Some(batch) = &shown else { return Passed { batch: None, stays } };
        let Passed { batch: shown, stays: unread } = notes(batch);
        stays.extend(unread);
        let Some(batch) = &shown else { return Passed { batch: None, stays } };
        let doubtful = batch.items.iter().filter(|item| item.cause == Cause::Route && item.before_routes);
        let instances: Vec<_> = doubtful.map(|item| item.instance).collect();
        if instances.is_empty() {
            return Passed { batch: Some(batch.clone()), stays };
        }
        match self.records.routable(instances).await {
            Ok(known) => {
                let judged = judge(&routes, batch, &known);
                stays.extend(judged.stays);
                Passed { batch: judged.batch, stays }
            }
            Err(error) => {
                let why = format!("whether it may still go there cannot be read: {error}");
                stays.extend(all(batch, &why, None));
                Passed { batch: None, stays }
            }
        }
    }
}

/// Nothing of a batch goes now.
fn all(batch: &Batch, why: &str, after: Option<Duration>) -> Vec<(TransferId, Outcome)> {
    let later = Outcome::Deferred { why: why.to_owned(), charge: Charge::Us, after };
    batch.items.iter().map(|item| (item.transfer, later.clone())).collect()
}

/// What a rule withholds from the destination waits for a person, however it came to be owed. A release alone does not send it: the
/// rule stands above it.
fn withheld(hidden: &Hidden, batch: &Batch) -> Passed {
    let (mut goes, mut stays) = (Vec::new(), Vec::new());
    for item in &batch.items {
        match hidden.rule(item.copy.series.as_str()) {
            None => goes.push(item.clone()),
            Some(rule) => {
                let why = format!(
                    "withheld from {} by rule \"{rule}\"; change the rule and release it, or cancel it",
                    batch.destination
                );
                stays.push((item.transfer, Outcome::Held { why }));
            }
        }
    }
    let batch = (!goes.is_empty()).then(|| Batch { items: goes, ..batch.clone() });
    Passed { batch, stays }
}

/// A Key Object Selection goes once it was read; a rejection note that does not count here waits for a person, since where it would go
/// its word might be taken for ours (WEB-105).
fn notes(batch: &Batch) -> Passed {
    let (mut goes, mut stays) = (Vec::new(), Vec::new());
    for item in &batch.items {
        let objection = match item.note {
            Some(Standing::Unread) => {
                let why = "whether it is a rejection note that counts is being read".to_owned();
                Some(Outcome::Deferred { why, charge: Charge::Us, after: Some(UNREAD) })
            }
            Some(Standing::NotHonoured) => {
                let why = item.not_honoured.as_deref().unwrap_or("it could not be read");
                let why = format!(
                    "a rejection note that is not honoured here: {why}; release it to send it all the same, or cancel it"
                );
                (!item.released.contains(&why)).then_some(Outcome::Held { why })
            }
            _ => None,
        };
        match objection {
            None => goes.push(item.clone()),
            Some(outcome) => stays.push((item.transfer, outcome)),
        }
    }
    let batch = (!goes.is_empty()).then(|| Batch { items: goes, ..batch.clone() });
    Passed { batch, stays }
}

fn judge(routes: &[Route], batch: &Batch, known: &[Routable]) -> Passed {
    let (mut goes, mut stays) = (Vec::new(), Vec::new());
    for item in &batch.items {
        match objection(routes, &batch.destination, item, known) {
            None => goes.push(item.clone()),
            Some(why) => stays.push((item.transfer, Outcome::Held { why })),
        }
    }
    let batch = (!goes.is_empty()).then(|| Batch { items: goes, ..batch.clone() });
    Passed { batch, stays }
}

/// Why an instance may not go to a destination any more, in words for a person.
fn objection(routes: &[Route], destination: &Destination, item: &Leased, known: &[Routable]) -> Option<String> {
    if item.cause != Cause::Route || !item.before_routes {
        return None;
    }
    let routable = known.iter().find(|routable| routable.instance == item.instance);
    let still = routable.is_some_and(|Routable { head, arrivals, .. }| {
        arrivals.iter().any(|(origin, called)| {
            let chosen = router::route(routes, head, origin, called.as_ref());
            chosen.iter().any(|chosen| chosen.destination == *destination)
        })
    });
    let chose = item.route.as_deref().map(|route| format!(" (\"{route}\" did when it came)")).unwrap_or_default();
    let why =
        format!("no route sends it to {destination} any more{chose}; release it to send it all the same, or cancel it");
    (!still && !item.released.contains(&why)).then_some(why)
}

/// A report of what stays, to which what is sent is added.
pub(super) fn report(stays: Vec<(TransferId, Outcome)>) -> Report {
    let words = |outcome: &Outcome| outcome.words().to_owned();
    let detail = stays.first().map(|(_, outcome)| words(outcome)).unwrap_or_default();
    Report { outcomes: stays, detail, ..Report::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::records::tests::support::{self as arrivals, Site};
    use crate::records::{Arrival, Kept};
    use crate::router::{Condition, Pattern, Target};
    use std::time::SystemTime;

    fn to_surrey(modality: &str) -> Arc<Routes> {
        let attribute = crate::dicom::attributes::by_name("modality").unwrap();
        let verify = crate::peers::Verify::Present;
        Arc::new(Routes::new(vec![Route {
            name: "to surrey".into(),
            called: vec![],
            from: vec![],
            when: vec![Condition { attribute, any_of: vec![Pattern::new(modality)] }],
            to: vec![Target { destination: Destination("surrey".into()), verify }],
            mandatory: true,
            priority: Default::default(),
        }]))
    }

    /// INV-15: what came before the routes in force goes only if they would send it there; what came since is not asked about.
    #[tokio::test]
    async fn what_was_owed_by_routes_that_are_over_is_decided_anew() {
        for (now, goes) in [("CT", true), ("C*", true), ("MR", false)] {
            let site = Site::new();
            let (before, after) = (to_surrey("CT"), to_surrey(now));
            let at = SystemTime::now();
            site.records.routes_in_force(before.version(), at).await.unwrap();
            let by = |routes: &Routes| Some(Arc::clone(routes.version()));
            site.stored(Arrival { routes: by(&before), ..arrivals::push(1) }).await;
            site.records.routes_in_force(after.version(), at).await.unwrap();
            let late = site.record(Arrival { routes: by(&before), ..arrivals::push(2) }).await;
            assert_eq!(late.kept == Kept::Rerouted, now != "CT", "what routes that are over chose is not recorded");
            let gate = Gate::new(site.records.clone(), watch::channel(after).1);
            let batch = site.lease("surrey", arrivals::noon()).await.unwrap();
            let Passed { batch: passed, stays } = gate.pass(&batch).await;
            assert_eq!((passed.is_some(), stays.is_empty()), (goes, goes), "{now}");
            if let [(transfer, Outcome::Held { why })] = &stays[..] {
                assert_eq!(*transfer, batch.items[0].transfer);
                assert!(why.contains("no route sends it to surrey any more"), "{why}");
            } else {
                assert!(goes, "{stays:?}");
            }
            site.verify().await;
        }
    }

    #[tokio::test]
    async fn what_a_change_of_the_routes_overtakes_is_leased_again() {
        let site = Site::new();
        let (before, after) = (to_surrey("CT"), to_surrey("MR"));
        site.records.routes_in_force(before.version(), SystemTime::now()).await.unwrap();
        site.stored(Arrival { routes: Some(Arc::clone(before.version())), ..arrivals::push(1) }).await;
        let batch = site.lease("surrey", arrivals::noon()).await.unwrap();
        let gate = Gate::new(site.records.clone(), watch::channel(after).1);
        let Passed { batch, stays } = gate.pass(&batch).await;
        assert!(
            batch.is_none() && matches!(&stays[..], [(_, Outcome::Deferred { charge: Charge::Us, .. })]),
            "{stays:?}"
        );
    }
}

//! Sub-operations with what other sites hold: each instance is given as soon as it is durable here, and what does not come has
//! failed (DIM-089, FLT-083; "Behaviour that decides safety", freshness).

use super::given::{Given, MOST_LOST, PAGE, SIGN_OF_LIFE, alongside};
use super::line::Line;
use crate::courier::mover::SubOperation;
use crate::dicom::uid::InstanceUid;
use crate::dimse::{ScuError, Status};
use crate::priors::watch::Came;
use crate::records::{Expected, InstanceId, Picked, Retrievable};
use std::collections::{BTreeSet, VecDeque};

const OTHER_PATIENT: &str = "its study is not of the patient who was asked for";

impl Given<'_, '_> {
    /// Before anything is retrieved from other sites, the destination is called: what it cannot be given is not fetched.
    pub(super) async fn begin_gathering(&mut self) {
        if self.gathering.awaited() == 0 {
            return;
        }
        match alongside(self.dialogue, self.counts, self.mover.answers()).await {
            Err(error @ (ScuError::Dns { .. } | ScuError::Connect { .. } | ScuError::Tls { .. })) => {
                self.give_up_gathering(&error.to_string()).await;
            }
            _ => self.gathering.start(),
        }
    }

    /// Nothing more is awaited: what has not come has failed.
    async fn give_up_gathering(&mut self, why: &str) {
        for instance in self.gathering.give_up() {
            self.fail(instance.as_str(), why);
        }
        self.tell().await;
    }

    /// What has come since the last look, within a page; waits for one at least. `None` when all sites have ended, or nothing more is
    /// to begin. Who waits for our turn at the destination meanwhile gets it.
    async fn arrivals(&mut self, line: &mut Line) -> Option<Vec<InstanceId>> {
        let first = loop {
            if self.dialogue.is_over().await {
                return None;
            }
            let due = self.dialogue.told() + SIGN_OF_LIFE;
            tokio::select! {
                biased;
                came = self.gathering.next() => break came?,
                () = self.dialogue.heard() => {}
                () = line.wanted() => self.give_way(line).await,
                () = tokio::time::sleep_until(due) => {
                    let _ = self.dialogue.pending(Status::PENDING, Some(self.counts), None).await;
                }
            }
        };
        let (mut page, mut next) = (Vec::new(), Some(first));
        while let Some(came) = next {
            match came {
                Came::Here(_, id) => page.push(id),
                Came::Lost(instance, why) => page.extend(self.lost(&instance, &why.to_string()).await),
            }
            next = if page.len() < PAGE { self.gathering.try_next() } else { None };
        }
        // What a site got meanwhile is given too.
        let grown = std::mem::take(&mut self.gathering.grown);
        self.counts.remaining = self.counts.remaining.map(|remaining| remaining + grown);
        // What was known to be missing had failed.
        self.counts.failed = self.counts.failed.saturating_sub(std::mem::take(&mut self.gathering.found));
        Some(page)
    }

    /// What no site gives has failed, unless it is here all the same, since somebody sent it meanwhile: then its number. What is withheld
    /// for certain is not told of.
    async fn lost(&mut self, instance: &InstanceUid, why: &str) -> Option<InstanceId> {
        let of = self.gathering.resource(instance);
        if let Some(of) = of {
            let picked =
                Picked { studies: vec![of.study.clone()], series: Vec::new(), instances: vec![instance.clone()] };
            let here = self.records.expected(picked).await.ok().and_then(|here| here.instances.first().copied());
            // A copy that its site files under another patient by now is none of it.
            let here = here.filter(|(id, _)| !self.gathering.withdrawn.contains(id));
            if let Some((id, _)) = here {
                return Some(id);
            }
            if self.records.hides(&of).await.unwrap_or(false) {
                self.one_less();
                return None;
            }
        }
        self.fail(instance.as_str(), why);
        self.tell().await;
        None
    }

    /// Whether what came is of the patient who was asked for, as the node is shown patients; once for each study. Without a patient in
    /// the request everything is.
    async fn is_of_patient(&mut self, item: &Retrievable) -> bool {
        let Some(proof) = &self.proof else { return true };
        if let Some(proven) = self.proven.get(&item.study) {
            return *proven;
        }
        let proven = proof.holds(&item.study).await;
        self.proven.insert(item.study.clone(), proven);
        proven
    }

    /// Gives what comes over associations to the destination (C-MOVE).
    pub(super) async fn moved_arrivals(&mut self, originator: &(String, u16)) {
        let mut line = Line::default();
        while let Some(page) = self.arrivals(&mut line).await {
            let copies = self.copies(&page).await;
            if !self.move_page(&mut line, &copies, originator).await {
                return self.give_way(&mut line).await;
            }
            if line.lost >= MOST_LOST {
                self.give_up_gathering("the destination was lost").await;
            }
        }
        self.give_way(&mut line).await;
    }

    /// Gives a page of what has come over associations to the destination; false if nothing more is to begin.
    pub(super) async fn move_page(
        &mut self,
        line: &mut Line,
        copies: &[(Retrievable, bool)],
        originator: &(String, u16),
    ) -> bool {
        let expected = kinds(copies);
        for lot in self.mover.lots(&expected) {
            self.prepare(line, &lot.offers).await;
            let mine = copies.iter().zip(&expected.instances).filter(|(_, (_, kind))| lot.kinds.contains(kind));
            let mine: Vec<&(Retrievable, bool)> = mine.map(|(copy, _)| copy).collect();
            let mut ahead = VecDeque::new();
            for (at, (item, kept)) in mine.iter().enumerate() {
                let given = *kept && self.is_of_patient(item).await;
                if !self.goes_on().await || (given && !self.has_turn(line, &item.study).await) {
                    return false;
                }
                let read = self.read_ahead(&mut ahead, mine.iter().skip(at + 1).copied());
                let came = match (kept, given) {
                    (_, true) => self.move_one(line, (item, read), originator).await,
                    (false, _) => SubOperation::Failed { why: "no longer kept here".into(), damage: None },
                    (true, false) => SubOperation::Failed { why: OTHER_PATIENT.into(), damage: None },
                };
                self.count(item, came).await;
            }
        }
        true
    }

    /// Gives what comes over the requester's own association (C-GET).
    pub(super) async fn got_arrivals(&mut self, receives: &BTreeSet<String>) {
        while let Some(page) = self.arrivals(&mut Line::default()).await {
            let copies = self.copies(&page).await;
            if !self.get_page(&copies, receives).await {
                return;
            }
        }
    }

    /// Gives a page of what has come over the requester's own association; false if nothing more is to begin.
    pub(super) async fn get_page(&mut self, copies: &[(Retrievable, bool)], receives: &BTreeSet<String>) -> bool {
        let mut ahead = VecDeque::new();
        for (at, (item, kept)) in copies.iter().enumerate() {
            if !self.goes_on().await {
                return false;
            }
            let read = self.read_ahead(&mut ahead, copies.iter().skip(at + 1));
            match self.is_of_patient(item).await {
                true => self.get_one((item, read), *kept, receives).await,
                false => {
                    let why = OTHER_PATIENT.into();
                    self.count(item, SubOperation::Failed { why, damage: None }).await;
                }
            }
        }
        true
    }
}

/// The kinds of a page, as [`Mover::lots`](crate::courier::mover::Mover::lots) wants them.
fn kinds(copies: &[(Retrievable, bool)]) -> Expected {
    let mut expected = Expected::default();
    for (item, _) in copies {
        let kind = (item.sop_class.clone(), item.transfer_syntax.clone());
        let known = expected.kinds.iter().position(|other| *other == kind);
        let place = known.unwrap_or_else(|| {
            expected.kinds.push(kind);
            expected.kinds.len() - 1
        });
        expected.instances.push((item.instance, u32::try_from(place).unwrap_or(u32::MAX)));
    }
    expected
}

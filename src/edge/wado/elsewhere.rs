//! What other sites hold of what a viewer retrieves: pulled before it is answered, once for all who ask, and never for a peer.

use super::{Asked, unreadable};
use crate::dicom::ae_title::AeTitle;
use crate::priors::fetch::Held;
use crate::priors::gather::{Beyond, Gathering};
use crate::priors::watch::Came;
use crate::records::Picked;
use axum::response::Response;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What could not be had from other sites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// Instances that are held there and did not come.
    pub(super) lost: u64,
    /// Sites that did not say what they hold, and when each last did, if ever.
    pub(super) silent: BTreeMap<String, Option<Timestamp>>,
    /// Copies here that no site lists any more.
    pub(super) withdrawn: u64,
    /// Copies here that their site files under another patient by now, and has not given again as they are.
    pub(super) stale: u64,
    /// The study came from nodes of this site alone: another site's silence takes nothing from it.
    pub(super) ours: bool,
}

impl Elsewhere {
    /// Whether everything is here that any site holds, as far as all of them say.
    pub(super) fn is_whole(&self) -> bool {
        self.lost == 0 && (self.ours || self.silent.is_empty())
    }

    /// What the answer says of it, a line for each matter.
    pub(super) fn warnings(&self, service: &str) -> Vec<String> {
        let mut all = Vec::new();
        if self.lost > 0 {
            all.push(format!("299 {service}: {} instances are not given: another site did not give them", self.lost));
        }
        for (site, checked) in &self.silent {
            let since = checked.map_or("never".to_owned(), |at| format!("last at {at:.0}"));
            all.push(format!("299 {service}: site {site} does not say what it holds of this; it did {since}"));
        }
        if self.withdrawn > 0 {
            let text = "of the instances are not listed any more by the site that they came from";
            all.push(format!("299 {service}: {} {text}", self.withdrawn));
        }
        all
    }

    async fn of(mut gathering: Gathering) -> Self {
        gathering.start();
        let mut all = Self {
            withdrawn: gathering.withdrawn.len().saturating_sub(gathering.stale.len()) as u64,
            ..Self::default()
        };
        while let Some(came) = gathering.next().await {
            all.lost += u64::from(matches!(came, Came::Lost(..)));
        }
        all.stale = gathering.stale.len() as u64;
        all.lost += gathering.missing();
        all.ours = gathering.silent.iter().all(|silent| silent.beyond == Beyond::Ours);
        let told = |at: Option<std::time::SystemTime>| at.and_then(|at| Timestamp::try_from(at).ok());
        all.silent = gathering.silent.into_iter().map(|silent| (silent.site, told(silent.checked))).collect();
        all
    }
}

impl Asked {
    /// Keeps the copies that are about to be read from being flushed until what it gives is dropped (IDY-051). To peers no copy is
    /// shown, so that nothing is held for them.
    pub(super) async fn hold(&self) -> Result<Option<Held>, Box<Response>> {
        let Some(fetcher) = &self.face.elsewhere else { return Ok(None) };
        fetcher.hold(vec![self.resource.study.clone()]).await.map(Some).map_err(unreadable)
    }

    /// Pulls what other sites hold of it and is not here ("Below the study", freshness), and waits for all of it. One instance that
    /// is here is given as it is: who holds it was asked when its series or study was. If a site was found then to file the study under another
    /// patient, it is asked for the instance too.
    pub(super) async fn pulled(&self) -> Result<Elsewhere, Box<Response>> {
        let Some(fetcher) = &self.face.elsewhere else { return Ok(Elsewhere::default()) };
        let here = self.face.records.extent(&self.resource).await.map_err(unreadable)?.stored > 0;
        let hidden = self.face.records.hides(&self.resource).await.map_err(unreadable)?;
        let Ok(node) = AeTitle::parse(&self.asker.name) else { return Ok(Elsewhere::default()) };
        let is_sure = |instance| !fetcher.is_doubtful(&self.resource.study, instance);
        if hidden || (here && self.resource.instance.as_ref().is_some_and(is_sure)) {
            return Ok(Elsewhere::default());
        }
        let behalf = self.face.registry.borrow().behalf_of_node(&node);
        let of = self.resource.clone();
        let (series, instances) = (of.series.into_iter().collect(), of.instance.into_iter().collect());
        let picked = Picked { studies: vec![of.study], series, instances };
        let gathering = fetcher.gather(&picked, None, &behalf).await.map_err(unreadable)?;
        Ok(Elsewhere::of(gathering).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "A silent site is visible": each matter has its words, and what may be missing is not whole.
    #[test]
    fn what_may_be_missing_is_told() {
        let silent = BTreeMap::from([("b".to_owned(), Some(Timestamp::UNIX_EPOCH)), ("c".to_owned(), None)]);
        let ours = Elsewhere { silent: silent.clone(), ours: true, ..Elsewhere::default() };
        assert!(
            ours.is_whole() && ours.warnings("u").len() == 2,
            "our own study is whole, and it is said who is silent"
        );
        let all = Elsewhere { lost: 2, silent, withdrawn: 1, ..Elsewhere::default() };
        let want = [
            "299 u: 2 instances are not given: another site did not give them",
            "299 u: site b does not say what it holds of this; it did last at 1970-01-01T00:00:00Z",
            "299 u: site c does not say what it holds of this; it did never",
            "299 u: 1 of the instances are not listed any more by the site that they came from",
        ];
        assert_eq!((all.warnings("u"), all.is_whole()), (want.map(String::from).into(), false));
        let withdrawn = Elsewhere { withdrawn: 1, ..Elsewhere::default() };
        assert!(withdrawn.is_whole() && Elsewhere::default().warnings("u").is_empty());
    }
}

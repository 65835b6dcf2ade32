//! `weybridge patients access`: who sent, searched for, retrieved or was given images of one patient (LED-033).

use super::Of;
use crate::cli::why::words;
use crate::cli::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::uid::StudyUid;
use crate::ledger::transfer::State;
use crate::records::{Event, Holding, Records, Sought, Wanted, What};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::SystemTime;

pub(super) async fn run(place: &ConfigPlace, of: &Of) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let studies = studies(&config, &records, of).await?;
    if studies.is_empty() {
        return Err(Failure::absent("this site holds no study of this patient, and never did"));
    }
    let mut told: Vec<(StudyUid, Event)> = Vec::new();
    for study in studies {
        let story = records.why_study(&study, SystemTime::now()).await.map_err(Failure::some)?;
        told.extend(story.into_iter().filter(is_access).map(|event| (study.clone(), event)));
    }
    told.sort_by_key(|(_, event)| event.at);
    for (study, event) in &told {
        let text = words::tell(event);
        match of.json {
            true => render::json(&json!({
                "at": render::utc(event.at),
                "until": event.until.map(render::utc),
                "study_instance_uid": study.as_str(),
                "instances": event.instances,
                "event": words::kind(event),
                "text": text,
            }))?,
            false => render::line(format!("{}  study {study}: {text}", render::local(event.at)))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether somebody brought, was told of, was given or was refused something.
fn is_access(event: &Event) -> bool {
    match &event.what {
        What::Received { .. } | What::Accessed(_) => true,
        What::Tried { became, .. } => matches!(became, State::Accepted | State::Verified),
        _ => false,
    }
}

/// The studies of a patient: under the number itself where its issuer is meant, and under each local number that the cross-reference
/// names with an NHS number. A local number that several parties issued needs `--issuer` (IDY-046).
async fn studies(config: &Config, records: &Records, of: &Of) -> Result<BTreeSet<StudyUid>, Failure> {
    let registry = config.registry();
    let issuers = |holding: &Holding| -> BTreeSet<String> {
        match holding.issuer.as_ref().filter(|issuer| !issuer.is_empty()) {
            Some(issuer) => BTreeSet::from([issuer.clone()]),
            None => holding.origins.iter().map(|origin| registry.issuer(origin)).collect(),
        }
    };
    let held = |id: String| records.holdings(Wanted::Patient(id), None);
    let mut studies = BTreeSet::new();
    if let (Ok(number), None) = (NhsNumber::parse(&of.id), &of.issuer) {
        for form in number.forms() {
            let found = held(form).await.map_err(Failure::some)?;
            let meant = found.into_iter().filter(|holding| issuers(holding).iter().any(|issuer| is_issuer(issuer)));
            studies.extend(meant.map(|holding| holding.study));
        }
        for said in records.statements(Sought::Number(number)).await.map_err(Failure::some)? {
            let found = held(said.who.id.clone()).await.map_err(Failure::some)?;
            let meant = found.into_iter().filter(|holding| issuers(holding).contains(&said.who.issuer));
            studies.extend(meant.map(|holding| holding.study));
        }
        if !studies.is_empty() {
            return Ok(studies);
        }
    }
    let found = held(of.id.trim().to_owned()).await.map_err(Failure::some)?;
    let meant: Vec<Holding> = found
        .into_iter()
        .filter(|holding| of.issuer.as_ref().is_none_or(|issuer| issuers(holding).contains(issuer)))
        .collect();
    let all: BTreeSet<String> = meant.iter().flat_map(issuers).collect();
    if all.len() > 1 {
        let named = all.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!("several parties issued this number; say which with --issuer: {named}")));
    }
    studies.extend(meant.into_iter().map(|holding| holding.study));
    Ok(studies)
}

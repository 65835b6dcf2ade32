//! `weybridge patients show`: what was said of a number, and whose it therefore is.

use super::Of;
use crate::cli::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::cross_reference::{Link, LocalId};
use crate::dicom::nhs_number::NhsNumber;
use crate::records::{Sought, Statement};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;

pub(super) async fn run(place: &ConfigPlace, of: &Of) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let sought = Sought::Id(of.id.trim().to_owned(), of.issuer.clone());
    let mut found = records.statements(sought).await.map_err(Failure::some)?;
    if let (Ok(number), None) = (NhsNumber::parse(&of.id), &of.issuer) {
        found.extend(records.statements(Sought::Number(number)).await.map_err(Failure::some)?);
    }
    if found.is_empty() {
        return Err(Failure::some("the cross-reference says nothing of this number"));
    }
    let mut links: BTreeMap<LocalId, Link> = BTreeMap::new();
    for one in &found {
        let link = records.nhs_number_of(one.who.clone(), None).await.map_err(Failure::some)?;
        links.insert(one.who.clone(), link);
    }
    if of.json {
        found.iter().try_for_each(|one| {
            let link = links.get(&one.who).copied();
            render::json(&as_json(one, link))
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = found.iter().map(|one| {
        let Statement { who, said, source, at } = one;
        let (issuer, id) = (who.issuer.clone(), who.id.clone());
        vec![issuer, id, said.number.digits(), said.birth_date.clone(), source.clone(), render::local(*at)]
    });
    render::table(&["ISSUER", "NUMBER", "NHS NUMBER", "BORN", "SAID BY", "SINCE"], rows.collect())?;
    for (who, link) in &links {
        render::line(format!("{} of {}: {}", who.id, who.issuer, words(*link)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a local number is linked, in words; the birth date of who asks may still change the answer where none is known here.
fn words(link: Link) -> String {
    match link {
        Link::To(number) => format!("linked to {}", number.digits()),
        Link::Nobody(why) => format!("linked to nobody: {why}"),
    }
}

fn as_json(one: &Statement, link: Option<Link>) -> serde_json::Value {
    let (linked, why) = match link {
        Some(Link::To(number)) => (Some(number.digits()), None),
        Some(Link::Nobody(why)) => (None, Some(why.to_string())),
        None => (None, None),
    };
    json!({
        "issuer": one.who.issuer,
        "patient_id": one.who.id,
        "nhs_number": one.said.number.digits(),
        "birth_date": one.said.birth_date,
        "source": one.source,
        "at": render::utc(one.at),
        "linked_to": linked,
        "linked_to_nobody": why,
    })
}

//! `weybridge patients show`: what was said of a number, and whose it therefore is.

use super::Of;
use crate::cli::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::cross_reference::{Link, LocalId, Unlinked};
use crate::dicom::nhs_number::NhsNumber;
use crate::records::{Merge, Records, Sought, Statement};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

pub(super) async fn run(place: &ConfigPlace, of: &Of) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let id = of.id.trim().to_owned();
    let mut found = records.statements(Sought::Id(id.clone(), of.issuer.clone())).await.map_err(Failure::some)?;
    if let (Ok(number), None) = (NhsNumber::parse(&of.id), &of.issuer) {
        found.extend(records.statements(Sought::Number(number)).await.map_err(Failure::some)?);
    }
    let merges = merges(&records, &found, (id, of.issuer.clone())).await?;
    if found.is_empty() && merges.is_empty() {
        return Err(Failure::absent("the cross-reference says nothing of this number"));
    }
    let mut links: BTreeMap<LocalId, Link> = BTreeMap::new();
    let merged = merges.iter().flat_map(|merge| [&merge.former, &merge.stays]);
    for who in found.iter().map(|one| &one.who).chain(merged) {
        if !links.contains_key(who) {
            let link = records.nhs_number_of(who.clone(), None).await.map_err(Failure::some)?;
            links.insert(who.clone(), link);
        }
    }
    if of.json {
        found.iter().try_for_each(|one| render::json(&as_json(one, links.get(&one.who).copied())))?;
        merges.iter().try_for_each(|merge| render::json(&merge_as_json(merge)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = found.iter().map(|one| {
        let Statement { who, said, source, at } = one;
        let (issuer, id) = (who.issuer.clone(), who.id.clone());
        vec![issuer, id, said.number.digits(), said.birth_date.clone(), source.clone(), render::local(*at)]
    });
    if !found.is_empty() {
        render::table(&["ISSUER", "NUMBER", "NHS NUMBER", "BORN", "SAID BY", "SINCE"], rows.collect())?;
    }
    for Merge { former, stays, source, at } in &merges {
        let (old, new) = (format!("{} of {}", former.id, former.issuer), format!("{} of {}", stays.id, stays.issuer));
        render::line(format!("{old} was merged into {new}, said by {source}, {}", render::local(*at)))?;
    }
    for (who, link) in &links {
        render::line(format!("{} of {}: {}", who.id, who.issuer, words(*link)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The merges that name a number, or one of which something was found.
async fn merges(records: &Records, found: &[Statement], of: (String, Option<String>)) -> Result<Vec<Merge>, Failure> {
    let ids = found.iter().map(|one| (one.who.id.clone(), Some(one.who.issuer.clone())));
    let all: BTreeSet<(String, Option<String>)> = std::iter::once(of).chain(ids).collect();
    let mut merges: Vec<Merge> = Vec::new();
    for (id, issuer) in all {
        for merge in records.merges(id, issuer).await.map_err(Failure::some)? {
            if !merges.contains(&merge) {
                merges.push(merge);
            }
        }
    }
    Ok(merges)
}

/// Whether a local number is linked, in words; the birth date of who asks may still change the answer where none is known here.
fn words(link: Link) -> String {
    match link {
        Link::To(number) => format!("linked to {}", number.digits()),
        Link::Nobody(why) => format!("linked to nobody: {}", unlinked(why)),
    }
}

/// Why a number is linked to nobody, to somebody who asks without a patient before them.
fn unlinked(why: Unlinked) -> String {
    match why {
        Unlinked::NoBirthDate => {
            format!("{why}: no study here has told a birth date yet, or nobody who told of the number did")
        }
        _ => why.to_string(),
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

fn merge_as_json(merge: &Merge) -> serde_json::Value {
    let Merge { former, stays, source, at } = merge;
    let number = |id: &LocalId| json!({"issuer": id.issuer, "patient_id": id.id});
    json!({"merged": number(former), "into": number(stays), "source": source, "at": render::utc(*at)})
}

//! `weybridge exceptions show`: one exception, and for a conflict both versions side by side, read from their bytes.

use super::{as_json, ended};
use crate::cli::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::canon::{Content, Outline, Pixels, Profile};
use crate::edge::admin::{decisions, end_by_itself};
use crate::judge::compare::{Difference, differences};
use crate::judge::{look, profile};
use crate::records::{EndedBy, ExceptionId, ExceptionView, InstanceView, Records};
use crate::store::StoreReader;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::SystemTime;

/// Differences that are shown.
const MOST: usize = 200;

/// What a version says and shows, with its elements; or why that cannot be shown.
type Looked = Result<(Content, Outline), &'static str>;

/// Two versions and what differs.
struct Sides {
    versions: [InstanceView; 2],
    looked: [Looked; 2],
    found: Vec<Difference>,
    /// One of them has more elements than are compared.
    cut: bool,
}

pub(super) async fn run(place: &ConfigPlace, id: ExceptionId, json: bool) -> Ended {
    let config = client::load(place)?;
    let records = client::records(&config)?;
    let exception = records.exception(id).await.map_err(Failure::some)?;
    let exception = exception.ok_or_else(|| {
        Failure::absent(format!("there is no exception {id}; `weybridge exceptions list --all` tells the numbers"))
    })?;
    let sides = if exception.kind == "conflict" { sides(&config, &records, &exception).await? } else { None };
    if json {
        let mut value = as_json(&exception);
        if let (Value::Object(map), Some(sides)) = (&mut value, &sides) {
            map.insert("versions".into(), sides.versions.iter().map(version_json).collect());
            map.insert("differences".into(), sides.found.iter().map(difference_json).collect());
            map.insert("more_elements".into(), sides.cut.into());
            map.insert("pixels".into(), pixels(sides).into());
            map.insert("unreadable".into(), Value::from(unreadable(sides)));
        }
        render::json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&exception)?;
    if let Some(sides) = &sides {
        side_by_side(sides)?;
    }
    next(&exception)?;
    Ok(ExitCode::SUCCESS)
}

/// The version in conflict, and the one that it was or is to be compared with.
async fn sides(config: &Config, records: &Records, exception: &ExceptionView) -> Result<Option<Sides>, Failure> {
    let versions = records.instance(&exception.sop_instance_uid, SystemTime::now()).await.map_err(Failure::some)?;
    let held = versions.iter().find(|version| version.version == exception.version);
    let other = match exception.against {
        Some(against) => versions.iter().find(|version| version.version == against),
        None => versions.iter().rfind(|version| !version.in_conflict && version.version != exception.version),
    };
    let (Some(held), Some(other)) = (held, other) else { return Ok(None) };
    let blobs = StoreReader::open(config.site.data_dir.join("blobs")).map_err(Failure::unreachable)?;
    let profile = profile(&config.registry(), &held.source);
    let first = read(records, &blobs, other, &profile).await?;
    let second = read(records, &blobs, held, &profile).await?;
    let (found, cut) = match (&first, &second) {
        (Ok((_, first)), Ok((_, second))) => (differences(first, second), first.cut || second.cut),
        _ => (Vec::new(), false),
    };
    Ok(Some(Sides { versions: [other.clone(), held.clone()], looked: [first, second], found, cut }))
}

async fn read(
    records: &Records,
    blobs: &StoreReader,
    version: &InstanceView,
    profile: &Profile,
) -> Result<Looked, Failure> {
    let blob = records.blob_of(&version.sha256).await.map_err(Failure::some)?;
    let Some((_, place)) = blob else { return Ok(Err("its bytes are no longer kept here")) };
    let reader = blobs.read(place, version.sha256).await.map_err(Failure::some)?;
    let looked = look(reader, &version.transfer_syntax_uid, profile.clone(), true).await.map_err(Failure::some)?;
    Ok(looked.ok_or("its content cannot be read"))
}

fn unreadable(sides: &Sides) -> Vec<String> {
    let pairs = sides.versions.iter().zip(&sides.looked);
    pairs
        .filter_map(|(version, looked)| Some(format!("version {}: {}", version.version, looked.as_ref().err()?)))
        .collect()
}

fn pixels(sides: &Sides) -> &'static str {
    match &sides.looked {
        [Ok((first, _)), Ok((second, _))] => match (first.pixels, second.pixels) {
            (Pixels::Unknown, _) | (_, Pixels::Unknown) => "cannot be compared",
            (Pixels::Absent, Pixels::Absent) => "none",
            (first, second) if first == second => "the same",
            (Pixels::Lossy(_), Pixels::Lossless(_)) | (Pixels::Lossless(_), Pixels::Lossy(_)) => {
                "compressed with loss in one of the two"
            }
            _ => "DIFFERENT",
        },
        _ => "cannot be compared",
    }
}

/// A version as programs get it: whose values stand first and second among the differences.
fn version_json(version: &InstanceView) -> Value {
    json!({
        "version": version.version,
        "source": version.source.name(),
        "received": render::utc(version.received),
        "transfer_syntax_uid": version.transfer_syntax_uid.as_str(),
        "study_instance_uid": version.study_instance_uid.as_str(),
        "series_instance_uid": version.series_instance_uid.as_str(),
        "sop_class_uid": version.sop_class_uid.as_str(),
        "sha256": version.sha256.to_string(),
        "state": version.state,
    })
}

fn difference_json(difference: &Difference) -> Value {
    json!({
        "path": difference.path,
        "keyword": difference.keyword,
        "first": difference.first,
        "second": difference.second,
    })
}

fn tell(exception: &ExceptionView) -> Result<(), Failure> {
    let ExceptionView { sop_instance_uid, study_instance_uid, opened, words, verdict, ended_by, .. } = exception;
    render::line(format!("exception {}: {}, since {}", exception.exception, exception.kind, render::local(*opened)))?;
    render::line(format!("instance  {sop_instance_uid}, version {}", exception.version))?;
    render::line(format!("study     {study_instance_uid}"))?;
    if let (Some(transfer), Some(destination)) = (exception.transfer, &exception.destination) {
        render::line(format!("transfer  {} to {destination}", transfer.0))?;
    }
    if let Some(words) = words {
        render::line(format!("why       {}", render::plain(words)))?;
    }
    if exception.kind == "conflict" && verdict.is_none() {
        render::line("verdict   none yet: it has not been compared")?;
    }
    if let Some(ended) = ended(exception) {
        render::line(format!("ended     {ended}"))?;
    }
    if let Some(EndedBy { who, reason, .. }) = ended_by {
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        render::line(format!("by        {}", render::plain(&format!("{who}{reason}"))))?;
    }
    Ok(())
}

fn side_by_side(sides: &Sides) -> Result<(), Failure> {
    let [first, second] = &sides.versions;
    for version in [first, second] {
        let (number, source) = (version.version, version.source.name());
        let received = render::local(version.received);
        let syntax = &version.transfer_syntax_uid;
        render::line(format!("version {number} came from {source}, {received}, in {syntax}"))?;
    }
    render::line(format!("pixels    {}", pixels(sides)))?;
    unreadable(sides).iter().try_for_each(render::line)?;
    if sides.cut {
        render::line("elements  there are more than are compared here; others may differ")?;
    }
    let places = [("study", first.study_instance_uid.as_str(), second.study_instance_uid.as_str())];
    for (what, one, other) in places.iter().filter(|(_, one, other)| one != other) {
        render::line(format!("{what} {one} and {other}"))?;
    }
    if sides.found.is_empty() {
        return Ok(());
    }
    render::line("")?;
    let absent = || "-".to_owned();
    let rows = sides.found.iter().take(MOST).map(|difference| {
        vec![
            difference.path.clone(),
            difference.keyword.unwrap_or_default().to_owned(),
            difference.first.clone().unwrap_or_else(absent),
            difference.second.clone().unwrap_or_else(absent),
        ]
    });
    let headers = [format!("VERSION {}", first.version), format!("VERSION {}", second.version)];
    render::table(&["TAG", "ATTRIBUTE", &headers[0], &headers[1]], rows.collect())?;
    match sides.found.len().checked_sub(MOST) {
        Some(more @ 1..) => render::line(format!("and {more} more; --json shows all")),
        _ => Ok(()),
    }
}

/// What a person can do next.
fn next(exception: &ExceptionView) -> Result<(), Failure> {
    if exception.closed.is_some() {
        return Ok(());
    }
    let (id, ways) = (exception.exception, decisions(&exception.kind).join("|"));
    if !ways.is_empty() {
        render::line(format!("\nweybridge exceptions resolve {id} --as {ways} --by NAME --reason TEXT"))?;
    }
    match end_by_itself(&exception.kind) {
        "" => Ok(()),
        hint => render::line(hint),
    }
}

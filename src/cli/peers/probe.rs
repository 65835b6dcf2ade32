//! `weybridge peers probe`: finds out what a peer can do, by capabilities and, if asked to, by one made-up instance (WEB-073).

use super::reach;
use crate::cli::{Failure, client::Gateway, render};
use crate::config::Config;
use crate::dicom::part10::{self, FileMeta};
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::dicomweb::client::{Form, OutPart, PartsBody, PeerClient, StoreAnswer};
use crate::peers::Peer;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// Secondary Capture Image Storage.
const CLASS: &str = "1.2.840.10008.5.1.4.1.1.7";
/// The most that a peer may send back for so small an instance.
const MOST: u64 = 1 << 20;

/// How what is told begins where a peer says that it did not store the instance, and where it gives back other bytes.
const REFUSED: &str = "failed";
const OTHER: &str = "other bytes";

/// The instance that is stored for a try.
struct Specimen {
    study: StudyUid,
    series: SeriesUid,
    instance: InstanceUid,
    data: Vec<u8>,
}

/// Probes a peer and prints what was found; the running gateway keeps it.
pub(super) async fn run(
    config: &Config,
    peer: &Peer,
    client: &PeerClient,
    store: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let way = reach::walk(client).await?;
    let mut profile = json!({
        "peer": peer.name,
        "at": render::utc(SystemTime::now()),
        "server": client.server(),
        "capabilities": capabilities(client).await,
        "query": if way.told(reach::QUERY) == "ok" { Value::from(word(client.query_form())) } else { Value::Null },
        "steps": reach::STEPS.iter().enumerate().map(|(n, step)| ((*step).to_owned(), way.told(n).into())).collect::<serde_json::Map<_, _>>(),
    });
    if let Some(failure) = way.failure(&peer.name) {
        profile["kept"] = false.into();
        show(&profile, as_json)?;
        return Err(failure);
    }
    if store {
        profile["store"] = try_to_store(client).await?;
    }
    let kept = keep(config, &profile).await;
    profile["kept"] = kept.is_ok().into();
    show(&profile, as_json)?;
    if let Err(failure) = kept
        && !as_json
    {
        render::line(format!("not kept: {}", failure.message()))?;
    }
    match flaw(&profile["store"]) {
        Some(flaw) => Err(Failure::some(format!("{} {flaw}", peer.name))),
        None => Ok(()),
    }
}

/// Has the running gateway keep what was found; the failure says why it does not.
async fn keep(config: &Config, profile: &Value) -> Result<(), Failure> {
    Gateway::required(config).await?.post("/destinations/profile", profile).await.map(drop)
}

/// What the peer did wrong with the made-up instance, if one was stored: refused it, does not show it, or gives something else back. That it
/// lets nobody read it back, or does not take it twice, is only told of.
fn flaw(store: &Value) -> Option<String> {
    let first = &store["first"];
    let status = first["status"].as_u64()?;
    let said = first["said"].as_str().unwrap_or_default();
    if !(200..300).contains(&status) || said.starts_with(REFUSED) {
        return Some(format!("did not store the made-up instance: it answered {status}, and said of it: {said}"));
    }
    match &store["shown"] {
        Value::Bool(true) => {}
        Value::String(why) => return Some(format!("was not able to show the made-up instance: {why}")),
        _ => return Some("took the made-up instance and does not show it when it is asked".into()),
    }
    let back = store["read_back"].as_str().unwrap_or_default();
    back.starts_with(OTHER).then(|| format!("gives the made-up instance back otherwise than it was sent: {back}"))
}

fn word(form: Form) -> &'static str {
    match form {
        Form::Json => "json",
        Form::Xml => "xml",
    }
}

async fn capabilities(client: &PeerClient) -> Value {
    match client.capabilities().await {
        Ok(offered) => {
            json!({"status": offered.status, "content_type": offered.content_type, "clock_skew_seconds": offered.skew})
        }
        Err(failure) => json!({"failed": failure.to_string()}),
    }
}

/// Stores a made-up instance twice, looks for it, and reads it back.
async fn try_to_store(client: &PeerClient) -> Result<Value, Failure> {
    let specimen = Specimen::new()?;
    let mut first = send(client, &specimen).await?;
    if first["status"] == 406 {
        client.ask_for(client.form().other());
        first = send(client, &specimen).await?;
    }
    let Specimen { study, series, instance, data } = &specimen;
    let shown = match client.present(study, std::slice::from_ref(instance)).await {
        Ok(presence) => Value::from(presence.found.contains(instance)),
        Err(failure) => Value::from(failure.to_string()),
    };
    let back = match client.read_back(study, series, instance, MOST).await {
        Ok(back) if back.sha256 == <[u8; 32]>::from(Sha256::digest(data)) => Value::from("same"),
        Ok(back) => Value::from(format!("{OTHER}, in transfer syntax {}", back.transfer_syntax)),
        Err(failure) => Value::from(failure.to_string()),
    };
    Ok(json!({
        "first": first,
        "form": word(client.form()),
        "shown": shown,
        "read_back": back,
        "again": send(client, &specimen).await?,
        "delete": format!("study {study} of patient WEYBRIDGE-PROBE was made up for this; delete it at the peer, and where its routes sent it"),
    }))
}

async fn send(client: &PeerClient, specimen: &Specimen) -> Result<Value, Failure> {
    let body = PartsBody::related(vec![specimen.part()?]).map_err(Failure::some)?;
    let answer = client.store(&specimen.study, body).await.map_err(Failure::unreachable)?;
    let StoreAnswer { status, content_type, module, .. } = answer;
    let said = match module {
        Ok(Some(module)) if module.referenced.iter().any(|one| one.sop_instance == specimen.instance) => {
            "stored".into()
        }
        Ok(Some(module)) => match module.failed.first() {
            Some(failed) => format!("{REFUSED} with reason {:04X}", failed.failure_reason),
            None => "not named".into(),
        },
        Ok(None) => "nothing".into(),
        Err(why) => why,
    };
    Ok(json!({"status": status, "content_type": content_type, "said": said}))
}

impl Specimen {
    fn new() -> Result<Self, Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(Failure::some)?;
        let root = format!("2.25.{}", u64::from_be_bytes(random) | 1 << 63);
        let study = StudyUid::parse(&root).map_err(Failure::some)?;
        let series = SeriesUid::parse(&format!("{root}.1")).map_err(Failure::some)?;
        let instance = InstanceUid::parse(&format!("{root}.1.1")).map_err(Failure::some)?;
        let data = data_set(study.as_str(), series.as_str(), instance.as_str());
        Ok(Self { study, series, instance, data })
    }

    fn part(&self) -> Result<OutPart, Failure> {
        let mut file = part10::prefix(&FileMeta {
            sop_class: SopClassUid::parse(CLASS).map_err(Failure::some)?,
            sop_instance: self.instance.clone(),
            transfer_syntax: TransferSyntaxUid::parse(EXPLICIT_VR_LE).map_err(Failure::some)?,
        });
        file.extend_from_slice(&self.data);
        let length = file.len() as u64;
        Ok(OutPart { transfer_syntax: None, length, data: Box::pin(stream::iter([Ok(Bytes::from(file))])) })
    }
}

/// A secondary capture of 8 by 8 black pixels, in Explicit VR Little Endian.
fn data_set(study: &str, series: &str, instance: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let texts: [(u16, u16, &[u8; 2], &str); 13] = [
        (0x0008, 0x0016, b"UI", CLASS),
        (0x0008, 0x0018, b"UI", instance),
        (0x0008, 0x0020, b"DA", "20000101"),
        (0x0008, 0x0030, b"TM", "000000"),
        (0x0008, 0x0050, b"SH", ""),
        (0x0008, 0x0060, b"CS", "OT"),
        (0x0008, 0x0064, b"CS", "SYN"),
        (0x0010, 0x0010, b"PN", "WEYBRIDGE^PROBE"),
        (0x0010, 0x0020, b"LO", "WEYBRIDGE-PROBE"),
        (0x0010, 0x0030, b"DA", ""),
        (0x0010, 0x0040, b"CS", ""),
        (0x0020, 0x000D, b"UI", study),
        (0x0020, 0x000E, b"UI", series),
    ];
    for (group, element, vr, text) in texts {
        let padding = if vr == b"UI" { b'\0' } else { b' ' };
        let mut value = text.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), padding);
        short(&mut out, group, element, vr, &value);
    }
    short(&mut out, 0x0020, 0x0010, b"SH", b"");
    short(&mut out, 0x0020, 0x0011, b"IS", b"1 ");
    short(&mut out, 0x0020, 0x0013, b"IS", b"1 ");
    short(&mut out, 0x0028, 0x0002, b"US", &1u16.to_le_bytes());
    short(&mut out, 0x0028, 0x0004, b"CS", b"MONOCHROME2 ");
    for (element, value) in [(0x0010, 8u16), (0x0011, 8), (0x0100, 8), (0x0101, 8), (0x0102, 7), (0x0103, 0)] {
        short(&mut out, 0x0028, element, b"US", &value.to_le_bytes());
    }
    out.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 64, 0, 0, 0]);
    out.extend_from_slice(&[0; 64]);
    out
}

fn short(out: &mut Vec<u8>, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(vr);
    // Every value here is short.
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
}

fn show(profile: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return render::json(profile);
    }
    let text = serde_json::to_string_pretty(profile).map_err(Failure::some)?;
    text.lines().try_for_each(render::line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UIX-04: a store that did not do what it should is no success.
    #[test]
    fn what_a_peer_does_wrong_with_the_made_up_instance_is_a_failure() {
        let row = |status: u16, said: &str, shown: Value, back: &str| {
            flaw(&json!({"first": {"status": status, "said": said}, "shown": shown, "read_back": back}))
        };
        assert_eq!(flaw(&Value::Null), None, "nothing was stored");
        for (status, said, back) in [(200, "stored", "same"), (202, "nothing", "HTTP 403")] {
            assert_eq!(row(status, said, true.into(), back), None, "{status} {said} {back}");
        }
        let rows = [
            (
                row(409, "failed with reason 0110", false.into(), ""),
                "answered 409, and said of it: failed with reason 0110",
            ),
            (row(202, "failed with reason A700", true.into(), "same"), "did not store"),
            (row(403, "nothing", false.into(), ""), "did not store"),
            (row(200, "stored", false.into(), "HTTP 404"), "does not show it"),
            (row(200, "stored", "HTTP 500".into(), "same"), "show the made-up instance: HTTP 500"),
            (row(200, "stored", true.into(), "other bytes, in transfer syntax 1.2"), "otherwise than it was sent"),
        ];
        for (flaw, words) in rows {
            assert!(flaw.as_ref().is_some_and(|flaw| flaw.contains(words)), "{words}: {flaw:?}");
        }
    }
}

//! `weybridge status`: destinations, queues, disk and certificates on one screen (UIX-01).

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::edge::admin::{DestinationStatus, Status, VerifiedStatus, WorklistStatus};
use crate::store::lock_holder;
use jiff::Timestamp;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// An urgent transfer that has waited so long is an alarm (REL-20).
const URGENT: Duration = Duration::from_secs(300);
/// So long after the last, who was turned away is an alarm; then the count alone tells of it.
const LATELY: Duration = Duration::from_secs(86_400);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let site = client::site(place)?;
    let status = match client::Gateway::connect(&site.data_dir).await {
        Some(mut gateway) => serde_json::from_value(gateway.get("/status").await?).map_err(Failure::some)?,
        None => {
            let records = client::records_of(&site)?;
            let (summary, blobs) = (records.summary().await, records.blob_counts().await);
            let status = Status::of_files(&site.name, summary.map_err(Failure::some)?, blobs.map_err(Failure::some)?);
            let verified = records.verified().await.map_err(Failure::some)?.as_ref().map(VerifiedStatus::of);
            let unlike = records.unlike().await.map_err(Failure::some)?;
            Status { held_by: lock_holder(&site.data_dir), verified, ..status }.telling_unlike(&unlike)
        }
    };
    if options.json {
        render::json(&as_json(&status)?)?;
    } else {
        show(&status)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The state for programs. `alarms` holds the lines that people see behind `!`, and that no gateway runs or answers: whoever watches a
/// site needs to look at nothing else (UIX-05).
fn as_json(status: &Status) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(status).map_err(Failure::some)?;
    let unreached = (!status.running).then(|| heading(status));
    value["alarms"] = unreached.into_iter().chain(alarms(status)).collect();
    Ok(value)
}

/// Whether a gateway runs, and answers.
fn heading(status: &Status) -> String {
    let site = &status.site;
    match (status.running, status.held_by) {
        (false, Some(process)) => format!(
            "{site}: process {process} holds its data directory and cannot be reached by its admin socket, which a running gateway \
             makes anew within a minute; this is what its files tell"
        ),
        (true, _) => format!("{site}: running for {}", render::span(Duration::from_secs(status.uptime_seconds))),
        (false, None) => format!("{site}: NOT RUNNING; start it with `weybridge serve`"),
    }
}

fn show(status: &Status) -> Result<(), Failure> {
    render::line(heading(status))?;
    let free = status.free_bytes.map(|free| format!(", {} free", render::bytes(free))).unwrap_or_default();
    render::line(format!(
        "{} instances, {} on disk{free}, {} ledger entries",
        status.instances,
        render::bytes(status.stored_bytes),
        status.ledger_entries
    ))?;
    if let Some(verified) = &status.verified {
        let found = if verified.sound { "sound" } else { "NOT SOUND" };
        let ago = render::span(Duration::from_secs(verified.age_seconds));
        render::line(format!("records verified {ago} ago: {found}"))?;
    }
    render::line("")?;
    let header = ["DESTINATION", "CONTACT", "PENDING", "UNKNOWN", "ACCEPTED", "PARKED", "HELD", "DEAD", "OLDEST"];
    let rows = status.destinations.iter().map(|one| {
        let age =
            one.oldest_age_seconds.map_or_else(|| "-".into(), |seconds| render::span(Duration::from_secs(seconds)));
        let counts = [one.pending, one.unknown, one.accepted, one.parked, one.held, one.dead];
        let mut row = vec![one.destination.clone(), one.contact.clone()];
        row.extend(counts.iter().map(u64::to_string));
        row.push(age);
        row
    });
    render::table(&header, rows.collect())?;
    if !status.worklists.is_empty() {
        render::line("")?;
        worklists(&status.worklists)?;
    }
    if let Some(hl7) = &status.hl7 {
        let last = hl7.last_message.as_ref().map(|at| format!(", the last {at}")).unwrap_or_default();
        let (listen, messages, refused) = (&hl7.listen, hl7.messages, hl7.refused);
        render::line("")?;
        render::line(format!("HL7 at {listen}: {messages} messages taken since the start{last}; {refused} refused"))?;
    }
    let lines = alarms(status);
    if !lines.is_empty() {
        render::line("")?;
    }
    lines.into_iter().try_for_each(|text| render::line(format!("! {}", render::plain(&text))))
}

/// One line for each worklist, and nothing of what is wrong: that stands among the alarms.
pub(super) fn worklists(all: &[WorklistStatus]) -> Result<(), Failure> {
    let header = ["WORKLIST", "LAST ASKED", "ENTRIES", "ORDERS", "NEW", "REFUSED", "NEXT"];
    let rows = all.iter().map(|one| {
        let next = one.next_poll_seconds.map_or_else(|| "-".into(), |s| render::span(Duration::from_secs(s)));
        let counts = [one.entries, one.orders, one.new, one.refused.values().sum()];
        let mut row = vec![one.node.clone(), one.last_poll.clone().unwrap_or_else(|| "-".into())];
        row.extend(counts.iter().map(u64::to_string));
        row.push(next);
        row
    });
    render::table(&header, rows.collect())
}

/// What is wrong with a worklist, for people.
pub(super) fn worklist_alarms(one: &WorklistStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(trouble) = &one.trouble {
        let since = one.failing_since.as_deref().unwrap_or("?");
        let next = one.next_poll_seconds.map(|s| format!("; it is asked again in {s} s")).unwrap_or_default();
        lines.push(format!(
            "worklist {}: no full answer since {since}: {trouble}{next}; new orders are not known",
            one.node
        ));
    }
    if let Some(cut) = &one.cut {
        lines
            .push(format!("worklist {}: {cut}; raise `most`, or ask for fewer days, modalities or stations", one.node));
    }
    for (why, count) in &one.refused {
        lines.push(format!("worklist {}: {count} entries cannot be used: {why}; mend them at the worklist", one.node));
    }
    lines
}

/// What is wrong with a destination, for people. Nothing is tried while it is paused or no gateway runs.
fn destination_alarms(one: &DestinationStatus, running: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(paused) = &one.paused {
        lines.push(format!("{}: PAUSED {paused}; nothing is sent until somebody resumes it", one.destination));
    }
    for class in &one.unsupported {
        lines.push(format!(
            "{}: does not take SOP class {class}; such transfers are parked, and one is tried now and then; resuming it \
             (`peers resume`, `nodes resume`) tries all",
            one.destination
        ));
    }
    if let Some(unasked) = one.unasked.as_ref().filter(|_| one.trouble.is_none()) {
        lines.push(format!(
            "{}: cannot be asked what it holds {unasked}. It is sent to all the same; what it took stays accepted and is not \
             verified. If it refuses queries, have it let us query, or set its `verify` to \"accepted\"",
            one.destination
        ));
    }
    for warned in &one.warned {
        lines.push(format!(
            "{}: says that it stored {warned}. What it keeps may not be what was sent; ask its administrator. `weybridge why` tells \
             of each, and resuming it (`peers resume`, `nodes resume`) ends this notice",
            one.destination
        ));
    }
    if one.uncompared > 0 {
        lines.push(format!(
            "{}: {} instances were there already and could not be compared with ours, since it gives nothing back; they count \
             as done, and `weybridge why` tells of each",
            one.destination, one.uncompared
        ));
    }
    if let Some(waited) = one.urgent_waiting_seconds.map(Duration::from_secs).filter(|waited| *waited >= URGENT) {
        lines.push(format!("{}: URGENT transfers have waited {}", one.destination, render::span(waited)));
    }
    if let Some(trouble) = &one.trouble {
        let next = one.next_try_seconds.filter(|_| running && one.paused.is_none());
        let next = next.map(|s| format!("; next try in {s} s")).unwrap_or_default();
        lines.push(format!("{}: {trouble}{next}", one.destination));
    }
    if one.dead > 0 {
        lines.push(format!(
            "{}: {} given up; see `weybridge transfers list --state dead`, then `transfers retry --to {0} --state dead`, or cancel",
            one.destination, one.dead
        ));
    }
    lines
}

/// That the records are wrong, until a verification finds them sound.
fn unsound(verified: &VerifiedStatus) -> Option<String> {
    let VerifiedStatus { ended, problems, first, last_sound, .. } = verified;
    let last = last_sound.as_ref().map_or_else(|| "never before".to_owned(), |at| format!("last at {at}"));
    let first = first.as_deref().unwrap_or("?");
    (!verified.sound).then(|| {
        format!(
            "THE RECORDS ARE NOT SOUND: {problems} problems were found at {ended}, the first: {first}. They were sound {last}. Nothing was \
             changed; `weybridge ledger verify` tells of them, and docs/operations.md says what to do"
        )
    })
}

/// That the records say otherwise than images; `more` tells that more were found than are named.
fn unlike(named: &[String], more: bool) -> Option<String> {
    let many = match (named.len(), more) {
        (0, false) => return None,
        (0, true) => "SOME".to_owned(),
        (count, true) => format!("{count} OR MORE"),
        (count, false) => count.to_string(),
    };
    let first = named.first().map_or_else(
        || "which ones, the next reading of all blobs tells".to_owned(),
        |first| format!("the first {first}"),
    );
    Some(format!(
        "THE RECORDS DO NOT SAY WHAT {many} STORED IMAGES SAY of a patient, study, series or image, {first}. The images are whole; \
         docs/operations.md says what to do"
    ))
}

/// Whether a refusal, which begins with its time, was lately; one that does not say when counts.
fn was_lately(refusal: &str, now: SystemTime) -> bool {
    let at = refusal.split(' ').next().and_then(|at| at.parse::<Timestamp>().ok());
    at.is_none_or(|at| !now.duration_since(at.into()).is_ok_and(|age| age >= LATELY))
}

/// What wants somebody to act, a line each.
fn alarms(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &status.poisoned {
        lines.push(format!("STORAGE HAS FAILED, nothing is taken: {why}. Mend the disk, then restart the gateway"));
    }
    if status.refusing {
        let free = status.free_bytes.map(render::bytes).unwrap_or_default();
        let reserve = status.reserve_bytes.map(render::bytes).unwrap_or_default();
        let deliveries = if status.records_full { "" } else { " deliveries go on." };
        lines.push(format!(
            "THE DISK IS DOWN TO ITS RESERVE ({free} free, {reserve} reserved): nothing new is taken until there is room;{deliveries} \
             Make room, or see `weybridge store purge --dry-run`"
        ));
    }
    lines.extend(status.verified.as_ref().and_then(unsound));
    lines.extend(unlike(&status.unlike, status.unlike_more));
    lines.extend(status.storage.iter().cloned());
    // It is an alarm while anything waits for a person.
    if let Some(scrub) = status.scrub.as_ref().filter(|scrub| scrub.damaged > 0 && status.exceptions > 0) {
        lines.push(format!("{} stored blobs were found damaged and set aside since {}", scrub.damaged, scrub.began));
    }
    lines.extend(status.destinations.iter().flat_map(|one| destination_alarms(one, status.running)));
    lines.extend(status.worklists.iter().flat_map(worklist_alarms));
    let lately = |last: &&String| was_lately(last, SystemTime::now());
    let hl7 = status.hl7.as_ref().and_then(|hl7| Some((hl7.refused, hl7.last_refusal.as_ref().filter(lately)?)));
    if let Some((refused, last)) = hl7 {
        lines.push(format!("HL7: {refused} messages or callers were refused since the start; the last at {last}"));
    }
    match status.exceptions {
        0 => {}
        1 => lines.push("1 exception waits for a person; see `weybridge exceptions list`".to_owned()),
        many => lines.push(format!("{many} exceptions wait for a person; see `weybridge exceptions list`")),
    }
    if status.unrouted > 0 {
        lines.push(format!(
            "{} instances have no destination: no route chose one that may have them; see `weybridge store list --unrouted`, `why` and `routes explain`",
            status.unrouted
        ));
    }
    if let Some(last) = status.last_refusal.as_ref().filter(lately) {
        lines.push(format!("{} refused since the start; the last at {last}", status.refused));
    }
    lines.extend(status.warnings.iter().cloned());
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    /// A site with one destination, which fails.
    fn site(running: bool, paused: Option<&str>) -> Status {
        let destination = json!({"destination": "b", "contact": "down", "trouble": "no answer", "next_try_seconds": 4, "paused": paused,
            "in_flight": 0, "pending": 1, "unknown": 0, "accepted": 0, "parked": 0, "held": 0, "dead": 0});
        let status = json!({"site": "a", "running": running, "version": "1", "uptime_seconds": 60, "instances": 1, "unrouted": 0,
            "exceptions": 1, "stored_bytes": 1, "ledger_entries": 1, "ledger_chain": "00", "destinations": [destination],
            "warnings": ["a certificate ends"]});
        serde_json::from_value(status).unwrap()
    }

    /// UIX-05: a program that watches a site is told what a person sees, and that nothing runs.
    #[test]
    fn programs_are_told_every_alarm_in_one_list() {
        let told = as_json(&site(true, None)).unwrap();
        let waits = "1 exception waits for a person; see `weybridge exceptions list`";
        assert_eq!(told["alarms"], json!(["b: no answer; next try in 4 s", waits, "a certificate ends"]), "{told}");
        let stopped = as_json(&site(false, None)).unwrap();
        assert_eq!(stopped["alarms"][0], "a: NOT RUNNING; start it with `weybridge serve`");
        assert_eq!(stopped["alarms"][1], "b: no answer", "nothing is tried while nothing runs");
        let paused = as_json(&site(true, Some("by jo"))).unwrap();
        let lines = ["b: PAUSED by jo; nothing is sent until somebody resumes it", "b: no answer"];
        assert_eq!(paused["alarms"].as_array().unwrap()[..2], lines, "nor while it is paused");
    }

    /// UIX-05: each field that programs get is in docs/operations.md, and no other.
    #[test]
    fn operations_names_every_field_of_the_status() {
        let told = as_json(&site(true, None)).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
        let built = [names(&told), names(&told["destinations"][0])];
        let text = std::fs::read_to_string("docs/operations.md").unwrap();
        let (_, section) = text.split_once("\n## Watch it by a program\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let named = |heading: &str| -> BTreeSet<String> {
            let (_, table) = section.split_once(heading).unwrap();
            let rows =
                table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
            let cells = rows.map(|row| row.split('|').nth(1).unwrap_or_default());
            cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
        };
        assert_eq!([named("| of the site |"), named("| of each of `destinations` |")], built);
    }

    /// LED-011: a stray caller of last month keeps nobody from seeing what is wrong today.
    #[test]
    fn who_was_turned_away_is_an_alarm_for_a_day() {
        let last = "2026-12-01T02:00:00.5Z association: XX at 192.0.2.1 to NOPE: no [[node]] has the calling AE title";
        let at = |text: &str| SystemTime::from(text.parse::<Timestamp>().unwrap());
        let rows = [
            ("2026-12-01T01:59:00Z", true),
            ("2026-12-01T02:01:00Z", true),
            ("2026-12-02T02:00:00Z", true),
            ("2026-12-02T02:00:01Z", false),
        ];
        for (now, want) in rows {
            assert_eq!(was_lately(last, at(now)), want, "{now}");
        }
        assert!(was_lately("no time", at("2026-12-01T02:00:00Z")));
    }

    #[test]
    fn that_more_differ_than_are_named_is_told() {
        let of = |count: usize, more| unlike(&vec!["1.2.3: PatientID".to_owned(); count], more);
        assert_eq!(of(0, false), None);
        for (count, more, want) in
            [(7, false, "WHAT 7 STORED"), (100, true, "WHAT 100 OR MORE"), (0, true, "WHAT SOME STORED")]
        {
            let told = of(count, more).unwrap_or_default();
            assert!(told.contains(want), "{told}");
            assert_eq!(told.contains("the first 1.2.3: PatientID"), count > 0, "{told}");
        }
    }
}

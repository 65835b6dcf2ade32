//! The events of a story in plain words.

use super::render;
use crate::ledger::transfer::{Cause, State};
use crate::peers::{Destination, Origin, Priority, Verify};
use crate::records::{Accessed, BatchKind, Event, PurgeRule, Rejected, SourceFacts, Standing, Taken, What};

/// The kind of an event, as programs get it.
pub(in crate::cli) fn kind(event: &Event) -> &'static str {
    match event.what {
        What::Received { .. } => "received",
        What::Unrouted => "unrouted",
        What::Owed { .. } => "owed",
        What::Tried { .. } => "tried",
        What::Trying { .. } => "trying",
        What::Moved { .. } => "moved",
        What::Exception { .. } => "exception",
        What::Accessed(_) => "accessed",
        What::Prefetch { .. } => "prefetch",
        What::Rejected(_) => "rejected",
        What::Purged { .. } => "purged",
        What::Withheld { .. } => "withheld",
        What::Now { .. } => "now",
    }
}

/// An event as a sentence.
pub(in crate::cli) fn tell(event: &Event) -> String {
    let many = match (event.version, event.instances) {
        (Some(version), _) => format!("version {version}: "),
        (None, 1) => String::new(),
        (None, many) => format!("{many} instances: "),
    };
    format!("{many}{}", sentence(event))
}

fn sentence(event: &Event) -> String {
    match &event.what {
        What::Received { origin, source, taken, withheld } => {
            let mut text = format!("{} from {}", taken_words(*taken), from(origin, source));
            for (destination, why) in withheld {
                text.push_str(&format!("; not sent to {destination}: {why}"));
            }
            text
        }
        What::Unrouted => "no route chose a destination that may have it; kept, and sent nowhere".into(),
        What::Owed { destination, cause, route, verify, priority, .. } => {
            let text = owed(&destination.0, cause, route.as_deref(), *verify);
            if *priority == Priority::Routine { text } else { format!("{text}; {}", priority.word()) }
        }
        What::Tried { attempt, kind, destination, outcome, became, words, summary, .. } => {
            let what = if *kind == BatchKind::Send { "sent to" } else { "asked" };
            let said = words.as_deref().or(summary.as_deref()).unwrap_or("nothing was said");
            format!("attempt {}: {what} {destination}: {outcome} ({said}); now {became}", attempt.0)
        }
        What::Trying { attempt, kind, destination } => {
            let what = if *kind == BatchKind::Send { "being sent to" } else { "being asked for at" };
            format!("attempt {}: {what} {destination} now", attempt.0)
        }
        What::Moved { destination, what, who, words, became } => {
            let who = who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
            let why =
                words.as_ref().filter(|words| !words.is_empty()).map(|words| format!(" ({words})")).unwrap_or_default();
            format!("transfer to {destination}: {what}{who}{why}; now {became}")
        }
        What::Exception { exception, kind, closed, words } => {
            let end = match closed {
                Some(at) => format!("; closed {}", render::local(*at)),
                None => "; waits for a person".into(),
            };
            let why = words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            format!("exception {}, {kind}{why}{end}", exception.0)
        }
        What::Accessed(access) => accessed(access),
        What::Prefetch { rule: Some(rule), peer, how } => {
            let peer = peer.as_deref().unwrap_or("another site");
            format!("rule \"{rule}\" chose it to be pulled ahead from {peer}: {how}")
        }
        What::Prefetch { how, .. } => format!("priors are pulled ahead because of it: {how}"),
        What::Rejected(rejected) => self::rejected(rejected),
        What::Purged { rule, who, words } => purged(*rule, who.as_deref(), words.as_deref()),
        What::Withheld { rule, from, series, later } => withheld(rule, from, series, *later),
        What::Now { destination, state, verify, next, waiting_for } => {
            let waiting = waiting_for.as_ref().map(|what| format!(", {what}")).unwrap_or_default();
            let next = next.map(|at| format!("; next {}", render::local(at))).unwrap_or_default();
            format!("now: to {destination}: {}{waiting}{next}", standing(*state, *verify))
        }
    }
}

/// An access in plain words.
fn accessed(access: &Accessed) -> String {
    let Accessed { what, party, behalf, detail, given } = access;
    let of_site = if behalf.site.is_empty() { String::new() } else { format!(" of {}", behalf.site) };
    let for_whom = match (behalf.caller.is_empty(), behalf.purpose.is_empty()) {
        (true, true) => "; for whom it did not say".to_owned(),
        (true, false) => format!(", for {}", behalf.purpose),
        (false, true) => format!(", for {}{of_site}", behalf.caller),
        (false, false) => format!(", for {}{of_site}, purpose {}", behalf.caller, behalf.purpose),
    };
    let to = detail.as_deref().unwrap_or_default();
    let who = if behalf.caller.is_empty() { "somebody here" } else { &behalf.caller };
    let purpose = if behalf.purpose.is_empty() { String::new() } else { format!(", purpose {}", behalf.purpose) };
    match what.as_str() {
        "query" => format!("peer {party} searched and was told of it ({given} results){for_whom}"),
        "retrieve" => format!("peer {party} retrieved it ({given} instances){for_whom}"),
        "withheld" => format!("withheld from {party} by rule \"{to}\"{for_whom}"),
        "sought" => format!("{who} had other sites asked for it ({party}){purpose}"),
        "pulled" => format!("{who} had it pulled from peer {party} ({given} instances came){purpose}"),
        _ => format!("node {party} asked by {what} for it to be given to {to} ({given} instances){purpose}"),
    }
}

/// What a rejection note does, in plain words.
fn rejected(told: &Rejected) -> String {
    let Rejected { note, is_own, standing, is_rejected, reason, hides, undone_by, words } = told;
    let why = reason.map_or("unreadable".to_owned(), |reason| format!("{}, {}", reason.code(), reason.meaning()));
    let words = words.as_deref().unwrap_or("no reason");
    let note = if *is_own { format!("this rejection note ({why})") } else { format!("rejection note {note} ({why})") };
    if let Some(who) = undone_by {
        return format!("{note} was undone by {who} ({words})");
    }
    match (standing, is_own) {
        (Standing::NotHonoured, _) => {
            format!("{note} is not honoured and hides nothing: {words}; it goes nowhere without a person")
        }
        (Standing::Lifted, _) => format!("{note} was in force; it hides nothing any more"),
        _ if *is_rejected => format!("{note} is itself rejected by a later note, and hides nothing"),
        (_, true) if *hides => format!("{note} is in force: what it names is shown and sent to nobody"),
        (_, true) => format!("{note} is in force; nothing that it may hide is here"),
        (_, false) if *hides => format!("{note} names it: it is kept, hidden, shown and sent to nobody"),
        (_, false) => format!("{note} names it, but was not sent by who brought it: it is not hidden"),
    }
}

/// What a rule withholds now, from whom and by which image, in plain words.
fn withheld(rule: &str, from: &[Destination], series: &[String], later: bool) -> String {
    let names: Vec<&str> = from.iter().map(|to| to.0.as_str()).collect();
    let from = if names.is_empty() { "every peer".to_owned() } else { names.join(", ") };
    let what = match series {
        [] => "the study is".to_owned(),
        [one] => format!("series {one} is"),
        [one, others @ ..] => format!("series {one} and {} more are", others.len()),
    };
    let why = match later {
        true => {
            "a later image said what its first did not, or what it said cannot be read; that counts also once it is rejected"
        }
        false => "what its first image said, or who brought one of its images, is reason enough",
    };
    format!("now: {what} withheld from {from} by rule \"{rule}\" of the configuration file: {why}")
}

fn purged(rule: PurgeRule, who: Option<&str>, words: Option<&str>) -> String {
    let why = match rule {
        PurgeRule::Age => "the time for which they are kept had passed".to_owned(),
        PurgeRule::Room => "the disk was short of room".to_owned(),
        PurgeRule::Dropped => format!("{} dropped them ({})", who.unwrap_or("a person"), words.unwrap_or("no reason")),
    };
    let why = match who.filter(|_| rule != PurgeRule::Dropped) {
        Some(who) => format!("{why}, and {who} asked for it then ({})", words.unwrap_or("no reason")),
        None => why,
    };
    format!("its bytes were removed here: {why}; the records of it stay")
}

fn taken_words(taken: Taken) -> &'static str {
    match taken {
        Taken::First => "received",
        Taken::Again => "received again, the same content: nothing stored twice,",
        Taken::Differs => "received with the same UID and OTHER content: kept apart and held,",
    }
}

fn from(origin: &Origin, source: &SourceFacts) -> String {
    let mut text = match origin {
        Origin::Node(title) => format!("node {title}"),
        Origin::Peer(name) => format!("peer {name}"),
        Origin::Operator(request) => format!("an operator ({request})"),
        Origin::Pulled(name) => format!("peer {name}, which was asked for it,"),
        Origin::Archive(title) => format!("archive {title}, which was asked for it,"),
    };
    if let Some(address) = source.address {
        text.push_str(&format!(" at {address}"));
    }
    if let Some(called) = &source.called {
        text.push_str(&format!(", which called {called}"));
    }
    if let Some(issuer) = &source.issuer {
        text.push_str(&format!("; patients' numbers without an issuer are taken for {issuer}'s, by our configuration"));
    }
    if let Some(word) = &source.word {
        text.push_str(&format!("; that site says that {word} issued this one"));
    }
    text
}

fn owed(destination: &str, cause: &Cause, route: Option<&str>, verify: Verify) -> String {
    let why = match (cause, route) {
        (Cause::Route, Some(route)) => format!("route \"{route}\" chose {destination}"),
        (Cause::Route, None) => format!("a route chose {destination}"),
        (Cause::Operator(request), _) => format!("{request} asked for {destination}"),
    };
    let done = match verify {
        Verify::Accepted => "done when its answer names it",
        Verify::Present => "done when it shows it",
        Verify::Readback => "done when it gives back what was sent",
    };
    format!("{why}; {done}")
}

fn standing(state: State, verify: Verify) -> String {
    match (state, verify) {
        (State::Accepted, Verify::Accepted) => "accepted, not verified (as its policy says)".into(),
        (State::Accepted, Verify::Present) => "accepted; being looked for".into(),
        (State::Accepted, Verify::Readback) => "accepted; to be read back and compared".into(),
        _ => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-022: who asks why a study is withheld is told by which rule and from whom, and whether an image that came later is the reason.
    #[test]
    fn what_is_withheld_is_told_with_its_rule_and_which_image_is_the_reason() {
        let rows: [(&[&str], &[&str], bool, &str); 4] = [
            (
                &[],
                &[],
                false,
                "now: the study is withheld from every peer by rule \"objections\" of the configuration file: what its first image said",
            ),
            (
                &["kent", "surrey"],
                &[],
                true,
                "withheld from kent, surrey by rule \"objections\" of the configuration file: a later image said",
            ),
            (&["kent"], &["1.2"], true, "now: series 1.2 is withheld from kent"),
            (&["kent"], &["1.2", "1.3", "1.4"], false, "now: series 1.2 and 2 more are withheld from kent"),
        ];
        for (from, series, later, want) in rows {
            let from: Vec<_> = from.iter().map(|name| Destination((*name).to_owned())).collect();
            let series: Vec<_> = series.iter().map(|uid| (*uid).to_owned()).collect();
            let told = withheld("objections", &from, &series, later);
            assert!(told.contains(want), "{told}");
        }
    }

    /// LED-030, UIX-09: whoever had bytes removed before their time came by itself is named with the rule.
    #[test]
    fn who_asked_for_a_purge_is_named() {
        let rows = [
            (PurgeRule::Age, None, None, "had passed; the records"),
            (PurgeRule::Age, Some("jo"), Some("full"), "had passed, and jo asked for it then (full); the records"),
            (PurgeRule::Room, Some("jo"), None, "short of room, and jo asked for it then (no reason); the records"),
            (PurgeRule::Dropped, Some("jo"), Some("theirs"), "here: jo dropped them (theirs); the records"),
        ];
        for (rule, who, words, want) in rows {
            let told = purged(rule, who, words);
            assert!(told.contains(want), "{told}");
        }
    }
}

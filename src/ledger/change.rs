//! What the facts of an entry change in the tables of transfers, instances and exceptions: the words for writing and
//! reading these facts, so that the tables can be rebuilt from the entries alone (LED-001). Pure.

use super::entry::{Entry, Fact, Facts, Kind, facts};
use super::transfer::{State, TransferId};
use crate::peers::Priority;

/// A transfer that an entry made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its number.
    pub transfer: TransferId,
    /// The number of the instance version.
    pub instance: i64,
    /// The name of the destination.
    pub destination: String,
    /// `route`, or `operator:` and the request.
    pub cause: String,
    /// Its first state.
    pub state: State,
    /// How urgent it is.
    pub priority: Priority,
}

/// A version of an instance that an entry made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub instance: i64,
    /// `stored`, `held`, `purged` or `corrupt`.
    pub state: String,
    /// Its UID, version number and SHA-256 in hexadecimal, when the entry made it.
    pub made: Option<(String, i64, String)>,
}

/// An exception that an entry opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub exception: i64,
    /// `conflict`, `dead`, `poison` or `corrupt`.
    pub kind: String,
    /// The number of the instance version.
    pub instance: i64,
    /// The transfer, if it is about one.
    pub transfer: Option<TransferId>,
}

/// Everything that one entry changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Versions made or changed.
    pub versions: Vec<Version>,
    /// Transfers made.
    pub made: Vec<Made>,
    /// Steps of transfers, in order.
    pub steps: Vec<(State, Vec<TransferId>)>,
    /// Transfers whose attempts went up by one.
    pub tried: Vec<TransferId>,
    /// Transfers that became more urgent, or less.
    pub priorities: Vec<(Priority, Vec<TransferId>)>,
    /// A destination that was paused (`true`) or resumed.
    pub paused: Option<(String, bool)>,
    /// Exceptions opened.
    pub opened: Vec<Opened>,
    /// Exceptions closed.
    pub closed: Vec<i64>,
    /// Versions that a rejection note hides from now on (`true`), or that are shown again.
    pub hidden: Vec<(i64, bool)>,
}

/// The fact of a step: these transfers came to stand at `to`; `more` says why.
pub fn step(to: State, transfers: &[TransferId], more: Facts) -> Fact {
    let mut map = more;
    map.insert("to".into(), to.word().into());
    map.insert("transfers".into(), ids(transfers));
    Fact::Map(map)
}

/// The fact of a list of transfers.
pub fn ids(transfers: &[TransferId]) -> Fact {
    transfers.iter().map(|transfer| Fact::from(transfer.0)).collect()
}

/// The fact of transfers that are to be served in another priority from now on.
pub fn priority(to: Priority, transfers: &[TransferId]) -> Fact {
    Fact::Map(facts([("to", to.word().into()), ("transfers", ids(transfers))]))
}

/// The fact of a transfer that is made; `more` says which route, and what must be seen.
pub fn made(made: &Made, more: Facts) -> Fact {
    let mut map = more;
    map.insert("id".into(), made.transfer.0.into());
    map.insert("instance".into(), made.instance.into());
    map.insert("destination".into(), made.destination.as_str().into());
    map.insert("cause".into(), made.cause.as_str().into());
    map.insert("state".into(), made.state.word().into());
    if made.priority != Priority::default() {
        map.insert("priority".into(), made.priority.word().into());
    }
    Fact::Map(map)
}

/// The fact of an exception that is opened.
pub fn opened(opened: &Opened) -> Fact {
    let mut map = facts([
        ("id", opened.exception.into()),
        ("kind", opened.kind.as_str().into()),
        ("instance", opened.instance.into()),
    ]);
    if let Some(transfer) = opened.transfer {
        map.insert("transfer".into(), transfer.0.into());
    }
    Fact::Map(map)
}

/// Reads what an entry changed. The error names the fact that cannot be understood.
pub fn read(entry: &Entry) -> Result<Changes, &'static str> {
    let facts = &entry.facts;
    let steps =
        each(facts, "steps", |map| Some((State::parse(map.get("to")?.text()?)?, transfers(map, "transfers")?)))?;
    let sending = entry.kind == Kind::Attempt && facts.get("check").is_none();
    let tried = if sending { steps.iter().flat_map(|(_, of)| of.iter().copied()).collect() } else { Vec::new() };
    Ok(Changes {
        versions: each(facts, "versions", version)?,
        made: each(facts, "made", read_made)?,
        steps,
        tried,
        priorities: each(facts, "priorities", |map| {
            Some((Priority::parse(map.get("to")?.text()?)?, transfers(map, "transfers")?))
        })?,
        paused: paused(entry)?,
        opened: each(facts, "opened", read_opened)?,
        closed: numbers(facts, "closed")?,
        hidden: {
            let of = |name, is: bool| numbers(facts, name).map(|ids| ids.into_iter().map(move |id| (id, is)));
            of("hidden", true)?.chain(of("shown", false)?).collect()
        },
    })
}

fn numbers(facts: &Facts, name: &'static str) -> Result<Vec<i64>, &'static str> {
    match facts.get(name) {
        None => Ok(Vec::new()),
        Some(list) => list.list().and_then(|list| list.iter().map(Fact::number).collect()).ok_or(name),
    }
}

/// Whether a person paused or resumed a destination.
fn paused(entry: &Entry) -> Result<Option<(String, bool)>, &'static str> {
    let text = |name| entry.facts.get(name).and_then(Fact::text);
    let paused = match (entry.kind, text("verb")) {
        (Kind::Act, Some("pause")) => true,
        (Kind::Act, Some("resume")) => false,
        _ => return Ok(None),
    };
    text("destination").map(|name| Some((name.to_owned(), paused))).ok_or("destination")
}

fn each<T>(facts: &Facts, name: &'static str, read: impl Fn(&Facts) -> Option<T>) -> Result<Vec<T>, &'static str> {
    let Some(list) = facts.get(name) else { return Ok(Vec::new()) };
    let list = list.list().ok_or(name)?;
    list.iter().map(|fact| fact.map().and_then(&read).ok_or(name)).collect()
}

fn transfers(map: &Facts, name: &str) -> Option<Vec<TransferId>> {
    map.get(name)?.list()?.iter().map(|id| id.number().map(TransferId)).collect()
}

fn version(map: &Facts) -> Option<Version> {
    let text = |name| map.get(name).and_then(Fact::text).map(str::to_owned);
    let made = match (text("uid"), map.get("version").and_then(Fact::number), text("sha256")) {
        (Some(uid), Some(version), Some(sha256)) => Some((uid, version, sha256)),
        (None, None, None) => None,
        _ => return None,
    };
    Some(Version { instance: map.get("id")?.number()?, state: text("state")?, made })
}

fn read_made(map: &Facts) -> Option<Made> {
    let text = |name: &str| map.get(name).and_then(Fact::text);
    Some(Made {
        transfer: TransferId(map.get("id")?.number()?),
        instance: map.get("instance")?.number()?,
        destination: text("destination")?.to_owned(),
        cause: text("cause")?.to_owned(),
        state: State::parse(text("state")?)?,
        priority: match map.get("priority") {
            None => Priority::default(),
            Some(word) => Priority::parse(word.text()?)?,
        },
    })
}

fn read_opened(map: &Facts) -> Option<Opened> {
    Some(Opened {
        exception: map.get("id")?.number()?,
        kind: map.get("kind")?.text()?.to_owned(),
        instance: map.get("instance")?.number()?,
        transfer: match map.get("transfer") {
            None => None,
            Some(id) => Some(TransferId(id.number()?)),
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::entry::EntryId;

    fn entry(kind: Kind, facts: Facts) -> Entry {
        Entry { id: EntryId([0; 16]), writer: "w".into(), kind, at: 0, facts, causes: vec![] }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let new = Made {
            transfer: TransferId(5),
            instance: 9,
            destination: "surrey".into(),
            cause: "route".into(),
            state: State::Pending,
            priority: Priority::Urgent,
        };
        let conflict = Opened { exception: 1, kind: "conflict".into(), instance: 9, transfer: Some(TransferId(5)) };
        let facts = facts([
            ("made", [made(&new, Facts::new())].into_iter().collect()),
            ("opened", [opened(&conflict)].into_iter().collect()),
            ("steps", [step(State::Leased, &[TransferId(1), TransferId(2)], Facts::new())].into_iter().collect()),
            ("closed", [Fact::from(3)].into_iter().collect()),
            ("priorities", [priority(Priority::Backfill, &[TransferId(4)])].into_iter().collect()),
        ]);
        let changes = read(&entry(Kind::Attempt, facts.clone())).unwrap();
        assert_eq!((changes.made, changes.opened, changes.closed), (vec![new], vec![conflict], vec![3]));
        assert_eq!(changes.steps, vec![(State::Leased, vec![TransferId(1), TransferId(2)])]);
        assert_eq!(changes.tried, vec![TransferId(1), TransferId(2)]);
        assert_eq!(changes.priorities, vec![(Priority::Backfill, vec![TransferId(4)])]);
        assert!(read(&entry(Kind::Outcome, facts)).unwrap().tried.is_empty());
    }

    #[test]
    fn only_a_persons_act_pauses_a_destination() {
        let said = |verb: &str| facts([("verb", verb.into()), ("destination", "kent".into())]);
        let rows = [
            (Kind::Act, said("pause"), Ok(Some(("kent".to_owned(), true)))),
            (Kind::Act, said("resume"), Ok(Some(("kent".to_owned(), false)))),
            (Kind::Act, said("retry"), Ok(None)),
            (Kind::Outcome, said("pause"), Ok(None)),
            (Kind::Act, facts([("verb", "pause".into())]), Err("destination")),
        ];
        for (kind, facts, want) in rows {
            assert_eq!(read(&entry(kind, facts)).map(|changes| changes.paused), want);
        }
    }

    #[test]
    fn facts_that_make_no_sense_are_named() {
        let rows = [
            (facts([("priorities", [facts([("to", "soon".into())]).into()].into_iter().collect())]), "priorities"),
            (facts([("steps", "x".into())]), "steps"),
            (facts([("steps", [Fact::from(1)].into_iter().collect())]), "steps"),
            (facts([("closed", 4.into())]), "closed"),
            (facts([("hidden", ["x".into()].into_iter().collect())]), "hidden"),
            (facts([("shown", 4.into())]), "shown"),
            (facts([("made", [Facts::new().into()].into_iter().collect())]), "made"),
            (facts([("versions", [facts([("id", 1.into())]).into()].into_iter().collect())]), "versions"),
        ];
        for (facts, want) in rows {
            assert_eq!(read(&entry(Kind::Received, facts)), Err(want));
        }
    }
}

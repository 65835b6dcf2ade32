//! What is to happen in a history, and when.

use super::contents::{UIDS, VARIANTS};
use crate::courier::simulation::chance::Chance;
use crate::courier::simulation::destination::Weather;
use crate::peers::Verify;
use crate::records::Verb;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The destinations, what they must show, and whether they take several batches of a study at once.
pub(super) const FAR: [(&str, Verify, bool); 3] =
    [("surrey", Verify::Present, false), ("kent", Verify::Present, true), ("PACS", Verify::Accepted, false)];

/// Who sends.
pub(super) const FROM: [(&str, &str); 5] =
    [("node", "CT1"), ("node", "MR1"), ("node", "PACS"), ("peer", "kent"), ("operator", "jo")];

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// These arrive at once.
    Arrive(Vec<Coming>),
    Weather(&'static str, Weather),
    /// A person does this to a transfer.
    Act(Verb, i64),
    Pause(&'static str, bool),
    /// A byte of one of the blobs changes behind everybody's back.
    Damage(u64),
    /// A write or a sync of the store fails, after so many others.
    Fail {
        sync: bool,
        calls: u64,
        errno: i32,
    },
    /// The wall clock jumps.
    Jump(i64),
    /// The process dies after so many more notes of the story and so many steps of its tasks.
    Die(End, u32, u32),
    /// It dies before the call to the disk after so many others, whenever that comes.
    Call(End, u64),
    /// Faults end, and people let everything go on.
    Calm,
}

/// How a process ends, and when the next one begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The power fails too: of what was not synced, so many of a hundred pages are lost.
    pub(super) cut: Option<u64>,
    pub(super) down: Duration,
    /// The next one dies as well, so many calls after its beginning.
    pub(super) again: Option<u64>,
}

/// An instance that arrives.
#[derive(Debug, Clone)]
pub(super) struct Coming {
    pub(super) uid: u32,
    pub(super) variant: u32,
    pub(super) from: usize,
    /// The destinations that routes choose, bit by bit.
    pub(super) chosen: usize,
    /// In pieces of so many bytes.
    pub(super) pieces: usize,
    /// It ends early: the connection breaks, or it says that it is whole and is not.
    pub(super) short: Option<bool>,
}

/// Everything that is to happen, in order.
pub(super) fn plan(chance: &mut Chance) -> VecDeque<(Duration, Event)> {
    let span = chance.pick(&[10 * MINUTE, 3 * HOUR, 20 * HOUR]);
    let mut events: Vec<(Duration, Event)> = Vec::new();
    for _ in 0..4 + chance.below(8) {
        let many = 1 + chance.below(4);
        events.push((chance.time(span), Event::Arrive((0..many).map(|_| coming(chance)).collect())));
    }
    for (name, ..) in FAR {
        let weathers = [
            Weather::Clear,
            Weather::Clear,
            Weather::Stormy,
            Weather::Busy,
            Weather::Down,
            Weather::Mute,
            Weather::Forbidden,
        ];
        for _ in 0..chance.below(4) {
            events.push((chance.time(span), Event::Weather(name, chance.pick(&weathers))));
        }
    }
    for _ in 0..chance.below(5) {
        let longest = if chance.percent(60) { MINUTE } else { 5 * HOUR };
        let end = End {
            cut: chance.percent(60).then(|| chance.pick(&[100, 50, 10])),
            down: chance.time(longest),
            again: chance.percent(15).then(|| chance.below(5)),
        };
        let event = match chance.percent(60) {
            true => Event::Call(end, chance.below(20)),
            false => Event::Die(end, chance.below(10) as u32, chance.below(30) as u32),
        };
        events.push((chance.time(span), event));
    }
    for _ in 0..chance.below(5) {
        events.push((chance.time(span), now_and_then(chance)));
    }
    events.push((span, Event::Calm));
    events.sort_by_key(|(at, _)| *at);
    events.into()
}

fn coming(chance: &mut Chance) -> Coming {
    let uid = 1 + chance.below(u64::from(UIDS)) as u32;
    let any = if chance.percent(50) { 7 } else { chance.below(8) as usize };
    Coming {
        uid,
        variant: if chance.percent(75) { 0 } else { chance.below(u64::from(VARIANTS)) as u32 },
        from: if chance.percent(70) { 0 } else { chance.below(FROM.len() as u64) as usize },
        chosen: if is_by_hand(uid) { any & !1 } else { any },
        pieces: chance.pick(&[1 << 20, 16_384, 5_000, 1_111]),
        short: chance.percent(8).then(|| chance.percent(50)),
    }
}

/// Whether an operator sends this instance to the first destination by hand, and no route does. Both at once would make questions
/// about the one come before the sending of the other, for ever: the model knows no waits that grow.
pub(super) fn is_by_hand(uid: u32) -> bool {
    uid == UIDS
}

fn now_and_then(chance: &mut Chance) -> Event {
    let (name, ..) = chance.pick(&FAR);
    match chance.below(12) {
        0 => Event::Pause(name, chance.percent(50)),
        1..=3 => Event::Damage(chance.next()),
        4 => Event::Jump(chance.below(2 * 86_400) as i64 - 86_400),
        5..=7 => {
            // EIO, or a disk that is full.
            let errno = chance.pick(&[5, 5, 28]);
            Event::Fail { sync: chance.percent(50), calls: chance.below(6), errno }
        }
        _ => {
            let verb = chance.pick(&[Verb::Retry, Verb::Hold, Verb::Release, Verb::Cancel, Verb::Reopen]);
            Event::Act(verb, 1 + chance.below(16) as i64)
        }
    }
}

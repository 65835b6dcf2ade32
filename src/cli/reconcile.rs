//! `weybridge reconcile`: what the ledger says of a peer against what the peer shows.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::app;
use crate::app::reconcile::{Done, DoneThere};
use crate::config::Config;
use crate::dicom::uid::StudyUid;
use crate::dicomweb::client::PeerClient;
use crate::edge::admin::Request;
use crate::ledger::transfer::TransferId;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The peer, by its name
    peer: String,
    /// Only what was done there within so many days, or since a time: 2026-11-01, 2026-11-01T12:00 (both as the clock here says), or
    /// with a zone, 2026-11-01T12:00Z; a Weybridge peer keeps everything for three days at least, and shows only what it keeps
    #[arg(long, value_name = "DAYS|TIME", default_value = "2")]
    since: Since,
    /// Owe again what is missing there; needs a reason
    #[arg(long, requires = "reason")]
    reopen: bool,
    /// Why; kept in the ledger
    #[arg(long)]
    reason: Option<String>,
    /// One JSON object a study; several of a study of which very much was done
    #[arg(long)]
    json: bool,
}

/// Since when what was done counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// So many days ago.
    Days(u64),
    /// A time.
    At(SystemTime),
}

impl FromStr for Since {
    type Err = String;

    /// A whole number is of days. A time without a zone is one of this machine's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return text.parse().map(Self::Days).map_err(|_| "so many days there never were".to_owned());
        }
        let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::system()).ok().map(|at| at.timestamp());
        let at = text.parse::<Timestamp>().ok().or_else(local);
        let at = at.ok_or("it is neither a number of days nor a time such as 2026-11-01T12:00 or 2026-11-01T12:00Z")?;
        Ok(Self::At(at.into()))
    }
}

impl Since {
    /// The moment that is meant, now being `now`; 1970 at the earliest.
    fn moment(self, now: SystemTime) -> SystemTime {
        let meant = match self {
            Self::Days(days) => now.checked_sub(Duration::from_secs(days.saturating_mul(86_400))),
            Self::At(at) => Some(at),
        };
        meant.unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH)
    }
}

/// After so many studies a peer that has not answered once is asked no more, and is silent on the others, too.
const MOST_SILENT: usize = 5;

/// What a peer was asked for and did not show.
#[derive(Default)]
struct Gaps {
    asked: usize,
    missing: Vec<TransferId>,
    /// Studies of which the peer did not say what it shows, and why not, of the first.
    silent: Option<(usize, String)>,
}

impl Gaps {
    /// Whether the peer is asked of one more study; one of which it is not asked counts as one on which it is silent.
    fn goes_on(&mut self) -> bool {
        match &mut self.silent {
            Some((studies, _)) if self.asked == 0 && *studies >= MOST_SILENT => {
                *studies += 1;
                false
            }
            _ => true,
        }
    }
}

pub(super) async fn run(place: &ConfigPlace, options: Options) -> Ended {
    let config = client::load(place)?;
    let peer = client::peer(&config, &options.peer)?;
    if options.reopen && options.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(Failure::usage(
            "say why: weybridge reconcile PEER --reopen --reason \"…\"; it is kept in the ledger",
        ));
    }
    let records = client::records(&config)?;
    let asked_of = app::peer_client(&config, peer).map_err(Failure::usage)?;
    let mut gaps = Gaps::default();
    let now = SystemTime::now();
    let since = options.since.moment(now);
    if since > now {
        return Err(Failure::usage("--since lies ahead: nothing has been done there since"));
    }
    let mut left = DoneThere::new(&records, &options.peer, since);
    loop {
        let studies = left.some_more().await.map_err(Failure::some)?;
        if studies.is_empty() {
            break;
        }
        for (study, done) in studies {
            if gaps.goes_on() {
                compare(&asked_of, &study, &done, &options, &mut gaps).await?;
            }
        }
    }
    if !options.json {
        render::line(format!("{} asked for, {} missing at {}", gaps.asked, gaps.missing.len(), options.peer))?;
    }
    let reopened = match options.reopen && !gaps.missing.is_empty() {
        true => Some(reopen(&config, &options, &gaps.missing).await?),
        false => None,
    };
    if let Some((studies, why)) = &gaps.silent {
        let missing = gaps.missing.len();
        let peer = &options.peer;
        return Err(Failure::unreachable(format!(
            "{peer} cannot be asked of {studies} studies: {why}; of the others {missing} instances are missing there"
        )));
    }
    match (gaps.missing.is_empty(), reopened) {
        (true, _) => Ok(ExitCode::SUCCESS),
        (false, Some(ended)) => Ok(ended),
        (false, None) => Err(Failure::some(format!(
            "{} does not show {} instances that it was sent; `--reopen --reason` owes them again",
            options.peer,
            gaps.missing.len()
        ))),
    }
}

async fn compare(
    client: &PeerClient,
    study: &StudyUid,
    done: &[Done],
    options: &Options,
    gaps: &mut Gaps,
) -> Result<(), Failure> {
    let missing = match app::reconcile::missing(client, study, done).await {
        Ok(missing) => missing,
        Err(why) => {
            let silent = gaps.silent.get_or_insert((0, why.to_string()));
            silent.0 += 1;
            return Ok(());
        }
    };
    gaps.asked += done.len();
    gaps.missing.extend(missing.iter().map(|view| view.transfer));
    let uids: Vec<&str> = missing.iter().map(|view| view.sop_instance_uid.as_str()).collect();
    if options.json {
        render::json(&json!({
            "study_instance_uid": study.as_str(),
            "destination": options.peer,
            "asked": done.len(),
            "missing": uids,
        }))
    } else {
        uids.iter().try_for_each(|uid| render::line(format!("missing: {uid} of study {study}")))
    }
}

async fn reopen(config: &Config, options: &Options, missing: &[TransferId]) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let (mut reopened, mut skipped) = (0, 0);
    for page in missing.chunks(1000) {
        let request = Request {
            ids: page.iter().map(|transfer| transfer.0).collect(),
            study: None,
            destination: None,
            state: None,
            who: super::who(),
            reason: options.reason.clone().unwrap_or_default(),
        };
        let body = serde_json::to_value(&request).map_err(Failure::some)?;
        let answer = gateway.post("/transfers/reopen", &body).await?;
        reopened += answer["changed"].as_u64().unwrap_or(0);
        skipped += answer["skipped"].as_u64().unwrap_or(0);
    }
    if !options.json {
        render::line(format!(
            "{reopened} are owed again: {} is asked once more, and sent what it lacks",
            options.peer
        ))?;
    }
    match skipped {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Failure::some(format!(
            "{count} cannot be sent again: their bytes are no longer kept here, or they are not done any more"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// UIX-04: what was never asked is not passed over in silence.
    #[test]
    fn studies_of_which_a_silent_peer_is_not_asked_are_counted() {
        let silent = |asked, studies| Gaps { asked, silent: Some((studies, "refused".to_owned())), ..Gaps::default() };
        let rows = [
            (Gaps::default(), true, None),
            (silent(0, MOST_SILENT - 1), true, Some(MOST_SILENT - 1)),
            (silent(0, MOST_SILENT), false, Some(MOST_SILENT + 2)),
            (silent(3, MOST_SILENT), true, Some(MOST_SILENT)),
        ];
        for (mut gaps, want, counted) in rows {
            assert_eq!([gaps.goes_on(), gaps.goes_on()], [want; 2]);
            assert_eq!(gaps.silent.map(|(studies, _)| studies), counted);
        }
    }

    #[test]
    fn since_is_a_number_of_days_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400);
        let moment = |text: &str| text.parse::<Since>().map(|since| since.moment(now));
        assert_eq!(moment("2"), Ok(now - Duration::from_secs(2 * 86_400)));
        assert_eq!([moment("0"), moment("99999999999999")], [Ok(now), Ok(SystemTime::UNIX_EPOCH)]);
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_534_400);
        for text in
            ["2026-11-01T12:00Z", "2026-11-01T12:00:00Z", "2026-11-01T13:00:00+01:00", "2026-11-01 12:00:00.000Z"]
        {
            assert_eq!(moment(text), Ok(noon), "{text}");
        }
        // Without a zone: this machine's, wherever the test runs.
        let local =
            |text: &str| text.parse::<DateTime>().unwrap().to_zoned(TimeZone::system()).unwrap().timestamp().into();
        assert_eq!(moment("2026-11-01T12:00"), Ok(local("2026-11-01T12:00:00")));
        assert_eq!(moment("2026-11-01"), Ok(local("2026-11-01T00:00:00")));
        for text in ["", "-1", "2d", "yesterday", "12:00", "2026-13-01", "99999999999999999999", "2026-11-01T25:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}

//! `weybridge send --study | --accession | --patient`: sends what the gateway, or an archive behind it, holds to one destination.

use super::super::transfers::every_line;
use super::super::{Ended, Failure, client, render};
use super::progress;
use crate::config::Config;
use crate::dicom::uid::StudyUid;
use crate::edge::admin::{Asked, Held, Instruction};
use crate::ledger::breaker::Reach;
use crate::peers::Destination;
use crate::records::{Records, TransferFilter, TransferSums, Unsupported};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// So often `--wait` looks how far it is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Options {
    /// Send what is held of this study
    #[arg(long, value_name = "UID", conflicts_with_all = ["paths", "accession", "patient"])]
    study: Option<String>,
    /// Send the studies with this Accession Number
    #[arg(long, value_name = "N", conflicts_with_all = ["paths", "patient"])]
    accession: Option<String>,
    /// Send the studies of the patient with this Patient ID
    #[arg(long, value_name = "ID", conflicts_with = "paths")]
    patient: Option<String>,
    /// Who issued the number, where several did
    #[arg(long, conflicts_with = "paths")]
    issuer: Option<String>,
    /// Only what came from this node or peer
    #[arg(long, value_name = "NODE", conflicts_with = "paths")]
    from: Option<String>,
    /// Also what is there already, and what came from there
    #[arg(long, conflicts_with = "paths")]
    again: bool,
    /// Show what would be sent, and send nothing
    #[arg(long, conflicts_with = "paths")]
    dry_run: bool,
    /// Wait until all of it has arrived, or a person must decide
    #[arg(long, conflicts_with_all = ["paths", "dry_run"])]
    wait: bool,
    /// Why; kept in the ledger
    #[arg(long, default_value = "", conflicts_with = "paths")]
    reason: String,
}

pub(super) async fn run(config: &Config, options: &super::Options) -> Ended {
    let mut gateway = client::Gateway::required(config).await?;
    let studies = choose(config, &mut gateway, options).await?;
    if !options.json {
        show(&studies)?;
    }
    if options.held.dry_run {
        if options.json {
            studies.iter().try_for_each(render::json)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // What was cancelled before is no trouble of what is sent now.
    let long_cancelled: u64 = match options.held.wait {
        true => sums(&client::records(config)?, options, &studies).await?.iter().map(|line| line.cancelled).sum(),
        false => 0,
    };
    let ordered = order_all(&mut gateway, options, &studies).await?;
    if !options.json {
        ordered.tell(options)?;
    }
    let Ordered { owed, under_way, done, unsendable, not_given, .. } = ordered;
    if not_given > 0 {
        let again = "what came of it is sent; send again when the archive answers";
        return Err(Failure::some(format!(
            "{not_given} instances that an archive holds did not come from it; {again}"
        )));
    }
    if owed + under_way + done == 0 {
        return Err(Failure::some(
            "nothing can be sent: all of it came from there (--again sends it), waits for a person, is damaged or is gone; \
             see `weybridge study`",
        ));
    }
    if options.held.wait {
        wait(config, options, &studies, long_cancelled).await?;
        // What has no transfer was not waited for (UIX-04).
        return match unsendable {
            0 => Ok(ExitCode::SUCCESS),
            _ => Err(Failure::some(format!(
                "{unsendable} more of what this site held cannot be sent: it waits for a person, is damaged or is gone; \
                 see `weybridge study`"
            ))),
        };
    }
    if !options.json {
        render::line("follow them with `weybridge transfers list`")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of the orders, in instances.
#[derive(Default)]
struct Ordered {
    owed: u64,
    under_way: u64,
    done: u64,
    came_from_there: u64,
    unsendable: u64,
    not_given: u64,
}

impl Ordered {
    fn tell(&self, options: &super::Options) -> Result<(), Failure> {
        let Self { owed, under_way, done, came_from_there, unsendable, .. } = self;
        let left_out = came_from_there + unsendable;
        render::line(format!(
            "to {}: {owed} instances queued, {under_way} on their way already, {done} there already, {left_out} left out",
            options.to
        ))?;
        if done + left_out > 0 && !options.held.again {
            render::line(
                "what is there already, or came from there, goes with --again; see `weybridge exceptions list` for what is held",
            )?;
        }
        Ok(())
    }
}

/// Orders the studies one after another.
async fn order_all(
    gateway: &mut client::Gateway,
    options: &super::Options,
    studies: &[Held],
) -> Result<Ordered, Failure> {
    let bar = progress(studies.len() as u64);
    let mut all = Ordered::default();
    for study in studies {
        let answer = order(gateway, options, study).await?;
        let count = |name: &str| answer[name].as_u64().unwrap_or(0);
        all.owed += count("owed");
        all.under_way += count("under_way");
        all.done += count("done");
        all.came_from_there += count("came_from_there");
        all.unsendable += count("unsendable");
        all.not_given += count("not_given");
        bar.inc(1);
        if options.json {
            let mut value = serde_json::to_value(study).map_err(Failure::some)?;
            value["destination"] = options.to.as_str().into();
            value["ordered"] = answer;
            bar.suspend(|| render::json(&value))?;
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

/// The studies that are meant. More than one person's is refused (IDY-046).
async fn choose(
    config: &Config,
    gateway: &mut client::Gateway,
    options: &super::Options,
) -> Result<Vec<Held>, Failure> {
    let Options { study, accession, patient, issuer, from, .. } = &options.held;
    let asked = Asked {
        study: study.clone(),
        accession: accession.clone(),
        patient: patient.clone(),
        issuer: issuer.clone(),
        from: from.clone(),
    };
    let answer = gateway.post("/holdings", &serde_json::to_value(&asked).map_err(Failure::some)?).await?;
    let studies: Vec<Held> = serde_json::from_value(answer["studies"].clone()).map_err(Failure::some)?;
    let silent: Vec<&str> =
        answer["silent_archives"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    let silent = match silent.is_empty() {
        true => String::new(),
        false => format!("; archive {} did not answer, so there may be more", silent.join(", ")),
    };
    if studies.is_empty() {
        let from = from.as_ref().map(|from| format!(" that came from {from}")).unwrap_or_default();
        return Err(Failure::absent(format!("{} holds nothing of it{from}{silent}", config.site.name)));
    }
    if !silent.is_empty() && !options.json {
        render::line(format!("not everything is known{silent}"))?;
    }
    if answer["doubtful"] == true {
        if options.json {
            studies.iter().try_for_each(render::json)?;
        } else {
            show(&studies)?;
        }
        return Err(Failure::some(
            "this number belongs to more than one patient or was issued by more than one party; nothing was sent. \
             Name the study with --study, or who issued the number with --issuer",
        ));
    }
    Ok(studies)
}

fn show(studies: &[Held]) -> Result<(), Failure> {
    let rows = studies.iter().map(|study| {
        vec![
            study.study_instance_uid.clone(),
            study.study_date.clone().unwrap_or_else(|| "-".into()),
            study.issuers.join(", "),
            study.sources.join(", "),
            study.instances.to_string(),
            render::bytes(study.bytes),
        ]
    });
    render::table(&["STUDY", "DATE", "ISSUER", "FROM", "INSTANCES", "SIZE"], rows.collect())?;
    let (instances, bytes) = studies.iter().fold((0, 0), |(n, b), study| (n + study.instances, b + study.bytes));
    let unsendable: u64 = studies.iter().map(|study| study.unsendable).sum();
    let without =
        if unsendable > 0 { format!("; {unsendable} more wait for a person or are gone") } else { String::new() };
    render::line(format!("{} studies, {instances} instances, {}{without}", studies.len(), render::bytes(bytes)))
}

async fn order(
    gateway: &mut client::Gateway,
    options: &super::Options,
    study: &Held,
) -> Result<serde_json::Value, Failure> {
    let said = Instruction {
        study: study.study_instance_uid.clone(),
        from: options.held.from.clone(),
        to: options.to.clone(),
        urgent: options.urgent,
        again: options.held.again,
        who: super::super::who(),
        reason: options.held.reason.clone(),
    };
    gateway.post("/orders", &serde_json::to_value(&said).map_err(Failure::some)?).await
}

/// Waits until everything of the studies to the destination is done or waits for a person: what is parked, too, for its class or with the
/// destination (DIM-050). So many had been cancelled before.
async fn wait(config: &Config, options: &super::Options, studies: &[Held], long_cancelled: u64) -> Ended {
    let records = client::records(config)?;
    let total = studies.iter().map(|study| study.instances).sum();
    let bar = progress(total);
    loop {
        let sums = sums(&records, options, studies).await?;
        let total = |field: fn(&TransferSums) -> u64| sums.iter().map(field).sum::<u64>();
        let moving = total(|line| line.moving);
        let failed = total(|line| line.open) + total(|line| line.cancelled).saturating_sub(long_cancelled);
        bar.set_length(total(|line| line.instances));
        bar.set_position(total(|line| line.instances).saturating_sub(moving));
        if moving == 0 {
            bar.finish_and_clear();
            if options.json {
                render::json(&json!({"destination": options.to, "failed": failed}))?;
            }
            return match failed {
                0 => Ok(ExitCode::SUCCESS),
                _ => {
                    let why = trouble(&records, &options.to, total(|line| line.parked)).await?;
                    Err(Failure::some(format!("{failed} transfers to {} need a person{why}", options.to)))
                }
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What must be put right at a destination before it takes what is left, of which so many are parked.
async fn trouble(records: &Records, to: &str, parked: u64) -> Result<String, Failure> {
    let views = records.destinations().await.map_err(Failure::some)?;
    let Some(view) = views.into_iter().find(|view| view.destination.0 == to) else { return Ok(String::new()) };
    if view.reach == Reach::Parked {
        let why = view.words.unwrap_or_default();
        return Ok(format!("; {to} is parked: {why}. Put it right, then `weybridge transfers retry --to {to}`"));
    }
    let class = |class: Unsupported| {
        let why = class.why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!("; {to} does not take SOP class {}{why}", class.sop_class)
    };
    Ok(if parked > 0 { view.unsupported.into_iter().map(class).collect() } else { String::new() })
}

async fn sums(records: &Records, options: &super::Options, studies: &[Held]) -> Result<Vec<TransferSums>, Failure> {
    let mut lines = Vec::new();
    for study in studies {
        let study = StudyUid::parse(&study.study_instance_uid).map_err(Failure::some)?;
        let destination = Some(Destination(options.to.clone()));
        let filter = TransferFilter { study: Some(study), destination, ..TransferFilter::default() };
        lines.extend(every_line(records, filter).await?);
    }
    Ok(lines)
}

//! `weybridge demo`: two sites and a node on this machine, real transfers between them, and the ledger's proof.

mod bundle;
mod node;
mod push;
mod site;

use super::study::every_instance;
use super::transfers::{PAGE, every_line};
use super::{Ended, Failure, render};
use crate::certs::DevAuthority;
use crate::records::{InstanceView, Records, TransferFilter, hex};
use site::Site;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the demo waits for everything to arrive before it says what is missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The AE title that site A takes images from.
const MODALITY: &str = "MODALITY_A";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Leave both sites running until Ctrl-C, and print how to look at them
    #[arg(long)]
    keep: bool,
    /// Where the two sites keep their data; must not exist yet [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) async fn run(options: Options) -> Ended {
    let started = Instant::now();
    let folder = Folder::make(options.dir.clone(), options.keep)?;
    let authority = DevAuthority::create().map_err(Failure::some)?;
    let node = node::DemoNode::start().await?;
    let (a, b) = site::pair(&folder.path, &authority, node.address()).await?;
    render::line(format!(
        "site A listens for DICOM on {}, site B for DICOMweb over mutual TLS on {}",
        a.dicom(),
        b.web()
    ))?;
    render::line(format!("a PACS of site B (PACS_B) listens on {}", node.address()))?;
    render::line("")?;
    let studies = bundle::studies()?;
    let pushed = push_all(&a, &studies).await?;
    settle(&a, "site B", pushed.instances - pushed.conflicts, "verified").await?;
    settle(&b, "PACS_B", pushed.instances - pushed.conflicts, "accepted").await?;
    show(&a, &b, &node, &studies).await?;
    prove(&a, &b).await?;
    render::line(format!("done in {:.1} s", started.elapsed().as_secs_f64()))?;
    if options.keep {
        keep(&a, &b).await?;
    }
    a.stop().await;
    b.stop().await;
    Ok(ExitCode::SUCCESS)
}

struct Pushed {
    instances: usize,
    conflicts: usize,
}

/// Pushes every study to site A by C-STORE as a modality would, some of them twice.
async fn push_all(a: &Site, studies: &[bundle::Study]) -> Result<Pushed, Failure> {
    let mut pushed = Pushed { instances: 0, conflicts: 0 };
    for study in studies {
        let rounds = if study.twice { 2 } else { 1 };
        for round in 0..rounds {
            let stored = push::study(a.dicom(), study).await?;
            let again = if round > 0 { ", again" } else { "" };
            render::line(format!(
                "pushed to A{again}: {}, {stored} instances, each answered with C-STORE status 0000",
                study.title
            ))?;
        }
        match study.conflicting {
            true => pushed.conflicts += study.instances.len(),
            false => pushed.instances += study.instances.len(),
        }
    }
    pushed.instances += pushed.conflicts;
    Ok(pushed)
}

/// Waits until a site's transfers have come to where its policy wants them.
async fn settle(site: &Site, to: &str, wanted: usize, state: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lines = every_line(site.records(), TransferFilter { limit: PAGE, ..TransferFilter::default() }).await?;
        let done: u64 = lines
            .iter()
            .map(|line| if state == "verified" { line.verified } else { line.accepted + line.verified })
            .sum();
        if done as usize >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::some(format!(
                "only {done} of {wanted} instances have arrived at {to} after {} s",
                PATIENCE.as_secs()
            )));
        }
        // A pause between two looks, bounded by the deadline above.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One line a study: what arrived where, and how that is known.
async fn show(a: &Site, b: &Site, node: &node::DemoNode, studies: &[bundle::Study]) -> Result<(), Failure> {
    render::line("")?;
    for study in studies.iter().filter(|study| !study.conflicting) {
        let at_a = every_instance(a.records(), &study.uid).await?;
        let at_b = every_instance(b.records(), &study.uid).await?;
        let wanted = study.instances.len();
        let verified = evidence(&at_a, "verified");
        let held = at_a.iter().filter(|instance| instance.state == "held").count();
        let same = study.instances.iter().filter(|one| node.holds(one.sop_instance.as_str(), &one.digest)).count();
        render::line(format!("{}: {} of {wanted} verified at B: {}", study.title, verified.0, verified.1))?;
        let accepted = evidence(&at_b, "accepted");
        let mut kept = format!("{same} byte for byte as pushed");
        if same < wanted {
            kept = format!("{kept}, {} re-encoded from Implicit to Explicit VR Little Endian", wanted - same);
        }
        render::line(format!("    {} of {wanted} handed to PACS_B: {}; {kept}", accepted.0, accepted.1))?;
        if held > 0 {
            render::line(format!(
                "    {held} with the same UID and other content: kept, held for a person, sent nowhere"
            ))?;
        }
    }
    let blobs = a.records().blob_counts().await.map_err(Failure::some)?;
    let instances = a.records().summary().await.map_err(Failure::some)?.instances;
    render::line(format!("duplicates stored twice at A: none; {} blobs for {instances} instances", blobs.live))
}

/// How many instances have a transfer in this state, and the evidence of the first.
fn evidence(instances: &[InstanceView], state: &str) -> (usize, String) {
    let transfers =
        instances.iter().flat_map(|instance| &instance.transfers).filter(|transfer| transfer.state.word() == state);
    let mut texts: BTreeMap<&str, usize> = BTreeMap::new();
    for transfer in transfers {
        *texts.entry(transfer.evidence.as_deref().unwrap_or("no evidence")).or_default() += 1;
    }
    let text = texts.keys().copied().collect::<Vec<_>>().join("; ");
    (texts.values().sum(), text)
}

/// The proof: chain, tree and states of both ledgers recomputed from their entries.
async fn prove(a: &Site, b: &Site) -> Result<(), Failure> {
    render::line("")?;
    for (name, records) in [("A", a.records()), ("B", b.records())] {
        render::line(format!("ledger of {name}: {}", proof(records).await?))?;
    }
    Ok(())
}

async fn proof(records: &Records) -> Result<String, Failure> {
    let report = records.verify_ledger(Default::default()).await.map_err(Failure::some)?;
    match report.problems.first() {
        None => Ok(format!(
            "{} entries, {} transfers: chain, tree and states agree; tree root {}",
            report.head.size,
            report.transfers,
            hex(&report.head.root)
        )),
        Some(problem) => Err(Failure::integrity(format!("the ledger does not agree: {problem}"))),
    }
}

async fn keep(a: &Site, b: &Site) -> Result<(), Failure> {
    render::line("")?;
    render::line("both sites keep running; look at them from another terminal, Ctrl-C ends them:")?;
    for site in [a, b] {
        render::line(format!("    weybridge --config {} status", site.config_file().display()))?;
    }
    render::line(format!(
        "    storescu -aet {MODALITY} -aec TO_B {} FILE   (DICOM to site A, which sends it on to B)",
        a.dicom().to_string().replace(':', " ")
    ))?;
    tokio::signal::ctrl_c().await.map_err(Failure::some)
}

/// The folder of both sites; a temporary one is removed at the end.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn make(given: Option<PathBuf>, keep: bool) -> Result<Self, Failure> {
        let temporary = given.is_none() && !keep;
        let path = given.unwrap_or_else(|| {
            let unique = format!("weybridge-demo-{}", std::process::id());
            std::env::temp_dir().join(unique)
        });
        std::fs::create_dir(&path)
            .map_err(|error| Failure::usage(format!("cannot make {}: {error}", path.display())))?;
        let path = path.canonicalize().map_err(Failure::some)?;
        Ok(Self { path, temporary })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

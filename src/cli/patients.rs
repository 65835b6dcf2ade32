//! `weybridge patients`: the cross-reference of patients' numbers, and who was given what of one patient.

mod access;
mod import;
mod show;
mod table;

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::cross_reference::LocalId;
use crate::edge::admin::Unlearn;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Take statements "this local number is that NHS number" from a CSV file: issuer, patient_id, nhs_number, birth_date
    Import(Import),
    /// What the cross-reference says of a number, and whose it therefore is. Shows patient data
    Show(Of),
    /// Take back what one source said of a local number
    Unlearn(Back),
    /// Who sent, searched for, retrieved or was given images of one patient, by NHS number or local number
    Access(Of),
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// A CSV file with a line of headings: patient_id, nhs_number, birth_date (YYYYMMDD or YYYY-MM-DD), and issuer unless --issuer is given
    file: PathBuf,
    /// Who issued the local numbers of lines that do not say
    #[arg(long)]
    issuer: Option<String>,
    /// What the statements are kept under; what is imported later under the same name stands beside it
    #[arg(long, default_value = "import")]
    source: String,
    /// Import the good lines although others are bad; without, one bad line keeps all of them out
    #[arg(long)]
    skip_bad: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// An NHS number or a local number
    id: String,
    /// Who issued the local number
    #[arg(long)]
    issuer: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Back {
    /// The local number
    id: String,
    /// Who issued it
    #[arg(long)]
    issuer: String,
    /// The source, as `patients show` prints it
    #[arg(long)]
    source: String,
    /// Who decides; kept in the ledger
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why; kept beside the ledger, which holds its hash
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    match verb {
        Verb::Import(options) => import::run(place, options).await,
        Verb::Show(options) => show::run(place, &options).await,
        Verb::Unlearn(options) => unlearn(place, options).await,
        Verb::Access(options) => access::run(place, &options).await,
    }
}

async fn unlearn(place: &ConfigPlace, options: Back) -> Ended {
    let Back { id, issuer, source, by, reason } = options;
    if LocalId::new(&issuer, &id).is_none() {
        return Err(Failure::usage("a number and its issuer have 1 to 64 characters"));
    }
    let config = client::load(place)?;
    let mut gateway = client::Gateway::required(&config).await?;
    let asked = Unlearn { issuer, id, source, who: by, reason };
    let answer = gateway.post("/patients/unlearn", &serde_json::to_value(&asked).map_err(Failure::some)?).await?;
    match answer["statements"].as_u64().unwrap_or(0) {
        0 => Err(Failure::absent(
            "this source said nothing of this number; `weybridge patients show` tells who said what",
        )),
        gone => {
            render::line(format!("{gone} statements were taken back"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

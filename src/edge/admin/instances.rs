//! Takes the files of `weybridge send`: one Part 10 file a request, for one destination.

use super::holdings::verify_at;
use super::{AdminFace, problem};
use crate::dicom::part10::{Found, MetaParser};
use crate::intake::{Claimed, Receipt, Reception, Refusal, Source};
use crate::peers::{Destination, Origin, Priority};
use crate::records::{Became, Kept, Requested, SourceFacts};
use axum::body::{Body, BodyDataStream};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use futures_util::StreamExt;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// The destination.
    to: String,
    /// Who asks, in their words.
    request: String,
    /// Whether somebody waits for it.
    #[serde(default)]
    urgent: bool,
}

pub(super) async fn receive(State(face): State<AdminFace>, Query(asked): Query<Asked>, body: Body) -> Response {
    let destination = Destination(asked.to);
    let registry = Arc::clone(&face.registry.borrow());
    let mut body = body.into_data_stream();
    let verify = match verify_at(&registry, &destination) {
        Ok(verify) => verify,
        Err(why) => {
            read_to_end(&mut body).await;
            return problem(StatusCode::BAD_REQUEST, &why);
        }
    };
    let request: String = asked.request.chars().take(200).collect();
    let priority = if asked.urgent { Priority::Urgent } else { Priority::Routine };
    let source = Source {
        origin: Origin::Operator(request.clone()),
        called: None,
        facts: SourceFacts::default(),
        requested: Some(Requested { destination, request, verify, priority }),
    };
    let taken = take(&face, source, &mut body).await;
    if taken.is_err() {
        read_to_end(&mut body).await;
    }
    match taken {
        Ok(receipt) => {
            let (sent, why) = sent(&receipt);
            let value = serde_json::json!({
                "sop_instance_uid": receipt.sop_instance.as_str(),
                "study_instance_uid": receipt.study.as_str(),
                "outcome": outcome(&receipt),
                "sent": sent,
                "why": why,
            });
            Json(value).into_response()
        }
        Err(refusal) => problem(code(&refusal), &refusal.to_string()),
    }
}

/// Reads what is refused to its end, so that the command hears why and sends its next file over the same connection.
async fn read_to_end(body: &mut BodyDataStream) {
    while let Some(Ok(_)) = body.next().await {}
}

fn outcome(receipt: &Receipt) -> &'static str {
    match receipt.kept {
        Kept::Same { .. } => "duplicate",
        Kept::Differs { .. } => "conflict, held",
        Kept::Stored { .. } | Kept::BlobGone | Kept::Rerouted => "stored",
    }
}

/// What became of it on its way to the destination, and the reason where it does not go there now.
fn sent(receipt: &Receipt) -> (&'static str, Option<&'static str>) {
    match (receipt.requested, receipt.kept) {
        (Some(Became::Owed), _) => ("queued", None),
        (Some(Became::UnderWay), _) => ("under_way", None),
        (Some(Became::There), _) => ("there", None),
        (Some(Became::Held), Kept::Differs { .. }) => {
            ("held", Some("the same SOP Instance UID is here with other content, and this one is held"))
        }
        (Some(Became::Held), _) => ("held", Some("its transfer waits for a person, see `weybridge exceptions list`")),
        (Some(Became::Not(why)), _) => ("not_sent", Some(why.words())),
        (None, _) => ("not_sent", Some("nobody asked for it")),
    }
}

fn code(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoRoom | Refusal::Exhausted | Refusal::Stopping | Refusal::Poisoned(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

async fn take(face: &AdminFace, source: Source, body: &mut BodyDataStream) -> Result<Receipt, Refusal> {
    let unreadable = |why: String| Refusal::Malformed { why, tag: None };
    let mut meta = Some(MetaParser::new());
    let mut reception: Option<Reception> = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| unreadable("the file stopped coming".into()))?;
        if let Some(reception) = &mut reception {
            reception.write(&chunk).await?;
        } else if let Some(parser) = &mut meta {
            let parsed = parser.push(&chunk).map_err(|error| unreadable(error.to_string()))?;
            if let Some(Found { meta: found, early, used }) = parsed {
                let claimed = Claimed {
                    sop_class: found.sop_class,
                    sop_instance: found.sop_instance,
                    study: None,
                    transfer_syntax: found.transfer_syntax,
                };
                let mut opened = face.intake.receive(claimed, None).await?;
                opened.write(&early).await?;
                opened.write(&chunk[used..]).await?;
                reception = Some(opened);
                meta = None;
            }
        }
    }
    let reception = reception.ok_or_else(|| unreadable("not a whole DICOM file".into()))?;
    let arrived = reception.finish().await?;
    face.intake.commit(Arc::new(source), arrived).await
}

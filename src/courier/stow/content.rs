//! What an instance says at the peer, compared with what it says here, where the bytes that came back are not those that were sent (WEB-045).

use super::StowCarrier;
use super::evidence::Compared;
use super::parcel::Parcel;
use crate::courier::body::BodyError;
use crate::courier::data_set::DataSet;
use crate::courier::decoding;
use crate::dicom::canon::{CanonError, Content, Digester};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::client::{NotReadBack, Part, Piece};
use crate::ledger::judgement::{self, Side, Verdict};
use crate::records::Retrievable;
use bytes::Bytes;
use tokio::sync::Semaphore;

/// Contents are compared one at a time, whatever the peer: each may hold a decoded frame.
static COMPARING: Semaphore = Semaphore::const_new(1);

/// A content as far as it was read; an error once it cannot be told.
type Reading = Result<Digester, CanonError>;

impl StowCarrier {
    /// Reads an instance of at most so many bytes back once more, and compares what it says and shows with what was sent, whatever the
    /// encoding.
    pub(super) async fn compare_content(&self, parcel: &Parcel, most: u64) -> Compared {
        let _one = COMPARING.acquire().await;
        let theirs = match self.content_there(&parcel.item.copy, most).await {
            Ok(content) => content,
            Err(failure) => return Compared::because(failure),
        };
        let ours = match self.content_here(parcel).await {
            Ok(content) => content,
            Err(error) => return Compared::Ours(error),
        };
        of(ours.as_ref(), theirs.as_ref())
    }

    /// What the peer gives; none if it cannot be told what that says.
    async fn content_there(&self, copy: &Retrievable, most: u64) -> Result<Option<Content>, NotReadBack> {
        let Retrievable { study, series, sop_instance, .. } = copy;
        let part = Part::Instance(series.clone(), sop_instance.clone());
        let mut retrieval = self.client.retrieve(study, &part, 1).await?;
        let mut reading: Option<Reading> = None;
        let unusable = |why: &str| NotReadBack::Unusable(why.to_owned());
        while let Some(piece) = retrieval.next().await? {
            match piece {
                Piece::Begin { meta, .. } => reading = Some(self.begun(&meta.transfer_syntax)),
                Piece::Data(bytes) if retrieval.came() <= most => {
                    let open = reading.take().ok_or_else(|| unusable("the peer gave no DICOM file"))?;
                    reading =
                        Some(pushed(open, bytes).await.map_err(|error| NotReadBack::BrokenOff(error.to_string()))?);
                }
                Piece::Data(_) => return Err(unusable("the answer is far longer than what was sent")),
                Piece::End => {}
                Piece::Bad(why) => return Err(NotReadBack::Unusable(why)),
            }
        }
        let reading = reading.ok_or_else(|| unusable("the peer gave no DICOM file"))?;
        finished(reading).await.map_err(|error| NotReadBack::BrokenOff(error.to_string()))
    }

    /// What was sent, or would be.
    async fn content_here(&self, Parcel { item, plan }: &Parcel) -> Result<Option<Content>, BodyError> {
        let mut sent = DataSet::open(&self.store, item, plan).await?;
        let mut reading = self.begun(&plan.transfer_syntax);
        let ended = |error: decoding::Ended| BodyError::Transcode(error.to_string());
        while let Some(bytes) = sent.next().await? {
            reading = pushed(reading, bytes).await.map_err(ended)?;
        }
        finished(reading).await.map_err(ended)
    }

    fn begun(&self, syntax: &TransferSyntaxUid) -> Reading {
        Digester::new(syntax, self.profile.clone())
    }
}

async fn pushed(reading: Reading, bytes: Bytes) -> Result<Reading, decoding::Ended> {
    match reading {
        Ok(mut digester) => decoding::off_thread(move || digester.push(&bytes).map(|()| digester)).await,
        lost => Ok(lost),
    }
}

async fn finished(reading: Reading) -> Result<Option<Content>, decoding::Ended> {
    let content = decoding::off_thread(move || reading.and_then(Digester::finish)).await?;
    Ok(content.ok().map(|(content, _)| content))
}

/// What comparing both shows. Study, series and class stand in the contents. Whatever is in doubt is not the same (IDY-006).
fn of(ours: Option<&Content>, theirs: Option<&Content>) -> Compared {
    let side = |content| Side { study: "", series: "", class: "", content };
    let differs = |what: &str| Compared::Other(what.to_owned());
    match judgement::judge(&side(ours), &side(theirs)) {
        Verdict::Same => Compared::Same,
        Verdict::Unknown => {
            Compared::Never("its bytes are others, and whether they say the same cannot be told".into())
        }
        Verdict::Revision => differs("another patient, order or place of origin; all else is the same"),
        Verdict::OtherPixels => differs("OTHER PIXELS"),
        Verdict::Lossy => differs("pixels compressed with loss where ours are not, or the other way"),
        Verdict::OtherPatient => differs("ANOTHER PATIENT'S NHS number"),
        Verdict::OtherContent | Verdict::OtherPlace | Verdict::OtherClass => {
            differs("other attributes; the pixels are the same")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::canon::Pixels;

    #[test]
    fn only_what_surely_says_and_shows_the_same_is_the_same() {
        let content = |canon, core, pixels| Content { canon: [canon; 32], core: [core; 32], pixels, patient: None };
        let sure = |n| Pixels::Lossless([n; 32]);
        let ours = content(1, 2, sure(3));
        let rows = [
            (Some(content(1, 2, sure(3))), "same"),
            (Some(content(9, 2, sure(3))), "another patient, order or place of origin; all else is the same"),
            (Some(content(9, 9, sure(3))), "other attributes; the pixels are the same"),
            (Some(content(1, 2, sure(9))), "OTHER PIXELS"),
            (
                Some(content(1, 2, Pixels::Lossy([3; 32]))),
                "pixels compressed with loss where ours are not, or the other way",
            ),
            (Some(content(1, 2, Pixels::Unknown)), "never"),
            (None, "never"),
        ];
        for (theirs, want) in rows {
            let got = match of(Some(&ours), theirs.as_ref()) {
                Compared::Same => "same".to_owned(),
                Compared::Other(what) => what,
                _ => "never".to_owned(),
            };
            assert_eq!(got, want, "{theirs:?}");
        }
    }
}

//! The bytes of a kept data set on their way to a reader: as they are, readable, or native; nothing whole if damaged (REL-07).

use super::body::Pieces;
use crate::courier::decoding;
use crate::dicom::transcode::Transcoder;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Encoding, encoding};
use crate::dicom::uid::TransferSyntaxUid;
use crate::edge::http::WebFace;
use crate::records::{Records, Retrievable};
use crate::store::{Ahead, BlobReader, StoreError};
use bytes::{Buf, Bytes};
use std::io;
use std::time::SystemTime;

/// In which form a data set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// Byte for byte as it is stored.
    Stored,
    /// As Explicit VR Little Endian; pixels in fragments stay so, or are left out where the stored syntax does not allow them.
    Readable,
    /// As Explicit VR Little Endian, its pixels decoded.
    Native,
}

/// How a data set that is stored in a syntax comes into a form; `None` if it cannot, `Some(None)` if it is in it already.
pub(super) fn transcoder(stored: &TransferSyntaxUid, form: As) -> Option<Option<Transcoder>> {
    let native = stored.as_str() == EXPLICIT_VR_LE;
    let fragments = encoding(stored) == Encoding::EncapsulatedExplicitLittle;
    match form {
        As::Stored => Some(None),
        As::Readable if native || fragments => Some(None),
        As::Native if native => Some(None),
        As::Readable => Transcoder::between(stored, EXPLICIT_VR_LE).map(Transcoder::leaving_fragments).map(Some),
        As::Native => Transcoder::between(stored, EXPLICIT_VR_LE).map(Some),
    }
}

/// A data set, chunk by chunk. The last chunk comes only after the digest agreed.
pub(super) struct DataSet {
    records: Records,
    item: Retrievable,
    reader: BlobReader,
    stage: Stage,
    /// Bytes that were read and not yet taken.
    waiting: Bytes,
}

enum Stage {
    AsRead,
    /// With the most bytes that are taken at once.
    Re(Box<Transcoder>, usize),
    Done,
}

impl Pieces for DataSet {
    /// After an error there are no more, and whoever reads must see that they are not all.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.read().await
    }
}

impl DataSet {
    /// Opens it. Damage is recorded, so that the next one who asks is not served it.
    pub(super) async fn open(face: &WebFace, item: &Retrievable, form: As) -> io::Result<Self> {
        Self::open_on(face, item, form, Ahead::default()).await
    }

    /// The same, where its beginning may have been read already.
    pub(super) async fn open_on(face: &WebFace, item: &Retrievable, form: As, ahead: Ahead) -> io::Result<Self> {
        let unreadable = || io::Error::other("its transfer syntax cannot be re-encoded");
        let stage = match transcoder(&item.transfer_syntax, form).ok_or_else(unreadable)? {
            None => Stage::AsRead,
            Some(transcoder) => {
                let deflated = encoding(&item.transfer_syntax) == Encoding::DeflatedExplicitLittle;
                Stage::Re(Box::new(transcoder), if deflated { decoding::DEFLATED_STEP } else { usize::MAX })
            }
        };
        match face.store.read_on(item.place, item.digest, ahead).await {
            Ok(reader) => {
                let (records, waiting) = (face.records.clone(), Bytes::new());
                Ok(Self { records, item: item.clone(), reader, stage, waiting })
            }
            Err(error) => Err(failed(&face.records, item, error).await),
        }
    }

    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Stage::Done = self.stage {
                return Ok(None);
            }
            if self.waiting.is_empty() {
                match self.reader.next().await {
                    // Copied, so that the buffer goes back to the store at once: deliveries wait for the same buffers, and a
                    // slow reader must not keep them.
                    Ok(Some(bytes)) => self.waiting = Bytes::copy_from_slice(&bytes),
                    Ok(None) => return self.finish().await,
                    Err(error) => {
                        self.stage = Stage::Done;
                        return Err(failed(&self.records, &self.item, error).await);
                    }
                }
            }
            let waiting = std::mem::take(&mut self.waiting);
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Re(transcoder, step) => {
                    let (transcoder, bytes, left) = push(transcoder, step, waiting).await?;
                    (self.stage, self.waiting) = (Stage::Re(transcoder, step), left);
                    if !bytes.is_empty() {
                        return Ok(Some(bytes));
                    }
                }
                as_read => {
                    self.stage = as_read;
                    return Ok(Some(waiting));
                }
            }
        }
    }

    async fn finish(&mut self) -> io::Result<Option<Bytes>> {
        let Stage::Re(transcoder, _) = std::mem::replace(&mut self.stage, Stage::Done) else { return Ok(None) };
        let last = run(transcoder.decodes(), move || {
            let mut out = Vec::new();
            transcoder.finish(&mut out).map_err(io::Error::other).map(|_| out)
        })
        .await?;
        Ok(Some(Bytes::from(last)).filter(|last| !last.is_empty()))
    }
}

/// Takes bytes from the front, as many as make no more than one frame; gives what is left.
async fn push(
    mut transcoder: Box<Transcoder>,
    step: usize,
    mut waiting: Bytes,
) -> io::Result<(Box<Transcoder>, Bytes, Bytes)> {
    run(transcoder.decodes(), move || {
        let (mut out, take) = (Vec::new(), waiting.len().min(step));
        let mut left = &waiting[..take];
        transcoder.push_some(&mut left, &mut out).map_err(io::Error::other)?;
        let taken = take - left.len();
        waiting.advance(taken);
        Ok((transcoder, Bytes::from(out), waiting))
    })
    .await
}

/// Does the work here, or where long work delays nobody.
async fn run<T: Send + 'static>(long: bool, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    if !long {
        return work();
    }
    decoding::off_thread(work).await.map_err(io::Error::other)?
}

/// Damage is recorded; the connection ends without an end of the body.
pub(super) async fn failed(records: &Records, item: &Retrievable, error: StoreError) -> io::Error {
    tracing::error!(instance = %item.sop_instance, error = %error, "a retrieval is broken off");
    if error.is_damage()
        && let Err(error) = records.corrupt(item.instance, item.place, &error.to_string(), SystemTime::now()).await
    {
        tracing::error!(error = %error, "the damage could not be recorded");
    }
    io::Error::other(error)
}

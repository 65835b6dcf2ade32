//! Bodies that stream out of the store: a chunk at a time, and an end only if every digest agreed (REL-07).

use super::data_set::{As, DataSet};
use super::refill::Refill;
use super::seats::Seat;
use crate::dicom::part10::{self, FileMeta};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, allowed_on_the_web};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::wado::Syntax;
use crate::edge::http::{Base, WebFace};
use crate::priors::archive::Fetching;
use crate::records::{InstanceId, Resource, Retrievable};
use crate::store::Ahead;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use std::collections::VecDeque;
use std::future::Future;
use std::io;

/// What a body is made of, piece by piece.
pub(super) trait Pieces: Send + 'static {
    /// The next piece; none at the end. After an error there are no more, and whoever reads sees that they are not all.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;
}

/// A body that holds its seat for as long as it lives. Who goes away ends it at the piece in hand.
pub(super) fn body(pieces: impl Pieces, seat: Seat) -> Body {
    Body::from_stream(stream::unfold(Some((pieces, seat)), |held| async move {
        let (mut pieces, seat) = held?;
        match pieces.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some((pieces, seat)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// The form in which an instance leaves.
fn form(native: bool) -> As {
    if native { As::Native } else { As::Stored }
}

/// The transfer syntax in which an instance leaves.
pub(super) fn syntax(item: &Retrievable, native: bool) -> TransferSyntaxUid {
    let explicit = TransferSyntaxUid::parse(EXPLICIT_VR_LE).ok().filter(|_| native);
    explicit.unwrap_or_else(|| item.transfer_syntax.clone())
}

/// Preamble and file meta information, written anew on every way out (DIM-041).
pub(super) fn prefix(item: &Retrievable, native: bool) -> Bytes {
    let meta = FileMeta {
        sop_class: item.sop_class.clone(),
        sop_instance: item.sop_instance.clone(),
        transfer_syntax: syntax(item, native),
    };
    part10::prefix(&meta).into()
}

/// Bytes of one instance that are made ahead of its reader; a slice of CT or MR is shorter.
const MADE_AHEAD: usize = 2 << 20;

/// One instance as a Part 10 file.
pub(super) struct Instance {
    face: WebFace,
    item: Retrievable,
    native: bool,
    data_set: Option<DataSet>,
    /// Its beginning, which may have been read already.
    begun: Ahead,
    /// Made already, and not yet given.
    ahead: VecDeque<Bytes>,
}

impl Instance {
    /// With `native` as Explicit VR Little Endian.
    pub(super) fn new(face: WebFace, item: Retrievable, native: bool) -> Self {
        Self { face, item, native, data_set: None, begun: Ahead::default(), ahead: VecDeque::new() }
    }

    /// Makes it to its end, so that what cannot be made is known before anything of it is given. What is longer than
    /// [`MADE_AHEAD`] is made a second time for its reader.
    async fn make(&mut self) -> io::Result<()> {
        let mut bytes = 0;
        while let Some(piece) = self.made().await? {
            bytes += piece.len();
            if bytes <= MADE_AHEAD {
                self.ahead.push_back(piece);
            } else {
                self.ahead.clear();
            }
        }
        if bytes > MADE_AHEAD {
            self.data_set = None;
        }
        Ok(())
    }

    async fn made(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.data_set {
            Some(data_set) => data_set.next().await,
            // Opened before anything of it is given.
            None => {
                let begun = std::mem::take(&mut self.begun);
                self.data_set = Some(DataSet::open_on(&self.face, &self.item, form(self.native), begun).await?);
                Ok(Some(prefix(&self.item, self.native)))
            }
        }
    }
}

impl Pieces for Instance {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.ahead.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None => self.made().await,
        }
    }
}

/// So many bytes, after so many that are passed over.
pub(super) struct Trimmed<P> {
    pieces: P,
    skip: u64,
    left: u64,
}

impl<P: Pieces> Trimmed<P> {
    pub(super) fn new(pieces: P, skip: u64, left: u64) -> Self {
        Self { pieces, skip, left }
    }
}

impl<P: Pieces> Pieces for Trimmed<P> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.left > 0 {
            let Some(mut bytes) = self.pieces.next().await? else { return Ok(None) };
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            // No chunk is longer than a number of this machine.
            bytes = bytes.slice(usize::try_from(skipped).unwrap_or(usize::MAX)..);
            if bytes.len() as u64 > self.left {
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            }
            self.left -= bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// The kept instances of a resource in the order of their arrival, read page by page; then those that an archive brings.
pub(super) struct Listed {
    face: WebFace,
    resource: Resource,
    page: VecDeque<Retrievable>,
    after: InstanceId,
    awaited: Option<Refill>,
    owed: Owed,
}

/// Instances that were kept when the status of an answer was settled, and are still to come in its list: the status says that all of them
/// are given (WEB-101).
struct Owed(u64);

impl Owed {
    /// One more is given.
    fn give(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Whether the list may end well: not if something of it was purged, or set aside, before its turn.
    fn end(&self) -> io::Result<()> {
        match self.0 {
            0 => Ok(()),
            gone => Err(io::Error::other(format!("{gone} instances were deleted before their turn came"))),
        }
    }
}

impl Listed {
    /// With what is being fetched: the list goes on as it arrives, and ends well only if all of it did, and so many at least that were
    /// `kept` when the answer was settled.
    pub(super) fn new(face: WebFace, resource: Resource, fetching: Option<Fetching>, kept: u64) -> Self {
        let awaited = fetching.map(Refill::new);
        Self { face, resource, page: VecDeque::new(), after: InstanceId(0), awaited, owed: Owed(kept) }
    }

    pub(super) fn face(&self) -> &WebFace {
        &self.face
    }

    /// Has the next one read, if it is known.
    fn begin_next(&self) -> Ahead {
        self.page.front().map(|item| self.face.store.ahead(item.place, item.digest)).unwrap_or_default()
    }

    async fn refill(&mut self) -> io::Result<()> {
        let page = match &mut self.awaited {
            Some(awaited) => awaited.page(&self.face.records, &self.resource).await,
            None => self.face.records.retrievable(&self.resource, self.after).await,
        };
        self.page = page.map_err(io::Error::other)?.into();
        Ok(())
    }

    pub(super) async fn next(&mut self) -> io::Result<Option<Retrievable>> {
        if self.page.is_empty() {
            self.refill().await?;
        }
        let next = self.page.pop_front();
        match &next {
            Some(item) => {
                self.after = item.instance;
                self.owed.give();
            }
            None => {
                let lacking = self.awaited.as_ref().map_or(0, Refill::lacking);
                if lacking > 0 {
                    // Whoever reads must see that this is not all.
                    tracing::warn!(study = %self.resource.study, lacking, "a retrieval is broken off: an archive did not give all");
                    return Err(io::Error::other("an archive did not give all that it holds"));
                }
                self.owed.end().inspect_err(|error| {
                    tracing::warn!(study = %self.resource.study, error = %error, "a retrieval is broken off");
                })?;
            }
        }
        Ok(next)
    }
}

/// All instances of a resource, each a part.
pub(super) struct Related {
    listed: Listed,
    /// Each leaves in the first of these that fits it.
    syntaxes: Vec<Syntax>,
    /// The head of the answer says that what fits none of them is left out.
    in_part: bool,
    base: Base,
    writer: Writer,
    first: bool,
    current: Option<Instance>,
    /// The next instance, most likely, being read while this one is given.
    begun: Ahead,
    ended: bool,
}

impl Related {
    pub(super) fn new(listed: Listed, syntaxes: Vec<Syntax>, in_part: bool, base: Base, writer: Writer) -> Self {
        let (first, current, begun, ended) = (true, None, Ahead::default(), false);
        Self { listed, syntaxes, in_part, base, writer, first, current, begun, ended }
    }

    /// The head of the next part, or what follows the last.
    async fn advance(&mut self) -> io::Result<Bytes> {
        while let Some(item) = self.listed.next().await? {
            match super::instances::leaves_in_any(&item.transfer_syntax, &self.syntaxes) {
                Some(native) => return self.open(item, native).await,
                None if self.in_part => {}
                // It came meanwhile: what is given is not all, and must not look so.
                None => return Err(io::Error::other("an instance came that cannot be given as wanted")),
            }
        }
        self.ended = true;
        Ok(self.writer.end())
    }

    /// The head of the part of one instance, whose bytes follow.
    async fn open(&mut self, item: Retrievable, native: bool) -> io::Result<Bytes> {
        let (instance, native) = self.made_or_stored(&item, native).await?;
        let location = self.base.instance(&item.study, &item.series, &item.sop_instance);
        let (syntax, first) = (syntax(&item, native), self.first);
        let head = match native {
            // What the digest says is of the bytes that are stored, not of those made from them.
            true => self.writer.resource_head(syntax.as_str(), None, &location, first),
            false => {
                let length = prefix(&item, false).len() as u64 + item.length;
                self.writer.file_head(syntax.as_str(), length, &item.digest.0, &location, first)
            }
        };
        self.first = false;
        self.current = Some(instance);
        Ok(head)
    }

    /// The instance in the form in which it leaves, and whether that was made for the answer. One that turns out not to be
    /// decodable leaves as it is stored, and its part says so: the others of its study are not held back for it. (What is known
    /// before the answer begins is left out instead, and its head says so.)
    async fn made_or_stored(&mut self, item: &Retrievable, native: bool) -> io::Result<(Instance, bool)> {
        let begun = std::mem::replace(&mut self.begun, self.listed.begin_next());
        let instance = |native| Instance::new(self.listed.face().clone(), item.clone(), native);
        if !native {
            return Ok((Instance { begun, ..instance(false) }, false));
        }
        let mut made = Instance { begun, ..instance(true) };
        match made.make().await {
            Ok(()) => Ok((made, true)),
            Err(error) if super::formless(&error) && allowed_on_the_web(&item.transfer_syntax) => {
                tracing::warn!(instance = %item.sop_instance, error = %error, "it is given as it is stored");
                Ok((instance(false), false))
            }
            Err(error) => Err(error),
        }
    }
}

impl Pieces for Related {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(instance) = &mut self.current {
            match instance.next().await? {
                Some(bytes) => return Ok(Some(bytes)),
                None => self.current = None,
            }
        }
        if self.ended { Ok(None) } else { self.advance().await.map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WEB-101: an answer that was begun as all does not end well without what was purged before its turn; what came besides is no matter.
    #[test]
    fn what_was_deleted_before_its_turn_breaks_an_answer_off() {
        for (kept, given, whole) in [(0, 0, true), (2, 2, true), (2, 3, true), (2, 1, false), (300, 256, false)] {
            let mut owed = Owed(kept);
            (0..given).for_each(|_| owed.give());
            assert_eq!(owed.end().is_ok(), whole, "{given} of {kept}");
        }
    }
}

//! The frames of one kept instance, each read by its place in the store, without the others.

use super::body::{Pieces, Trimmed};
use super::comparing::Comparing;
use super::data_set::{As, DataSet, failed};
use super::waiting::ROOM;
use crate::courier::decoding;
use crate::dicom::layout::index::{Index, IndexError, Indexer, Next, Unwrapper};
use crate::dicom::layout::{Layout, Pixels, Surveyor};
use crate::dicom::pixels::{self, Image};
use crate::dicom::render::{Look, LookSurveyor};
use crate::dicom::tag::PIXEL_DATA;
use crate::dicom::transcode::TranscodeError;
use crate::dicom::transfer_syntax::{Encoding, encoding};
use crate::dicom::uid::TransferSyntaxUid;
use crate::edge::http::WebFace;
use crate::records::Retrievable;
use crate::store::{BlobReader, Digest};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Instances whose frames are remembered, and the most frames of one of them.
const REMEMBERED: usize = 64;
const MOST_FRAMES: usize = 100_000;
/// Up to this length an instance is read to its end and its digest compared before a frame of it is given for the first time;
/// a longer one is compared while its first frames go out.
const CHECKED_FIRST: u64 = 16 << 20;
/// Bytes of what is in memory that are given at once.
const PIECE: usize = 64 << 10;
/// Bytes that are looked at together while hopping over fragments.
const WINDOW: u64 = 64 << 10;

/// The instances whose frames were asked for last: where those are, found once, and their digests compared once.
#[derive(Debug, Default)]
pub struct Known {
    last: Mutex<VecDeque<(Digest, Arc<Place>)>>,
    comparing: Arc<Comparing>,
}

/// Where frames are.
#[derive(Debug)]
struct Place {
    layout: Layout,
    /// Of fragments.
    index: Option<Index>,
}

impl Known {
    fn find(&self, digest: Digest) -> Option<Arc<Place>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().find(|(known, _)| *known == digest).map(|(_, place)| Arc::clone(place))
    }

    fn keep(&self, digest: Digest, place: &Arc<Place>) {
        if place.index.as_ref().is_some_and(|index| index.starts.len() > MOST_FRAMES) {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|(known, _)| *known != digest);
        last.truncate(REMEMBERED - 1);
        last.push_front((digest, Arc::clone(place)));
    }
}

/// The frames of one instance.
pub(super) struct Frames {
    face: WebFace,
    item: Retrievable,
    place: Arc<Place>,
}

impl Frames {
    /// Finds them; `None` if the instance has no pixels. The error is of the store, or of what is stored.
    pub(super) async fn of(face: &WebFace, item: &Retrievable) -> io::Result<Option<Self>> {
        let (face, item) = (face.clone(), item.clone());
        if let Some(place) = face.known.find(item.digest) {
            return Ok(Some(Self { face, item, place }));
        }
        let check = compare(face.clone(), item.clone());
        if item.length <= CHECKED_FIRST {
            check.await?;
        } else {
            // What comes of it is recorded: a damaged instance is not given again.
            let check = async { drop(check.await) };
            face.known.comparing.begin(item.digest, check).await;
        }
        let Some(mut layout) = survey(&face, &item).await? else { return Ok(None) };
        let index = match &mut layout.pixels {
            Pixels::Native { .. } => None,
            // Of what coding they are, nobody says: they must not be given for cells (PS3.5 section 8.2).
            Pixels::Fragments { .. } if encoding(&item.transfer_syntax) != Encoding::EncapsulatedExplicitLittle => {
                return Err(io::Error::other(TranscodeError::Encapsulated { tag: PIXEL_DATA }));
            }
            // The layout is remembered, and the table, which may have megabytes, is of no use in it any more.
            Pixels::Fragments { at, table } => {
                let table = std::mem::take(table);
                Some(index(&face, &item, &layout.image, *at, table).await?)
            }
        };
        let place = Arc::new(Place { layout, index });
        face.known.keep(item.digest, &place);
        Ok(Some(Self { face, item, place }))
    }

    /// What the attributes say of the image.
    pub(super) fn layout(&self) -> &Layout {
        &self.place.layout
    }

    /// The transfer syntax in which they are stored.
    pub(super) fn syntax(&self) -> &TransferSyntaxUid {
        &self.item.transfer_syntax
    }

    /// Whether the frames are codestreams.
    pub(super) fn are_compressed(&self) -> bool {
        self.place.index.is_some()
    }

    /// Whether they can be given in native form.
    pub(super) fn have_native_form(&self) -> bool {
        !self.are_compressed() || pixels::is_decodable(&self.item.transfer_syntax)
    }

    /// The bytes of a native frame, which is there; `None` otherwise.
    pub(super) fn native_bytes(&self, frame: u32) -> Option<u64> {
        match self.are_compressed() {
            false => self.place.layout.cells(frame).map(|cells| cells.length.div_ceil(8)),
            true if (1..=self.place.layout.image.frames).contains(&frame) => {
                self.place.layout.image.frame_bytes().ok().map(|bytes| bytes as u64)
            }
            true => None,
        }
    }

    /// One frame as cells, little endian; a compressed one decoded.
    pub(super) async fn native(&self, frame: u32) -> io::Result<Frame> {
        if self.are_compressed() {
            let room = ROOM.take(self.native_bytes(frame).unwrap_or(0)).await?;
            return Ok(Frame::Whole(room.hold(self.decoded(frame).await?.bytes)));
        }
        let missing = || io::Error::other(Missing);
        let cells = self.place.layout.cells(frame).ok_or_else(missing)?;
        let Pixels::Native { at, length, word } = self.place.layout.pixels else { return Err(missing()) };
        let range = at + cells.at / 8..at + (cells.at + cells.length).div_ceil(8);
        let wanted = range.end - range.start;
        let frame = if encoding(&self.item.transfer_syntax) == Encoding::DeflatedExplicitLittle {
            let inflated = DataSet::open(&self.face, &self.item, As::Native).await?;
            Frame::Inflated(Box::new(Trimmed::new(inflated, range.start, wanted)))
        } else {
            // Whole words are read, also where the frame begins or ends within one.
            let word = word.max(1) as u64;
            let skip = (range.start - at) % word;
            let end = (at + (range.end - at).next_multiple_of(word)).min(at + length);
            let reader = self.read(range.start - skip..end).await?;
            let cells_of = Cells { reader, word: word as usize, held: Vec::new() };
            Frame::Cells(Box::new(Trimmed::new(cells_of, skip, wanted)))
        };
        if cells.at % 8 == 0 && cells.length % 8 == 0 {
            return Ok(frame);
        }
        let room = ROOM.take(wanted).await?;
        let packed = gathered(frame).await?;
        Ok(Frame::Whole(room.hold(shifted(&packed, (cells.at % 8) as u32, cells.length))))
    }

    /// One frame as the codestream that is stored.
    pub(super) async fn codestream(&self, frame: u32) -> io::Result<Frame> {
        let range = self.place.index.as_ref().and_then(|index| index.range(frame, self.item.length));
        let range = range.filter(|range| range.start < range.end && range.end <= self.item.length);
        let range = range.ok_or_else(|| io::Error::other(IndexError::Malformed))?;
        Ok(Frame::Fragments(Box::new(self.read(range).await?), Unwrapper::default()))
    }

    /// One frame, decoded.
    pub(super) async fn decoded(&self, frame: u32) -> io::Result<pixels::Frame> {
        let image = self.place.layout.image;
        let longest = image.frame_bytes().map_err(io::Error::other)?.saturating_mul(2).saturating_add(1 << 20);
        let mut pieces = self.codestream(frame).await?;
        let mut codestream = Vec::new();
        while let Some(piece) = pieces.next().await? {
            if codestream.len() + piece.len() > longest {
                return Err(io::Error::other(pixels::FragmentError::TooLong));
            }
            codestream.extend_from_slice(&piece);
        }
        let syntax = self.item.transfer_syntax.clone();
        let decoded = decoding::off_thread(move || pixels::decode(&syntax, &image, &codestream)).await;
        decoded.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    /// How a frame shall look.
    pub(super) async fn look(&self, frame: u32) -> io::Result<Look> {
        let mut head = DataSet::open(&self.face, &self.item, As::Readable).await?;
        let told = encoding(&self.item.transfer_syntax) != Encoding::ImplicitLittle;
        let mut surveyor = LookSurveyor::new(frame, told);
        while let Some(bytes) = head.next().await? {
            if surveyor.push(&bytes).map_err(io::Error::other)? {
                break;
            }
        }
        Ok(surveyor.look())
    }

    async fn read(&self, range: Range<u64>) -> io::Result<BlobReader> {
        match self.face.store.read(self.item.place, self.item.digest, Some(range)).await {
            Ok(reader) => Ok(reader),
            Err(error) => Err(failed(&self.face.records, &self.item, error).await),
        }
    }
}

/// The attributes promise a frame that is not there.
#[derive(Debug, thiserror::Error)]
#[error("the pixel data is shorter than its attributes say")]
pub(super) struct Missing;

/// One frame on its way.
pub(super) enum Frame {
    /// It is in memory, and given in pieces: a connection need not hold it once more.
    Whole(Bytes),
    /// Its cells lie in the store.
    Cells(Box<Trimmed<Cells>>),
    /// Its fragments lie in the store.
    Fragments(Box<BlobReader>, Unwrapper),
    /// Its cells pass by as its data set is inflated.
    Inflated(Box<Trimmed<DataSet>>),
}

/// Native cells out of the store, their words turned round.
pub(super) struct Cells {
    reader: BlobReader,
    word: usize,
    held: Vec<u8>,
}

impl Pieces for Cells {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(bytes) = self.reader.next().await.map_err(io::Error::other)? else {
            // What is left of a last word that is not whole.
            return Ok(Some(Bytes::from(std::mem::take(&mut self.held))).filter(|rest| !rest.is_empty()));
        };
        match self.word {
            ..2 => Ok(Some(Bytes::copy_from_slice(&bytes))),
            word => Ok(Some(turned(word, &mut self.held, &bytes))),
        }
    }
}

/// The whole words of what is held and what came, each turned round; the rest is held.
fn turned(word: usize, held: &mut Vec<u8>, bytes: &[u8]) -> Bytes {
    held.extend_from_slice(bytes);
    let rest = held.split_off(held.len() - held.len() % word);
    let mut whole = std::mem::replace(held, rest);
    whole.chunks_exact_mut(word).for_each(<[u8]>::reverse);
    whole.into()
}

impl Pieces for Frame {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let piece: Bytes = match self {
                Self::Whole(whole) if whole.is_empty() => return Ok(None),
                Self::Whole(whole) => whole.split_to(PIECE.min(whole.len())),
                Self::Inflated(inflated) => return inflated.next().await,
                Self::Cells(cells) => return cells.next().await,
                Self::Fragments(reader, unwrapper) => match reader.next().await.map_err(io::Error::other)? {
                    Some(bytes) => {
                        let mut out = Vec::new();
                        unwrapper.push(&bytes, &mut out).map_err(io::Error::other)?;
                        out.into()
                    }
                    None => {
                        unwrapper.finish().map_err(io::Error::other)?;
                        return Ok(None);
                    }
                },
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

/// All of a frame that is not long.
pub(super) async fn gathered(mut frame: Frame) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = frame.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Bits from the first on, so many of them, packed from the lowest bit of the first byte on (PS3.5 section 8.1.1).
fn shifted(packed: &[u8], first: u32, bits: u64) -> Vec<u8> {
    let byte = |at: usize| u16::from(packed.get(at).copied().unwrap_or(0));
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
    let mut out: Vec<u8> = (0..length).map(|at| ((byte(at) | byte(at + 1) << 8) >> first) as u8).collect();
    if let (Some(last), used @ 1..) = (out.last_mut(), bits % 8) {
        *last &= (1u16 << used).wrapping_sub(1) as u8;
    }
    out
}

/// Reads an instance to its end and compares its digest; a damaged one is set aside (REL-07).
async fn compare(face: WebFace, item: Retrievable) -> io::Result<()> {
    match face.store.verify(item.place, item.digest).await {
        Ok(()) => Ok(()),
        Err(error) => Err(failed(&face.records, &item, error).await),
    }
}

/// Reads the head of an instance; `None` if it has no pixels.
async fn survey(face: &WebFace, item: &Retrievable) -> io::Result<Option<Layout>> {
    let deflated = encoding(&item.transfer_syntax) == Encoding::DeflatedExplicitLittle;
    let mut data_set = DataSet::open(face, item, if deflated { As::Native } else { As::Stored }).await?;
    let mut surveyor = Surveyor::new(&item.transfer_syntax);
    while let Some(bytes) = data_set.next().await? {
        if let Some(layout) = surveyor.push(&bytes).map_err(io::Error::other)? {
            return Ok(Some(layout));
        }
    }
    Ok(None)
}

/// Finds where frames begin among fragments.
async fn index(face: &WebFace, item: &Retrievable, image: &Image, at: u64, table: Vec<u8>) -> io::Result<Index> {
    let mut indexer = Indexer::new(image, &item.transfer_syntax, at, table);
    let (mut range, mut window, mut bytes) = (indexer.wants(), 0..0, Vec::new());
    loop {
        let end = range.end.min(item.length);
        let start = range.start.min(end);
        if start < window.start || end > window.end {
            window = start..end.max(start.saturating_add(WINDOW)).min(item.length);
            bytes.clear();
            let mut reader = match face.store.read(item.place, item.digest, Some(window.clone())).await {
                Ok(reader) => reader,
                Err(error) => return Err(failed(&face.records, item, error).await),
            };
            while let Some(piece) = reader.next().await.map_err(io::Error::other)? {
                bytes.extend_from_slice(&piece);
            }
        }
        let place = |at: u64| usize::try_from(at - window.start).unwrap_or(usize::MAX).min(bytes.len());
        match indexer.shown(&bytes[place(start)..place(end)]).map_err(io::Error::other)? {
            Next::Show(next) => range = next,
            Next::Done(index) => return Ok(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_shifted_and_words_turned_round() {
        assert_eq!(shifted(&[0b1100_0000, 0b0000_1111], 6, 6), [0b0011_1111]);
        assert_eq!(shifted(&[0xFF, 0xFF], 4, 9), [0xFF, 0x01]);
        assert_eq!(shifted(&[0b1010_1010], 0, 8), [0b1010_1010]);
        let mut held = Vec::new();
        let all = [&[1, 2, 3][..], &[4], &[5, 6]].map(|piece| turned(2, &mut held, piece).to_vec()).concat();
        assert_eq!(all, [2, 1, 4, 3, 6, 5]);
    }
}

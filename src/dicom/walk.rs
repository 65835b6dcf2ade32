//! The walk over a data set: bytes in pieces of any size become headers, slices of values, items and delimiters.
//!
//! It holds two headers and one small frame for each open sequence and item, never a value, and does not recurse. A
//! value is passed on as slices of the input, so that skipping one costs nothing per byte. What is accepted beyond the
//! standard, because the field writes it:
//!
//! - an element without VR in an explicit data set, unknown VRs, and private sequences that are explicit in an implicit one;
//! - sequences that call themselves OB or OW, and have no length;
//! - either delimiter in the place of the other, and stray ones: at the top, behind what has a length, and at its end;
//! - no delimiter where the length of what is around says the same, nor behind encapsulated pixel data at the end;
//! - up to [`PADDING`] zero bytes after the last element.

mod error;
mod header;
#[cfg(test)]
mod tests;

pub(super) use super::tag::PIXEL_DATA;
use super::tag::Tag;
use super::vr::Vr;
pub use error::StructureError;
pub(super) use error::within;
pub(super) use header::{Header, SHORT, Syntax};

const ITEM: Tag = Tag::new(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag::new(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag::new(0xFFFE, 0xE0DD);
/// The length that means "until the delimiter" (PS3.5 section 7.1).
pub(super) const UNDEFINED: u32 = u32::MAX;
/// Zero bytes that may follow the last element: some programs fill up the last block of a file, and send what they read.
pub(super) const PADDING: u64 = 1 << 20;

/// One step of the walk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// An element's header. With a length, its value follows unless [`Walker::descend`] is called; without one, items
    /// or fragments follow.
    Element(Element),
    /// A slice of the value in hand.
    Value(&'a [u8]),
    /// The value in hand is complete; comes for empty values too.
    ValueEnd,
    /// An item begins: its length, or none until its delimiter. Its elements follow.
    Item(Option<u32>),
    /// The item ended, by a delimiter, or by a length: its own, or that of what is around it.
    ItemEnd { delimited: bool },
    /// A fragment of encapsulated pixel data; its value follows.
    Fragment(u32),
    /// The sequence, or the fragments, ended likewise; the delimiter may be an item's.
    SequenceEnd { delimited: bool },
    /// A delimiter that ends nothing.
    Stray,
}

/// An element's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) tag: Tag,
    /// The representation as written; none where none is.
    pub(super) vr: Option<Vr>,
    /// The length of the value; none if it is undefined.
    pub(super) length: Option<u32>,
    /// For an undefined length: whether fragments follow rather than items.
    pub(super) fragments: bool,
    /// Whether it belongs to the data set itself and not to an item.
    pub(super) top: bool,
}

impl Element {
    /// The length of a value that is no sequence; none of a sequence in either form (PS3.5 section 7.5), as readers see no value there.
    pub(super) fn value_length(&self) -> Option<u32> {
        self.length.filter(|_| self.vr != Some(Vr::SQ))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The elements of the data set or of an item.
    Elements,
    /// The items of a sequence.
    Items,
    /// The fragments of encapsulated pixel data.
    Fragments,
}

/// An open sequence or item.
#[derive(Debug, Clone, Copy)]
struct Frame {
    content: Content,
    syntax: Syntax,
    /// Where it ends; none if a delimiter tells.
    end: Option<u64>,
    /// Where it must have ended at the latest, because something around it does.
    limit: u64,
    /// Inside UN: implicit by the standard, but some writers kept to explicit, so the first element of an item tells. So it does in
    /// bytes that are a sequence, and in a private sequence of an implicit data set.
    sniff: bool,
    /// Fragments so far.
    fragments: u64,
    /// Of a sequence: its last item had a length.
    by_length: bool,
}

impl Frame {
    /// The data set itself.
    fn root(syntax: Syntax, limit: u64) -> Self {
        Self { content: Content::Elements, syntax, end: None, limit, sniff: false, fragments: 0, by_length: false }
    }
}

/// What the next header tells of one that waits for it.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// Whether bytes without a length are a sequence: so they are if the first item has no length either, as no fragment may.
    Bytes(Element),
    /// Whether the delimiter of an item that had a length is one too many, or ends the sequence in the place of its own.
    Delimiter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Value { left: u32 },
    Padding { zeros: u64 },
}

/// The walk itself. `next` is called until it yields nothing, then with more bytes; `finish` after the last.
#[derive(Debug)]
pub(super) struct Walker {
    /// The data set, then each open sequence and item.
    frames: Vec<Frame>,
    state: State,
    header: Header,
    /// Whether `header` still holds the last header, for [`Self::raw_header`].
    spent: bool,
    /// The header that waits for the next one.
    waiting: Option<(Header, Waiting)>,
    /// The header behind the last event, if it is one that waited.
    shown: Option<Header>,
    /// A sequence has just ended by the delimiter of an item: its own may follow.
    wrongly: bool,
    position: u64,
    /// The last element whose header was whole.
    tag: Option<Tag>,
    /// How the items of that element are written; none if it is UN.
    nested: Option<Syntax>,
    /// Whether they may be explicit or not, for their elements to tell.
    sniffs: bool,
    depth: u32,
    max_depth: u32,
    elements_left: u64,
}

impl Walker {
    /// A walk over a data set in `syntax`, through at most `max_depth` sequences within one another and `max_elements`
    /// headers.
    pub(super) fn new(syntax: Syntax, max_depth: u32, max_elements: u64) -> Self {
        Self {
            frames: vec![Frame::root(syntax, u64::MAX)],
            state: State::Header,
            header: Header::default(),
            spent: false,
            waiting: None,
            shown: None,
            wrongly: false,
            position: 0,
            tag: None,
            nested: None,
            sniffs: false,
            depth: 0,
            max_depth,
            elements_left: max_elements,
        }
    }

    fn at_top(&self) -> bool {
        self.frames.len() == 1
    }

    /// Bytes taken so far, those of headers not yet whole included.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The bytes of the header behind the last event that had one.
    pub(super) fn raw_header(&self) -> &[u8] {
        self.shown.as_ref().unwrap_or(&self.header).as_bytes()
    }

    /// The next step; none when `input` is used up.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, StructureError> {
        self.shown = None;
        loop {
            match self.state {
                State::Value { left: 0 } => {
                    self.state = State::Header;
                    return Ok(Some(Event::ValueEnd));
                }
                State::Value { left } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let take = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (value, rest) = input.split_at(take);
                    *input = rest;
                    self.position += take as u64;
                    self.state = State::Value { left: left - take as u32 };
                    return Ok(Some(Event::Value(value)));
                }
                State::Padding { zeros } => return self.pad(zeros, input),
                State::Header => {
                    if self.is_over() {
                        return match self.waiting.take() {
                            Some(waiting) => self.settle(waiting, None).map(Some),
                            None => Ok(Some(self.pop(false))),
                        };
                    }
                    if !self.fill(input) {
                        return Ok(None);
                    }
                    if let Some(event) = self.read_header()? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// How the items are written of the element whose header was the last event, if they lie too deep to go into them.
    pub(super) fn beyond(&self) -> Option<Syntax> {
        self.nested.filter(|_| self.depth >= self.max_depth)
    }

    /// Goes into the items of the element whose header was the last event and whose length is defined.
    pub(super) fn descend(&mut self) -> Result<(), StructureError> {
        if let State::Value { left } = self.state {
            let end = self.position + u64::from(left);
            self.open_sequence(Content::Items, Some(end))?;
            self.state = State::Header;
        }
        Ok(())
    }

    /// Says whether the bytes could end here.
    pub(super) fn finish(&self) -> Result<(), StructureError> {
        let whole_header = self.spent || self.header.filled() == 0;
        let whole = match (self.state, &self.frames[..]) {
            _ if self.waiting.is_some() => false,
            (State::Padding { .. }, _) => true,
            (State::Value { .. }, _) => false,
            // A few zeros cannot begin an element: padding.
            (State::Header, [_]) => whole_header || self.header.is_zero(),
            // The field leaves the last delimiter out; the offset table and the fragments themselves are whole.
            (State::Header, [_, last]) => {
                (whole_header || self.header.is_zero()) && last.content == Content::Fragments && last.fragments > 1
            }
            (State::Header, _) => false,
        };
        if whole { Ok(()) } else { Err(StructureError::Truncated { tag: self.tag }) }
    }

    fn malformed(&self, why: &'static str) -> StructureError {
        StructureError::Malformed { tag: self.tag, why }
    }

    fn top(&self) -> Frame {
        // The first frame is never popped; the fallback only spares a panic.
        self.frames.last().copied().unwrap_or(Frame::root(Syntax::IMPLICIT_LITTLE, 0))
    }

    fn pad<'a>(&mut self, zeros: u64, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, StructureError> {
        let zeros = zeros + input.len() as u64;
        if zeros > PADDING || input.iter().any(|&b| b != 0) {
            return Err(self.malformed("something follows the last element"));
        }
        *input = &[];
        self.state = State::Padding { zeros };
        Ok(None)
    }

    /// Whether the innermost sequence or item ends here by its length; or by that of what is around it, its delimiter left out.
    fn is_over(&self) -> bool {
        let top = self.top();
        let untouched = self.spent || self.header.filled() == 0;
        untouched && self.position == top.end.unwrap_or(top.limit)
    }

    fn pop(&mut self, delimited: bool) -> Event<'static> {
        match self.frames.pop().map(|frame| frame.content) {
            Some(Content::Items | Content::Fragments) => {
                self.depth -= 1;
                Event::SequenceEnd { delimited }
            }
            _ => Event::ItemEnd { delimited },
        }
    }

    /// Gathers the next header; tells whether it is whole.
    fn fill(&mut self, input: &mut &[u8]) -> bool {
        if self.spent {
            self.header.clear();
            self.spent = false;
        }
        let before = input.len();
        let mut whole = self.header.fill(input, SHORT);
        if whole && self.top().content == Content::Elements {
            let syntax = self.sniff();
            if self.header.tag(syntax).group() != ITEM.group() {
                whole = self.header.fill(input, self.header.element_size(syntax));
            }
        }
        self.position += (before - input.len()) as u64;
        whole
    }

    /// The syntax of the element whose first eight bytes are there, settled by them if this is UN.
    fn sniff(&mut self) -> Syntax {
        let letters = self.header.letters();
        let Some(top) = self.frames.last_mut() else { return Syntax::IMPLICIT_LITTLE };
        if std::mem::take(&mut top.sniff) {
            top.syntax.explicit = letters.is_known();
        }
        top.syntax
    }

    fn read_header(&mut self) -> Result<Option<Event<'static>>, StructureError> {
        self.spent = true;
        let top = self.top();
        if self.position > top.limit {
            return Err(self.malformed("a header reaches past the end of what holds it"));
        }
        let tag = self.header.tag(top.syntax);
        if let Some(waiting) = self.waiting.take() {
            return self.settle(waiting, Some(tag)).map(Some);
        }
        self.elements_left =
            self.elements_left.checked_sub(1).ok_or(StructureError::TooManyElements { tag: self.tag })?;
        let wrongly = std::mem::take(&mut self.wrongly);
        match (top.content, tag) {
            (Content::Elements, _) if self.at_top() && self.header.is_zero() => {
                self.state = State::Padding { zeros: self.header.filled() as u64 };
                Ok(None)
            }
            // Zeros where the last delimiter should be: it is left out, and they are padding.
            (Content::Fragments, _) if self.frames.len() == 2 && top.fragments > 1 && self.header.is_zero() => {
                self.state = State::Padding { zeros: self.header.filled() as u64 };
                Ok(Some(self.pop(false)))
            }
            (Content::Elements, ITEM_END) if !self.at_top() && top.end.is_none() => Ok(Some(self.pop(true))),
            (Content::Items | Content::Fragments, SEQUENCE_END) if top.end.is_none() => Ok(Some(self.pop(true))),
            (Content::Items, ITEM_END) if top.end.is_none() && top.by_length => {
                self.waiting = Some((self.header, Waiting::Delimiter));
                Ok(None)
            }
            // The end of an item in the place of the sequence's: no item is open that it could end.
            (Content::Items | Content::Fragments, ITEM_END) if top.end.is_none() => {
                self.wrongly = true;
                Ok(Some(self.pop(true)))
            }
            (Content::Elements | Content::Items, ITEM_END) | (Content::Items, SEQUENCE_END) => Ok(Some(Event::Stray)),
            (Content::Elements, SEQUENCE_END) if self.at_top() || wrongly => Ok(Some(Event::Stray)),
            // The end of a sequence in the place of its last item's (PS3.5 section 7.5.2): it is read again, and ends both.
            (Content::Elements, SEQUENCE_END) if top.end.is_none() => {
                self.spent = false;
                Ok(Some(self.pop(false)))
            }
            (Content::Elements, tag) if tag.group() == ITEM.group() => {
                Err(self.malformed("an item or a delimiter where an element should be"))
            }
            (Content::Elements, tag) => self.read_element(tag, top),
            (Content::Items, ITEM) => self.read_item(top).map(Some),
            (Content::Fragments, ITEM) => self.read_fragment(top).map(Some),
            _ => Err(self.malformed("something else than an item in a sequence")),
        }
    }

    fn read_element(&mut self, tag: Tag, top: Frame) -> Result<Option<Event<'static>>, StructureError> {
        let (vr, length) = self.header.element(top.syntax);
        let bytes = vr.is_some_and(|vr| vr.word() > 1 || vr == Vr::OB);
        self.tag = Some(tag);
        self.nested = (vr != Some(Vr::UN)).then_some(top.syntax);
        self.sniffs = vr == Some(Vr::UN) || bytes || (!top.syntax.explicit && tag.is_private());
        let element = Element { tag, vr, length: None, fragments: tag == PIXEL_DATA, top: self.at_top() };
        if length != UNDEFINED {
            self.check_length(length, top)?;
            self.state = State::Value { left: length };
            return Ok(Some(Event::Element(Element { length: Some(length), fragments: false, ..element })));
        }
        if matches!(vr, Some(Vr::UC | Vr::UR | Vr::UT)) {
            return Err(self.malformed("a text without a length"));
        }
        if bytes && !element.fragments {
            self.waiting = Some((self.header, Waiting::Bytes(element)));
            return Ok(None);
        }
        self.open_sequence(if element.fragments { Content::Fragments } else { Content::Items }, None)?;
        Ok(Some(Event::Element(element)))
    }

    /// What the header that waited is, by the tag of the next one; none where nothing follows.
    fn settle(
        &mut self,
        (header, waiting): (Header, Waiting),
        next: Option<Tag>,
    ) -> Result<Event<'static>, StructureError> {
        self.shown = Some(header);
        // The next one is read again.
        self.spent = next.is_none();
        match waiting {
            Waiting::Bytes(element) => {
                let items = next == Some(ITEM) && self.header.plain_length(self.top().syntax) == UNDEFINED;
                self.open_sequence(if items { Content::Items } else { Content::Fragments }, None)?;
                Ok(Event::Element(Element { fragments: !items, ..element }))
            }
            Waiting::Delimiter => {
                let around = self.frames.iter().nth_back(1).filter(|_| self.frames.len() > 2);
                let ends = match next {
                    // The next one ends the item around, if that has no length.
                    Some(ITEM_END) => around.is_some_and(|frame| frame.end.is_none()),
                    Some(tag) => tag.group() != ITEM.group(),
                    None => true,
                };
                if ends {
                    return Ok(self.pop(true));
                }
                if let Some(frame) = self.frames.last_mut() {
                    frame.by_length = false;
                }
                Ok(Event::Stray)
            }
        }
    }

    fn open_sequence(&mut self, content: Content, end: Option<u64>) -> Result<(), StructureError> {
        if self.depth >= self.max_depth {
            return Err(StructureError::TooDeep { tag: self.tag });
        }
        self.depth += 1;
        let limit = end.unwrap_or(self.top().limit);
        let syntax = self.nested.unwrap_or(Syntax::IMPLICIT_LITTLE);
        let sniff = self.sniffs && content == Content::Items;
        self.frames.push(Frame { content, sniff, end, ..Frame::root(syntax, limit) });
        Ok(())
    }

    fn read_item(&mut self, top: Frame) -> Result<Event<'static>, StructureError> {
        let length = Some(self.header.plain_length(top.syntax)).filter(|&length| length != UNDEFINED);
        if let Some(length) = length {
            self.check_length(length, top)?;
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.by_length = length.is_some();
        }
        let end = length.map(|length| self.position + u64::from(length));
        self.frames.push(Frame { content: Content::Elements, end, limit: end.unwrap_or(top.limit), ..top });
        Ok(Event::Item(length))
    }

    fn read_fragment(&mut self, top: Frame) -> Result<Event<'static>, StructureError> {
        let length = self.header.plain_length(top.syntax);
        if length == UNDEFINED {
            return Err(self.malformed("a fragment without a length"));
        }
        self.check_length(length, top)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.fragments += 1;
        }
        self.state = State::Value { left: length };
        Ok(Event::Fragment(length))
    }

    fn check_length(&self, length: u32, top: Frame) -> Result<(), StructureError> {
        if self.position.saturating_add(u64::from(length)) > top.limit {
            return Err(self.malformed("a length reaches past the end of what holds it"));
        }
        Ok(())
    }
}

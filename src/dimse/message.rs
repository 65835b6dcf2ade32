//! DIMSE command sets: group 0000 in Implicit VR Little Endian, read and written without a dictionary (PS3.7 section
//! 6.3, annex E).

pub mod assembly;

/// The longest command set that is taken, in bytes; real ones have some hundred.
pub const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// The most elements that a command set may have; PS3.7 annex E knows fewer than forty.
const MAX_ELEMENTS: usize = 256;

/// Command Data Set Type (0000,0800): no data set follows (PS3.7 section E.1). Any other value says that one does.
pub const NO_DATA_SET: u16 = 0x0101;

/// Values of Command Field (0000,0100) (PS3.7 section E.1).
pub mod field {
    /// C-STORE-RQ.
    pub const C_STORE_RQ: u16 = 0x0001;
    /// C-STORE-RSP.
    pub const C_STORE_RSP: u16 = 0x8001;
    /// C-GET-RQ.
    pub const C_GET_RQ: u16 = 0x0010;
    /// C-GET-RSP.
    pub const C_GET_RSP: u16 = 0x8010;
    /// C-FIND-RQ.
    pub const C_FIND_RQ: u16 = 0x0020;
    /// C-FIND-RSP.
    pub const C_FIND_RSP: u16 = 0x8020;
    /// C-MOVE-RQ.
    pub const C_MOVE_RQ: u16 = 0x0021;
    /// C-MOVE-RSP.
    pub const C_MOVE_RSP: u16 = 0x8021;
    /// C-ECHO-RQ.
    pub const C_ECHO_RQ: u16 = 0x0030;
    /// C-ECHO-RSP.
    pub const C_ECHO_RSP: u16 = 0x8030;
    /// N-EVENT-REPORT-RQ.
    pub const N_EVENT_REPORT_RQ: u16 = 0x0100;
    /// N-GET-RQ.
    pub const N_GET_RQ: u16 = 0x0110;
    /// N-SET-RQ.
    pub const N_SET_RQ: u16 = 0x0120;
    /// N-ACTION-RQ.
    pub const N_ACTION_RQ: u16 = 0x0130;
    /// N-CREATE-RQ.
    pub const N_CREATE_RQ: u16 = 0x0140;
    /// N-DELETE-RQ.
    pub const N_DELETE_RQ: u16 = 0x0150;
    /// C-CANCEL-RQ.
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
    /// The bit that makes a response of a request.
    pub const RESPONSE: u16 = 0x8000;
}

/// Element numbers of group 0000 (PS3.7 section E.1).
pub mod element {
    /// Command Group Length.
    pub const GROUP_LENGTH: u16 = 0x0000;
    /// Affected SOP Class UID.
    pub const AFFECTED_SOP_CLASS_UID: u16 = 0x0002;
    /// Requested SOP Class UID.
    pub const REQUESTED_SOP_CLASS_UID: u16 = 0x0003;
    /// Command Field.
    pub const COMMAND_FIELD: u16 = 0x0100;
    /// Message ID.
    pub const MESSAGE_ID: u16 = 0x0110;
    /// Message ID Being Responded To.
    pub const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
    /// Move Destination.
    pub const MOVE_DESTINATION: u16 = 0x0600;
    /// Priority.
    pub const PRIORITY: u16 = 0x0700;
    /// Command Data Set Type.
    pub const COMMAND_DATA_SET_TYPE: u16 = 0x0800;
    /// Status.
    pub const STATUS: u16 = 0x0900;
    /// Offending Element.
    pub const OFFENDING_ELEMENT: u16 = 0x0901;
    /// Error Comment.
    pub const ERROR_COMMENT: u16 = 0x0902;
    /// Affected SOP Instance UID.
    pub const AFFECTED_SOP_INSTANCE_UID: u16 = 0x1000;
    /// Number of Remaining Sub-operations.
    pub const REMAINING: u16 = 0x1020;
    /// Number of Completed Sub-operations.
    pub const COMPLETED: u16 = 0x1021;
    /// Number of Failed Sub-operations.
    pub const FAILED: u16 = 0x1022;
    /// Number of Warning Sub-operations.
    pub const WARNING: u16 = 0x1023;
    /// Requested SOP Instance UID.
    pub const REQUESTED_SOP_INSTANCE_UID: u16 = 0x1001;
    /// Move Originator Application Entity Title.
    pub const MOVE_ORIGINATOR_AE: u16 = 0x1030;
    /// Move Originator Message ID.
    pub const MOVE_ORIGINATOR_MESSAGE_ID: u16 = 0x1031;
}

/// Why bytes are not a command set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// More than [`MAX_COMMAND_BYTES`].
    #[error("longer than {MAX_COMMAND_BYTES} bytes")]
    TooLong,
    /// More elements than a command set can have.
    #[error("too many elements")]
    TooManyElements,
    /// An element that ends behind the end.
    #[error("element (0000,{0:04X}) ends behind the end of the command set")]
    Truncated(u16),
    /// An element of another group.
    #[error("an element of group {0:04X}")]
    ForeignGroup(u16),
    /// An element that every message must have is missing or has another length.
    #[error("element (0000,{0:04X}) is missing or malformed")]
    Missing(u16),
}

/// One command set; values are kept as bytes, so that any service's commands fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandSet {
    elements: Vec<(u16, Box<[u8]>)>,
}

impl CommandSet {
    /// An empty command set with this Command Field; `data_set` tells whether one follows.
    pub fn new(field: u16, data_set: bool) -> Self {
        let kind = if data_set { 0x0001 } else { NO_DATA_SET };
        Self::default().with_u16(element::COMMAND_FIELD, field).with_u16(element::COMMAND_DATA_SET_TYPE, kind)
    }

    /// Reads a command set. Group length is not trusted; order is not required. Errors as in [`CommandError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CommandError> {
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLong);
        }
        let mut elements = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((&[g0, g1, e0, e1, l0, l1, l2, l3], after)) = rest.split_first_chunk::<8>() else {
                return Err(CommandError::Truncated(0xFFFF));
            };
            let (group, element) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            if group != 0 {
                return Err(CommandError::ForeignGroup(group));
            }
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (value, after) = after.split_at_checked(length).ok_or(CommandError::Truncated(element))?;
            if elements.len() == MAX_ELEMENTS {
                return Err(CommandError::TooManyElements);
            }
            if element != element::GROUP_LENGTH {
                elements.push((element, Box::from(value)));
            }
            rest = after;
        }
        let set = Self { elements };
        for required in [element::COMMAND_FIELD, element::COMMAND_DATA_SET_TYPE] {
            set.u16(required).ok_or(CommandError::Missing(required))?;
        }
        Ok(set)
    }

    /// Writes the command set, elements in order, with its group length (PS3.7 section 6.3.1).
    pub fn encode(&self) -> Vec<u8> {
        let mut sorted: Vec<_> = self.elements.iter().collect();
        sorted.sort_by_key(|(element, _)| *element);
        let body: usize = sorted.iter().map(|(_, value)| 8 + value.len()).sum();
        let mut bytes = Vec::with_capacity(12 + body);
        let mut put = |element: u16, value: &[u8]| {
            bytes.extend([0, 0]);
            bytes.extend(element.to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
        };
        put(element::GROUP_LENGTH, &(body as u32).to_le_bytes());
        for (element, value) in sorted {
            put(*element, value);
        }
        bytes
    }

    /// The bytes of an element.
    pub fn bytes(&self, element: u16) -> Option<&[u8]> {
        self.elements.iter().find(|(e, _)| *e == element).map(|(_, value)| &**value)
    }

    /// An element of VR US; `None` if absent or not two bytes.
    pub fn u16(&self, element: u16) -> Option<u16> {
        self.bytes(element)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// An element of a text VR without its padding; bytes that are not UTF-8 become U+FFFD, which no UID or AE title
    /// allows.
    pub fn text(&self, element: u16) -> Option<String> {
        self.bytes(element).map(|b| String::from_utf8_lossy(b).trim_matches([' ', '\0']).to_owned())
    }

    /// Command Field (0000,0100).
    pub fn field(&self) -> u16 {
        self.u16(element::COMMAND_FIELD).unwrap_or_default()
    }

    /// An element of VR AE without its padding, up to its NUL: some programs write a C string, and leave behind its end what was in memory.
    pub fn title(&self, element: u16) -> Option<String> {
        let text = self.text(element)?;
        Some(text.split('\0').next().unwrap_or_default().trim_end().to_owned())
    }

    /// A data set follows the command set, as it says itself; see [`Self::is_bare`].
    pub fn has_data_set(&self) -> bool {
        self.u16(element::COMMAND_DATA_SET_TYPE) != Some(NO_DATA_SET)
    }

    /// It can have no data set, whatever its Command Data Set Type says: a C-ECHO-RQ or C-CANCEL-RQ (PS3.7 sections 9.3.5.1 and 9.3.2.3),
    /// a C-STORE-RSP or C-ECHO-RSP (sections 9.3.1.2 and 9.3.5.2), a final C-FIND-RSP (section 9.1.2.1), a C-GET-RSP or C-MOVE-RSP that is
    /// pending or a success (PS3.4 section C.4.2.1.4.2).
    pub fn is_bare(&self) -> bool {
        use super::status::Class;
        let class = self.u16(element::STATUS).map(|status| super::Status(status).class());
        match self.field() {
            field::C_ECHO_RQ | field::C_CANCEL_RQ | field::C_STORE_RSP | field::C_ECHO_RSP => true,
            field::C_FIND_RSP => class.is_some_and(|class| class != Class::Pending),
            field::C_GET_RSP | field::C_MOVE_RSP => matches!(class, Some(Class::Pending | Class::Success)),
            _ => false,
        }
    }

    /// Sets an element's bytes.
    pub fn with(mut self, element: u16, value: &[u8]) -> Self {
        self.elements.retain(|(e, _)| *e != element);
        self.elements.push((element, Box::from(value)));
        self
    }

    /// Sets an element of VR US.
    pub fn with_u16(self, element: u16, value: u16) -> Self {
        self.with(element, &value.to_le_bytes())
    }

    /// Sets an element of VR UI, padded with NUL to even length.
    pub fn with_uid(self, element: u16, uid: &str) -> Self {
        self.with(element, &padded(uid.as_bytes(), 0))
    }

    /// Sets an element of VR AE or LO, padded with a space: what is not printable ASCII, or is a backslash, becomes
    /// `?`; cut at `most` characters.
    pub fn with_text(self, element: u16, text: &str, most: usize) -> Self {
        let plain = |c: char| if matches!(c, ' '..='~') && c != '\\' { c as u8 } else { b'?' };
        let bytes: Vec<u8> = text.chars().take(most).map(plain).collect();
        self.with(element, &padded(&bytes, b' '))
    }

    /// Sets Error Comment, an LO (PS3.7 section C.5), so that what does not fit ends with a word and says that it goes on.
    pub fn with_comment(self, comment: &str) -> Self {
        const MOST: usize = 64;
        if comment.chars().nth(MOST).is_none() {
            return self.with_text(element::ERROR_COMMENT, comment, MOST);
        }
        let start: String = comment.chars().take(MOST - 3).collect();
        let words = start.rfind(' ').and_then(|end| start.get(..end)).unwrap_or(&start);
        self.with_text(element::ERROR_COMMENT, &format!("{words}..."), MOST)
    }

    /// The answer to this request: its field with the response bit, its message ID, and the SOP class and instance
    /// that it named.
    pub fn response(&self, status: super::Status, data_set: bool) -> Self {
        use element::*;
        let mut answer = Self::new(self.field() | field::RESPONSE, data_set)
            .with_u16(MESSAGE_ID_RESPONDED_TO, self.u16(MESSAGE_ID).unwrap_or_default())
            .with_u16(STATUS, status.0);
        let pairs = [
            (AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_CLASS_UID),
            (REQUESTED_SOP_CLASS_UID, AFFECTED_SOP_CLASS_UID),
            (AFFECTED_SOP_INSTANCE_UID, AFFECTED_SOP_INSTANCE_UID),
            (REQUESTED_SOP_INSTANCE_UID, AFFECTED_SOP_INSTANCE_UID),
        ];
        for (from, to) in pairs {
            // What is longer than a UID can be is not sent back.
            if let Some(uid) = self.bytes(from).map(unpadded).filter(|uid| uid.len() <= 64) {
                // However it came, it leaves with an even length, by a NUL (PS3.5 sections 6.2 and 9.1, PS3.7 section 6.3.1).
                answer = answer.with(to, &padded(uid, 0));
            }
        }
        answer
    }
}

/// A value without the spaces and NULs around it.
fn unpadded(value: &[u8]) -> &[u8] {
    let own = |byte: &u8| !matches!(byte, b' ' | 0);
    let from = value.iter().position(own).unwrap_or(value.len());
    let to = value.iter().rposition(own).map_or(from, |at| at + 1);
    value.get(from..to).unwrap_or_default()
}

fn padded(bytes: &[u8], pad: u8) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    if padded.len() % 2 == 1 {
        padded.push(pad);
    }
    padded
}

#[cfg(test)]
mod tests;

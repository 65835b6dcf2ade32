//! The acknowledgement that answers a message: general, in original mode (HL7 version 2.5.1 section 2.9.2).

use super::message::{Delimiters, Header};

/// The longest control number that is given back, in characters.
const LONGEST_CONTROL: usize = 199;

/// How a message that was not taken is answered (HL7 table 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// AE: its content cannot be used; the same again will not help.
    Error,
    /// AR: it is not taken here, its kind or its sender, or not now.
    Rejected,
}

/// What is wrong, of HL7 table 0357.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 100.
    Sequence,
    /// 101.
    Missing,
    /// 102.
    Unreadable,
    /// 200.
    Kind,
    /// 202.
    Processing,
    /// 203.
    Version,
    /// 207.
    Internal,
}

impl Fault {
    fn code(self) -> (u16, &'static str) {
        match self {
            Self::Sequence => (100, "Segment sequence error"),
            Self::Missing => (101, "Required field missing"),
            Self::Unreadable => (102, "Data type error"),
            Self::Kind => (200, "Unsupported message type"),
            Self::Processing => (202, "Unsupported processing id"),
            Self::Version => (203, "Unsupported version id"),
            Self::Internal => (207, "Application internal error"),
        }
    }
}

/// Why a message was not taken. Nothing in it repeats the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whether the same again would help.
    pub answer: Refused,
    /// What is wrong.
    pub fault: Fault,
    /// Where: segment, its number among those of its name, field, with `^` between them; empty if nowhere.
    pub place: &'static str,
    /// In words, for people.
    pub why: String,
}

impl Refusal {
    /// AE, with what is wrong and where.
    pub fn error(fault: Fault, place: &'static str, why: impl Into<String>) -> Self {
        Self { answer: Refused::Error, fault, place, why: why.into() }
    }

    /// AR, with what is wrong and where.
    pub fn rejected(fault: Fault, place: &'static str, why: impl Into<String>) -> Self {
        Self { answer: Refused::Rejected, fault, place, why: why.into() }
    }
}

impl Header {
    /// The acknowledgement of the message with this header: AA, or why not. `at` is the time as HL7 writes it, `from` this site's name.
    pub fn answered(&self, refusal: Option<&Refusal>, at: &str, from: &str) -> String {
        let Delimiters { field: f, component: c, repetition, escape, subcomponent } = self.delimiters;
        let plain = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(LONGEST_CONTROL).collect() };
        let raw = |at: usize| plain(self.segment().raw(at));
        let (application, facility, control, version) = (raw(3), raw(4), plain(self.control()), raw(12));
        let event: String = self.kind().1.chars().filter(char::is_ascii_alphanumeric).take(3).collect();
        let marks: String = [c, repetition, escape, subcomponent].into_iter().filter(|mark| *mark != '\0').collect();
        let words = |text: &str| self.words(text);
        let code = match refusal.map(|refusal| refusal.answer) {
            None => "AA",
            Some(Refused::Error) => "AE",
            Some(Refused::Rejected) => "AR",
        };
        let why = refusal.map(|refusal| words(&refusal.why)).unwrap_or_default();
        let own = words(from);
        // What the version of the message does not know yet, or no more, is left out.
        let minor = self.minor();
        let kind = match minor {
            (..=3, 0) | (..=2, _) if event.is_empty() || minor.0 == 1 => "ACK".to_owned(),
            (..=3, 0) | (..=2, _) => format!("ACK{c}{event}"),
            _ => format!("ACK{c}{event}{c}ACK"),
        };
        let comment = if minor.0 >= 7 { "" } else { &why };
        let mut answer = format!(
            "MSH{f}{marks}{f}WEYBRIDGE{f}{own}{f}{application}{f}{facility}{f}{at}{f}{f}{kind}{f}{control}{f}P{f}{version}\r\
             MSA{f}{code}{f}{control}{f}{comment}\r"
        );
        if let Some(Refusal { fault, place, .. }) = refusal {
            let (number, name) = fault.code();
            let mut parts: Vec<&str> = place.split('^').collect();
            answer += &if minor.0 >= 5 {
                let place = parts.join(c.encode_utf8(&mut [0; 4]));
                format!("ERR{f}{f}{place}{f}{number}{c}{name}{c}HL70357{f}E{f}{f}{f}{f}{why}\r")
            } else {
                // Segment, number, field, and code in one.
                parts.resize(3, "");
                let place = parts.join(c.encode_utf8(&mut [0; 4]));
                let meant = match subcomponent {
                    '\0' => String::new(),
                    s => format!("{s}{name}{s}HL70357"),
                };
                format!("ERR{f}{place}{c}{number}{meant}\r")
            };
        }
        answer
    }

    /// The second and third number of the version, `(3, 1)` of 2.3.1; where it says none, those of 2.5.1.
    fn minor(&self) -> (u32, u32) {
        let version = self.version();
        let mut numbers = version.split('.').skip(1).map(|number| number.parse().ok());
        match numbers.next().flatten() {
            Some(minor) if version.starts_with("2.") => (minor, numbers.next().flatten().unwrap_or(0)),
            _ => (5, 1),
        }
    }

    /// Text of our own without what delimits.
    fn words(&self, text: &str) -> String {
        let Delimiters { field, component, repetition, escape, subcomponent } = self.delimiters;
        let marks = [field, component, repetition, escape, subcomponent];
        text.chars().map(|c| if c.is_control() || marks.contains(&c) { ' ' } else { c }).collect()
    }
}

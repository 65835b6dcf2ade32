//! What a C-FIND, C-MOVE or C-GET asks for: information model, level, unique keys, keys to match and to give back (PS3.4 section C.4).

use crate::dicom::attributes::*;
use crate::dicom::charset::Charset;
use crate::dicom::query::identifier::{Identifier, vr_of};
use crate::dicom::query::{Match, matching::check};
use crate::dicom::tag::Tag;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicom::uid::InstanceUid;
use crate::dicom::vr::Vr;
use crate::dimse::{Operation, QueryAnswer, QueryRequest, Status};

pub(super) use crate::dicom::attributes::QUERY_RETRIEVE_LEVEL as LEVEL;

/// Retrieve AE Title.
pub(super) const RETRIEVE_AE_TITLE: Tag = Tag::new(0x0008, 0x0054);
/// Instance Availability.
pub(super) const AVAILABILITY: Tag = Tag::new(0x0008, 0x0056);

/// UIDs of one list; the identifier's own limit comes first.
const MOST_UIDS: usize = 10_000;

/// The information model of a SOP class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Patient,
    Study,
}

/// The model and operation of a Query/Retrieve SOP class; `None` for any other class.
pub(super) fn model(sop_class: &str) -> Option<(Root, Operation)> {
    let rest = sop_class.strip_prefix("1.2.840.10008.5.1.4.1.2.")?;
    let (root, operation) = rest.split_once('.')?;
    let root = match root {
        "1" => Root::Patient,
        "2" => Root::Study,
        _ => return None,
    };
    let operation = match operation {
        "1" => Operation::Find,
        "2" => Operation::Move,
        "3" => Operation::Get,
        _ => return None,
    };
    Some((root, operation))
}

/// The levels of a model with their names and unique keys, from the top.
fn levels(root: Root) -> &'static [(Level, &'static str, Tag)] {
    const ALL: &[(Level, &str, Tag)] = &[
        (Level::Patient, "PATIENT", PATIENT_ID),
        (Level::Study, "STUDY", STUDY_INSTANCE_UID),
        (Level::Series, "SERIES", SERIES_INSTANCE_UID),
        (Level::Instance, "IMAGE", SOP_INSTANCE_UID),
    ];
    if root == Root::Patient { ALL } else { &ALL[1..] }
}

/// A request that was understood.
pub(super) struct Asked {
    pub(super) root: Root,
    pub(super) level: Level,
    /// The name of the level, as it is given back.
    pub(super) level_name: &'static str,
    /// The unique keys of the levels above, one value each, then of this level, if given: no value or any number.
    pub(super) unique: Vec<Match>,
    pub(super) identifier: Identifier,
    pub(super) explicit: bool,
}

/// An answer that refuses the identifier.
fn mismatch(tag: Tag, why: &str) -> QueryAnswer {
    let comment = Some(format!("{tag} {why}"));
    QueryAnswer { comment, offending: Some(tag.0), ..Status::IDENTIFIER_MISMATCH.into() }
}

impl Asked {
    /// Reads the identifier and checks its level and its unique keys; what is wrong is A900, with the element (DIM-060).
    /// Text that declares no character set, and is not UTF-8, is in `undeclared` (DIM-068).
    pub(super) fn read(request: &QueryRequest, root: Root, undeclared: &Charset) -> Result<Self, QueryAnswer> {
        let explicit = request.transfer_syntax == EXPLICIT_VR_LE;
        let identifier =
            Identifier::read_from(&request.identifier, explicit, undeclared).map_err(|error| QueryAnswer {
                comment: Some(error.to_string()),
                offending: error.tag().map(|tag| tag.0),
                ..Status::CANNOT_UNDERSTAND.into()
            })?;
        let named = identifier.text(LEVEL).ok_or_else(|| mismatch(LEVEL, "is missing"))?;
        let at = levels(root).iter().position(|(_, name, _)| *name == named);
        let at = at.ok_or_else(|| mismatch(LEVEL, "is no level of this model"))?;
        let (level, level_name, own) = levels(root)[at];
        let mut unique = Vec::new();
        for (_, _, key) in &levels(root)[..at] {
            let matched = matched(&identifier, *key)?.ok_or_else(|| mismatch(*key, "of a level above is missing"))?;
            let single = matched.values.len() == 1 && is_single(&matched.values[0]);
            if !single {
                return Err(mismatch(*key, "of a level above must have a single value"));
            }
            unique.push(matched);
        }
        unique.extend(matched(&identifier, own)?);
        Ok(Self { root, level, level_name, unique, identifier, explicit })
    }

    /// The unique key of this level of the request, or of one above.
    pub(super) fn values(&self, key: Tag) -> &[String] {
        self.unique.iter().find(|matched| matched.path == [key]).map_or(&[], |matched| &matched.values)
    }

    /// The unique key of the level.
    pub(super) fn own_key(&self) -> Tag {
        levels(self.root).iter().find(|(level, ..)| *level == self.level).map_or(LEVEL, |(_, _, key)| *key)
    }

    /// Whether a key belongs to the level of the request, or is a unique key above; without relational queries no other is
    /// supported (PS3.4 section C.4.1.2.1; DIM-072).
    fn supports(&self, tag: Tag) -> bool {
        if levels(self.root).iter().any(|(level, _, key)| *key == tag && *level <= self.level) {
            return true;
        }
        let indexed = INDEXED.iter().find(|indexed| indexed.tag == tag);
        indexed.is_some_and(|indexed| match (self.level, indexed.level) {
            (Level::Study, Level::Patient) => self.root == Root::Study,
            (level, of) => level == of,
        }) || match self.level {
            Level::Study => [MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, STUDY_RELATED_SERIES, STUDY_RELATED_INSTANCES]
                .contains(&tag),
            Level::Series => tag == SERIES_RELATED_INSTANCES,
            _ => false,
        }
    }

    /// The keys of a query: what must match, what is given back, and whether something was asked for that is not supported.
    pub(super) fn keys(&self) -> Result<Keys, QueryAnswer> {
        let mut keys = Keys { matches: Vec::new(), back: Vec::new(), unsupported: false };
        for (&tag, key) in &self.identifier.keys {
            // What describes the identifier itself is no key; a value for where instances are is not accepted (DIM-068, DIM-069).
            let no_key = [LEVEL, SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET, RETRIEVE_AE_TITLE].contains(&tag);
            if no_key || tag.element() == 0 {
                continue;
            }
            if key.sequence && vr_of(tag) != Vr::SQ && (tag == AVAILABILITY || self.supports(tag)) {
                return Err(mismatch(tag, "came as a sequence"));
            }
            // To ignore what is asked for would find everything.
            if key.wanted {
                return Err(mismatch(tag, "cannot be matched here; send it empty"));
            }
            if tag == AVAILABILITY {
                keys.back.push(tag);
            } else if tag == INSTITUTION_NAME && self.level == Level::Study && !key.sequence {
                // It tells at which site a study lies, and is not matched (DIM-070).
                keys.back.push(tag);
                keys.unsupported |= matched(&self.identifier, tag)?.is_some();
            } else if !key.sequence && self.supports(tag) {
                keys.back.push(tag);
                keys.matches.extend(matched(&self.identifier, tag)?);
            } else {
                keys.unsupported = true;
            }
        }
        Ok(keys)
    }
}

/// What a query wants of each entity.
pub(super) struct Keys {
    /// Keys with a value.
    pub(super) matches: Vec<Match>,
    /// Attributes that are given back.
    pub(super) back: Vec<Tag>,
    /// Some keys are not supported: answers are FF01 (DIM-069).
    pub(super) unsupported: bool,
}

/// Neither empty, nor a list, nor a pattern.
fn is_single(value: &str) -> bool {
    !value.is_empty() && !value.contains(['*', '?', '\\'])
}

/// A key as something to match; `None` if it is absent or empty.
fn matched(identifier: &Identifier, tag: Tag) -> Result<Option<Match>, QueryAnswer> {
    let Some(text) = identifier.text(tag).filter(|text| !text.is_empty()) else { return Ok(None) };
    let vr = vr_of(tag);
    let values = match vr {
        // Some programs write it in every key that they leave open; in a UID it can mean nothing but that (DIM-063).
        Vr::UI if text == "*" => return Ok(None),
        Vr::UI => {
            let uids: Result<Vec<String>, _> = text
                .split('\\')
                .map(|uid| InstanceUid::parse(uid.trim_matches([' ', '\0'])).map(|uid| uid.as_str().to_owned()))
                .collect();
            uids.map_err(|_| mismatch(tag, "is no UID and no list of UIDs"))?
        }
        _ => vec![text],
    };
    if values.len() > MOST_UIDS {
        return Err(mismatch(tag, "lists more than 10,000 UIDs"));
    }
    let matched = Match { path: vec![tag], vr, values };
    check(&matched).map_err(|wanted| mismatch(tag, &format!("is not {wanted}")))?;
    Ok(Some(matched))
}

/// The value of a match that names one thing exactly.
pub(super) fn exact(matches: &[Match], tag: Tag) -> Option<&str> {
    match crate::dicom::query::matching(matches, tag)?.values.as_slice() {
        // A hyphen in a date makes a range of it (PS3.4 section C.2.2.2.5).
        [value] if is_single(value) && !(vr_of(tag) == Vr::DA && value.contains('-')) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::query::identifier::write;

    fn request(keys: &[(Tag, &str)]) -> QueryRequest {
        let values = keys.iter().map(|(tag, value)| (*tag, (*value).to_owned())).collect();
        QueryRequest {
            operation: Operation::Find,
            message_id: 1,
            abstract_syntax: String::new(),
            transfer_syntax: EXPLICIT_VR_LE.into(),
            identifier: write(&values, &Charset::default(), true),
            destination: String::new(),
        }
    }

    fn read(request: &QueryRequest, root: Root) -> Result<Asked, QueryAnswer> {
        Asked::read(request, root, &Charset::default())
    }

    /// A range of dates names no birth date, even if it is of one day.
    #[test]
    fn a_range_is_no_exact_value() {
        let rows = [
            (PATIENT_BIRTH_DATE, "19600229", Some("19600229")),
            (PATIENT_BIRTH_DATE, "19600229-19600229", None),
            (PATIENT_BIRTH_DATE, "-19600229", None),
            (PATIENT_ID, "R-123", Some("R-123")),
            (PATIENT_ID, "R*", None),
        ];
        for (tag, value, want) in rows {
            let matched = Match { path: vec![tag], vr: vr_of(tag), values: vec![value.to_owned()] };
            assert_eq!(exact(&[matched], tag), want, "{value}");
        }
    }

    /// DIM-060, DIM-072: each level needs one value of each unique key above, and is one of its model.
    #[test]
    fn each_level_needs_the_unique_keys_above_it() {
        let (patient, study, series) = ((PATIENT_ID, "7"), (STUDY_INSTANCE_UID, "1.2"), (SERIES_INSTANCE_UID, "1.2.3"));
        type Row<'a> = (Root, &'a str, &'a [(Tag, &'a str)], Result<(), Tag>);
        let rows: &[Row<'_>] = &[
            (Root::Study, "STUDY", &[], Ok(())),
            (Root::Study, "PATIENT", &[], Err(LEVEL)),
            (Root::Study, "study", &[], Err(LEVEL)),
            (Root::Study, "SERIES", &[study], Ok(())),
            (Root::Study, "SERIES", &[], Err(STUDY_INSTANCE_UID)),
            (Root::Study, "SERIES", &[(STUDY_INSTANCE_UID, "1.2\\1.3")], Err(STUDY_INSTANCE_UID)),
            (Root::Study, "IMAGE", &[study, series], Ok(())),
            (Root::Study, "IMAGE", &[study], Err(SERIES_INSTANCE_UID)),
            (Root::Study, "IMAGE", &[series], Err(STUDY_INSTANCE_UID)),
            (Root::Patient, "PATIENT", &[], Ok(())),
            (Root::Patient, "STUDY", &[patient], Ok(())),
            (Root::Patient, "STUDY", &[], Err(PATIENT_ID)),
            (Root::Patient, "STUDY", &[(PATIENT_ID, "7*")], Err(PATIENT_ID)),
            (Root::Patient, "IMAGE", &[patient, study, series], Ok(())),
            (Root::Study, "STUDY", &[(STUDY_INSTANCE_UID, "1.2*")], Err(STUDY_INSTANCE_UID)),
            (Root::Study, "STUDY", &[(STUDY_INSTANCE_UID, "*")], Ok(())),
            (Root::Study, "SERIES", &[(STUDY_INSTANCE_UID, "*")], Err(STUDY_INSTANCE_UID)),
        ];
        for (root, level, keys, want) in rows {
            let mut keys = keys.to_vec();
            keys.push((LEVEL, level));
            let got = read(&request(&keys), *root);
            let got = got.map(|_| ()).map_err(|answer| (answer.status.0, answer.offending));
            assert_eq!(got, want.map_err(|tag| (0xA900, Some(tag.0))), "{root:?} {level} {keys:?}");
        }
    }

    /// DIM-061, DIM-069: the keys of each level are supported; others are absent and make the status FF01.
    #[test]
    fn keys_of_other_levels_are_not_supported() {
        let above = [(PATIENT_ID, "7"), (STUDY_INSTANCE_UID, "1.2"), (SERIES_INSTANCE_UID, "1.2.3")];
        let rows = [
            (Root::Study, "STUDY", PATIENT_NAME, true),
            (Root::Study, "STUDY", STUDY_ID, true),
            (Root::Study, "STUDY", MODALITIES_IN_STUDY, true),
            (Root::Study, "STUDY", MODALITY, false),
            (Root::Patient, "STUDY", PATIENT_NAME, false),
            (Root::Patient, "PATIENT", PATIENT_NAME, true),
            (Root::Study, "SERIES", SERIES_NUMBER, true),
            (Root::Study, "SERIES", STUDY_DATE, false),
            (Root::Study, "SERIES", SERIES_RELATED_INSTANCES, true),
            (Root::Study, "IMAGE", INSTANCE_NUMBER, true),
            (Root::Study, "IMAGE", MODALITY, false),
            (Root::Study, "STUDY", Tag::new(0x0010, 0x4000), false),
        ];
        for (root, level, tag, want) in rows {
            let mut keys = above.to_vec();
            keys.extend([(LEVEL, level), (tag, "")]);
            let asked = read(&request(&keys), root).unwrap();
            let back = asked.keys().unwrap().back;
            assert_eq!(back.contains(&tag), want, "{root:?} {level} {tag}");
        }
    }

    /// DIM-070: the site where a study lies is given back, and not matched: a value that is asked for is said to be passed over.
    #[test]
    fn institution_name_of_a_study_is_given_back_and_not_matched() {
        for (value, level, want) in
            [("", "STUDY", (true, false)), ("b", "STUDY", (true, true)), ("", "PATIENT", (false, true))]
        {
            let asked = read(&request(&[(PATIENT_ID, "7"), (LEVEL, level), (INSTITUTION_NAME, value)]), Root::Patient);
            let keys = asked.unwrap().keys().unwrap();
            let matched = crate::dicom::query::matching(&keys.matches, INSTITUTION_NAME).is_some();
            assert_eq!(
                (keys.back.contains(&INSTITUTION_NAME), keys.unsupported, matched),
                (want.0, want.1, false),
                "{level} {value}"
            );
        }
    }

    /// DIM-066, DIM-069: a sequence that asks for something would find everything if it were passed over: it is refused, and so is a text that
    /// came as a sequence. One that asks for nothing is not supported, like any other key.
    #[test]
    fn sequences_that_ask_for_something_are_refused() {
        let item = |tag: [u8; 4], value: &[u8]| {
            let inner = [&tag[..], &[value.len() as u8, 0, 0, 0], value].concat();
            [&[0xFE, 0xFF, 0x00, 0xE0, inner.len() as u8, 0, 0, 0], &inner[..]].concat()
        };
        let keyed = |tag: [u8; 4], length: u32, rest: &[u8]| {
            let level = [&[0x08, 0, 0x52, 0, 6, 0, 0, 0][..], b"STUDY "].concat();
            let identifier = [&level[..], &tag, &length.to_le_bytes(), rest].concat();
            let asked = QueryRequest { identifier, transfer_syntax: "1.2.840.10008.1.2".into(), ..request(&[]) };
            let keys = read(&asked, Root::Study).unwrap().keys();
            keys.map(|keys| keys.unsupported).map_err(|refused| (refused.status.0, refused.offending))
        };
        let (requests, accession) = ([0x40, 0, 0x75, 0x02], [0x08, 0, 0x50, 0]);
        let (full, empty) = (item(accession, b"A1"), item(accession, b""));
        let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        let refused = |tag: u32| Err((0xA900, Some(tag)));
        assert_eq!(keyed(requests, full.len() as u32, &full), refused(0x0040_0275));
        assert_eq!(keyed(requests, u32::MAX, &[&full[..], &end].concat()), refused(0x0040_0275));
        assert_eq!(keyed(requests, empty.len() as u32, &empty), Ok(true));
        assert_eq!(keyed(requests, 0, &[]), Ok(true));
        // Patient ID without a length can be nothing but a sequence.
        assert_eq!(keyed([0x10, 0, 0x20, 0], u32::MAX, &[&empty[..], &end].concat()), refused(0x0010_0020));
    }

    /// DIM-063: an asterisk alone leaves a key open, also one of UIDs: it is given back, and matches anything.
    #[test]
    fn an_asterisk_alone_leaves_a_key_of_uids_open() {
        for tag in [STUDY_INSTANCE_UID, SOP_CLASSES_IN_STUDY] {
            for value in ["*", "* ", ""] {
                let asked = read(&request(&[(LEVEL, "STUDY"), (tag, value)]), Root::Study).unwrap();
                let keys = asked.keys().unwrap();
                assert_eq!((keys.back, keys.matches, keys.unsupported), (vec![tag], vec![], false), "{tag} {value:?}");
                assert!(asked.values(STUDY_INSTANCE_UID).is_empty(), "nothing is named that could be retrieved");
            }
        }
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (tag, value) in [(STUDY_DATE, "2025"), (STUDY_TIME, "noon"), (STUDY_INSTANCE_UID, "1..2")] {
            let asked = read(&request(&[(LEVEL, "STUDY"), (tag, value)]), Root::Study);
            let refused = asked.and_then(|asked| asked.keys().map(|_| ())).unwrap_err();
            assert_eq!((refused.status.0, refused.offending), (0xA900, Some(tag.0)), "{tag}");
            assert!(!refused.comment.unwrap().contains(value), "values stay out of comments");
        }
    }
}

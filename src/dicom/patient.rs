//! Whether another site's patient is one of ours: a truth table over several facts at once (IDY-044). Nothing is ever merged.

use super::cross_reference::birth_date;
use super::nhs_number::NhsNumber;
use std::fmt;

/// What is known of a patient. `Debug` prints nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Patient {
    /// The NHS number, if its issuer says that it is one, and it is.
    pub number: Option<NhsNumber>,
    /// Patient's Birth Date, as YYYYMMDD or in an older form.
    pub birth_date: String,
    /// Patient's Name, components as in PN.
    pub name: String,
    /// Patient's Sex: M, F or O.
    pub sex: String,
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patient")
    }
}

/// What the comparison comes to. The words say which facts differ, never what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Number, birth date and family name agree with all that is known here, and sex does not contradict.
    Same,
    /// The number is known here, and something else differs or is missing: a person must look.
    Differs(Differing),
    /// Nobody here has this number.
    NotKnown,
    /// There is no number that would tell: none, no valid one, one for tests, or one of which nothing says that it is an NHS number.
    NoNumber,
}

/// Which facts differ, or are missing on either side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differing {
    /// Patient's Birth Date.
    pub birth_date: bool,
    /// The family name.
    pub name: bool,
    /// Patient's Sex.
    pub sex: bool,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("NHS number, birth date and name are those of a patient of this site"),
            Self::Differs(differing) => {
                write!(f, "the NHS number is known here, but {differing}: compare the two before anything is released")
            }
            Self::NotKnown => f.write_str("no patient of this site is known by its NHS number"),
            Self::NoNumber => f.write_str("it has no NHS number that would tell whose it is"),
        }
    }
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = [("birth date", self.birth_date), ("family name", self.name), ("sex", self.sex)];
        let named: Vec<&str> = facts.into_iter().filter(|(_, differs)| *differs).map(|(fact, _)| fact).collect();
        write!(
            f,
            "{} {}",
            named.join(" and "),
            if named.len() == 1 { "differs or is missing" } else { "differ or are missing" }
        )
    }
}

/// Compares a patient with those of ours who have the same number; others among `ours` do not count.
pub fn judge(foreign: &Patient, ours: &[Patient]) -> Judgement {
    let Some(number) = foreign.number.filter(|number| !number.is_test()) else { return Judgement::NoNumber };
    let foreign = dated(foreign);
    let same_number = ours.iter().filter(|patient| patient.number == Some(number)).map(dated);
    let mut differing: Option<Differing> = None;
    for patient in same_number {
        let known = differing.get_or_insert_default();
        known.birth_date |= foreign.birth_date.is_empty() || foreign.birth_date != patient.birth_date;
        known.name |= family(&foreign.name).is_empty() || family(&foreign.name) != family(&patient.name);
        known.sex |= contradict(&foreign.sex, &patient.sex);
    }
    match differing {
        None => Judgement::NotKnown,
        Some(differing) if differing == Differing::default() => Judgement::Same,
        Some(differing) => Judgement::Differs(differing),
    }
}

/// The same with its birth date in one form, if it is a date.
fn dated(patient: &Patient) -> Patient {
    let birth_date = birth_date(&patient.birth_date).unwrap_or_else(|| patient.birth_date.clone());
    Patient { birth_date, ..patient.clone() }
}

/// Only two different statements contradict each other; nothing and "other" contradict nobody.
fn contradict(one: &str, other: &str) -> bool {
    let states = |sex: &str| matches!(sex.trim(), "M" | "F");
    states(one) && states(other) && one.trim() != other.trim()
}

/// The family name, without case, accents of Western Europe, spaces, hyphens and apostrophes. One with a letter that could not be read
/// is as good as none: it would be equal to others.
fn family(name: &str) -> String {
    let family = name.split(['^', '=']).next().unwrap_or_default();
    if family.contains(char::REPLACEMENT_CHARACTER) {
        return String::new();
    }
    family.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).map(plain).collect()
}

fn plain(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ś' | 'š' | 'ş' => 's',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ł' => 'l',
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn patient(number: &str, birth_date: &str, name: &str, sex: &str) -> Patient {
        let number = NhsNumber::parse(number).ok();
        Patient { number, birth_date: birth_date.into(), name: name.into(), sex: sex.into() }
    }

    const ISSUED: &str = "4000000004";
    const OTHER: &str = "6000000006";

    fn differs(birth_date: bool, name: bool, sex: bool) -> Judgement {
        Judgement::Differs(Differing { birth_date, name, sex })
    }

    /// The whole table of IDY-044.
    #[test]
    fn only_several_facts_together_make_a_patient_ours() {
        let ours = patient(ISSUED, "19600229", "O'Neil-Müller^Ann", "F");
        let rows = [
            // Number, birth date, name, sex of the foreign patient.
            ((ISSUED, "19600229", "O'Neil-Müller^Ann", "F"), Judgement::Same),
            ((ISSUED, "19600229", "ONEIL MULLER^ANN^M", "F"), Judgement::Same),
            ((ISSUED, "19600229", "ONeilMuller", ""), Judgement::Same),
            ((ISSUED, "19600229", "O'Neil-Müller^Ann", "O"), Judgement::Same),
            ((ISSUED, "1960.02.29", "O'Neil-Müller^Ann", "F"), Judgement::Same),
            ((ISSUED, "1960.02.28", "O'Neil-Müller^Ann", "F"), differs(true, false, false)),
            ((ISSUED, "19600229", "O'Neil-Müller^Ann", "M"), differs(false, false, true)),
            ((ISSUED, "19600228", "O'Neil-Müller^Ann", "F"), differs(true, false, false)),
            ((ISSUED, "", "O'Neil-Müller^Ann", "F"), differs(true, false, false)),
            ((ISSUED, "19600229", "Smith^Ann", "F"), differs(false, true, false)),
            ((ISSUED, "19600229", "", "F"), differs(false, true, false)),
            ((ISSUED, "19700101", "Smith^Bob", "M"), differs(true, true, true)),
            ((OTHER, "19600229", "O'Neil-Müller^Ann", "F"), Judgement::NotKnown),
            (("9434765919", "19600229", "O'Neil-Müller^Ann", "F"), Judgement::NoNumber),
            (("4711", "19600229", "O'Neil-Müller^Ann", "F"), Judgement::NoNumber),
            (("", "19600229", "O'Neil-Müller^Ann", "F"), Judgement::NoNumber),
        ];
        for ((number, birth_date, name, sex), want) in rows {
            let foreign = patient(number, birth_date, name, sex);
            assert_eq!(judge(&foreign, std::slice::from_ref(&ours)), want, "{number} {birth_date} {name} {sex}");
        }
    }

    /// What is known here twice must agree twice; without anybody, or with somebody who has no birth date, nothing is the same.
    #[test]
    fn one_who_contradicts_is_enough() {
        let foreign = patient(ISSUED, "19600229", "Smith^Ann", "F");
        let good = patient(ISSUED, "19600229", "SMITH^A", "F");
        assert_eq!(judge(&foreign, &[good.clone(), good.clone()]), Judgement::Same);
        assert_eq!(
            judge(&foreign, &[good.clone(), patient(ISSUED, "19600229", "Jones", "F")]),
            differs(false, true, false)
        );
        assert_eq!(judge(&foreign, &[patient(ISSUED, "", "Smith", "F")]), differs(true, false, false));
        assert_eq!(judge(&foreign, &[patient("", "19600229", "Smith^Ann", "F")]), Judgement::NotKnown);
        assert_eq!(judge(&foreign, &[]), Judgement::NotKnown);
    }

    /// A letter that could not be read may have been any.
    #[test]
    fn a_name_that_cannot_be_read_is_nobodys() {
        let unread = patient(ISSUED, "19600229", "M\u{FFFD}ller^Ann", "F");
        let read = patient(ISSUED, "19600229", "Mller^Ann", "F");
        for (foreign, ours) in [(&unread, &unread), (&unread, &read), (&read, &unread)] {
            assert_eq!(judge(foreign, std::slice::from_ref(ours)), differs(false, true, false));
        }
        assert_eq!(judge(&read, std::slice::from_ref(&read)), Judgement::Same);
    }

    #[test]
    fn words_hold_nothing_of_a_patient() {
        let foreign = patient(ISSUED, "19600229", "Smith^Ann", "F");
        let said = format!("{foreign:?} {} {}", differs(true, true, false), Judgement::Same);
        for patient in ["Smith", "1960", "4000"] {
            assert!(!said.contains(patient), "{said}");
        }
        assert!(said.contains("birth date and family name differ or are missing"), "{said}");
    }
}

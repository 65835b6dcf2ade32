//! What no log may hold: the names and numbers of the made-up patients of all stories (INV-22, SEC-010).

/// Names of patients as the stories write them, and the words that stand in no other text.
const NAMES: &[&str] = &[
    "Specimen",
    "Prior^",
    "Elsewhere^",
    "Somebody^",
    "Müller",
    "M\u{dc}LLER",
    "MULLER",
    "Yamada",
    "山田",
    "やまだ",
    "Novak^",
    "Secret^",
    "SECRET^",
    "Alpha^Ann",
    "Beta^Bob",
    "Note^Of",
    "CompressedSamples",
];

/// Numbers of patients, and dates of birth.
const NUMBERS: &[&str] = &[
    "T0000001",
    "H0000001",
    "H0000002",
    "H0000003",
    "H0000004",
    "H0000005",
    "4000000004",
    "400 000 0004",
    "4000000005",
    "6000000006",
    "9434765870",
    "9434765918",
    "9434765919",
    "9990000018",
    "9990000026",
    "9990000034",
    "9990000042",
    "9990000050",
    "19510304",
    "19680117",
    "19890923",
    "19470611",
    "19751230",
    "19600228",
    "19600229",
    "1960-02-29",
    "19610101",
];

/// The lines of a text that hold anything of a patient.
pub fn told_of(text: &str) -> Vec<&str> {
    let names = |line: &str| NAMES.iter().any(|name| line.contains(name));
    let numbers = |line: &str| NUMBERS.iter().any(|number| stands_in(line, number));
    text.lines().filter(|line| names(line) || numbers(line)).collect()
}

/// Whether a number stands in a line by itself, and not within a longer one, a UID or a digest.
fn stands_in(line: &str, number: &str) -> bool {
    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '.');
    line.match_indices(number).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + number.len()..]);
        let mut next = after.chars();
        let ends = match next.next() {
            Some('.') => next.next().is_none_or(|c| !c.is_ascii_digit()),
            c => apart(c),
        };
        apart(before.chars().next_back()) && ends
    })
}

#[test]
fn a_patient_is_seen_in_a_line_and_nothing_else_is() {
    let told = ["by Specimen^Test", "id=\"T0000001\"", "4000000004", "of 9434765919.", "born 19600229, it", "MÜLLER"];
    assert!(told.iter().all(|line| told_of(line).len() == 1), "{told:?}");
    let other = ["2.25.4000000004.1", "1.4000000004", "abc4000000004", "40000000041", "a specialty", "2.25.1.19600229"];
    assert!(other.iter().all(|line| told_of(line).is_empty()), "{other:?}");
}

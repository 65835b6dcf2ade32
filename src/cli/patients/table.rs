//! A CSV file of statements: its headings, its lines, and what is wrong with which line (RFC 4180). Pure.

use crate::dicom::cross_reference::{LocalId, Said, birth_date};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};

/// The columns.
const COLUMNS: [&str; 4] = ["issuer", "patient_id", "nhs_number", "birth_date"];

/// What was read. `Debug` is not derived: it names patients.
#[derive(Default)]
pub(super) struct Table {
    /// The statements of the good lines.
    pub(super) statements: Vec<(LocalId, Said)>,
    /// The numbers of the bad lines, from 1, and what is wrong; nothing of what stands there is repeated.
    pub(super) bad: Vec<(usize, &'static str)>,
}

/// Reads a file; `issuer` issued the numbers of lines that do not say. An error if the headings cannot be read.
pub(super) fn read(text: &str, issuer: Option<&str>) -> Result<Table, &'static str> {
    let mut lines = records(text.trim_start_matches('\u{feff}'));
    let (_, headings) = lines.next().ok_or("the file is empty")?;
    let headings: Vec<String> =
        headings.ok_or("the headings are not CSV")?.iter().map(|name| name.trim().to_lowercase()).collect();
    let at = |name: &str| headings.iter().position(|heading| heading == name);
    let places = COLUMNS.map(at);
    if places[1..].iter().any(Option::is_none) || (places[0].is_none() && issuer.is_none()) {
        return Err("the first line names the columns: issuer, patient_id, nhs_number, birth_date");
    }
    let mut table = Table::default();
    for (line, fields) in lines {
        let Some(fields) = fields else {
            table.bad.push((line, "it is not CSV"));
            continue;
        };
        if fields.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let [who, id, number, born] =
            places.map(|place| place.and_then(|place| fields.get(place)).map_or("", |field| field.trim()));
        let who = if who.is_empty() { issuer.unwrap_or_default() } else { who };
        match statement(who, id, number, born) {
            _ if fields.len() != headings.len() => {
                table.bad.push((line, "it has another number of columns than the headings"))
            }
            Ok(statement) => table.statements.push(statement),
            Err(why) => table.bad.push((line, why)),
        }
    }
    Ok(table)
}

fn statement(issuer: &str, id: &str, number: &str, born: &str) -> Result<(LocalId, Said), &'static str> {
    let who = LocalId::new(issuer, id).ok_or("issuer and patient_id have 1 to 64 characters")?;
    if is_issuer(issuer) {
        return Err("the issuer is that of NHS numbers; a local number has another");
    }
    let number = NhsNumber::parse(number).map_err(|_| "nhs_number is not an NHS number")?;
    if number.is_test() {
        return Err("nhs_number is one for tests");
    }
    let birth_date = birth_date(born).ok_or("birth_date is not a date such as 1960-02-29")?;
    Ok((who, Said { number, birth_date }))
}

/// The records of a CSV text with the line that each begins on; `None` for one that is malformed.
fn records(text: &str) -> impl Iterator<Item = (usize, Option<Vec<String>>)> {
    let (mut rest, mut line) = (text, 1);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = line;
        let (mut fields, mut field, mut quoted, mut good) = (Vec::new(), String::new(), false, true);
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((place, c)) = chars.next() {
            line += usize::from(c == '\n');
            match c {
                '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                    field.push('"');
                    chars.next();
                }
                '"' if quoted => quoted = false,
                '"' if field.is_empty() => quoted = true,
                '"' => good = false,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                '\n' if !quoted => {
                    end = place + 1;
                    break;
                }
                c => field.push(c),
            }
        }
        good &= !quoted;
        rest = &rest[end..];
        fields.push(field.trim_end_matches('\r').to_owned());
        Some((at, good.then_some(fields)))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn good(text: &str, issuer: Option<&str>) -> Vec<(String, String, String, String)> {
        let table = read(text, issuer).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(table.bad, [], "{text}");
        let all = table.statements.into_iter();
        all.map(|(who, said)| (who.issuer, who.id, said.number.digits(), said.birth_date)).collect()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_quoting() {
        let want =
            |issuer: &str, id: &str| (issuer.to_owned(), id.to_owned(), "4000000004".to_owned(), "19600229".to_owned());
        let rows = [
            ("issuer,patient_id,nhs_number,birth_date\nRoyal,R7,4000000004,19600229\n", None, want("Royal", "R7")),
            (
                "\u{feff}Birth_Date,NHS_Number,Patient_ID,extra\r\n1960-02-29,400 000 0004,R7,x\r\n\r\n",
                Some("Royal"),
                want("Royal", "R7"),
            ),
            (
                "issuer,patient_id,nhs_number,birth_date\n,R7,\"4000000004\",19600229",
                Some("Royal"),
                want("Royal", "R7"),
            ),
            (
                "issuer,patient_id,nhs_number,birth_date\n\"Royal, \"\"old\"\"\",R7,4000000004,19600229",
                None,
                want("Royal, \"old\"", "R7"),
            ),
        ];
        for (text, issuer, want) in rows {
            assert_eq!(good(text, issuer), [want], "{text}");
        }
    }

    /// Every bad line has its number and its reason, and nothing of a patient in it.
    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let text = "issuer,patient_id,nhs_number,birth_date\n\
            Royal,R1,4000000004,19600229\n\
            Royal,R2,4000000005,19600229\n\
            Royal,,4000000004,19600229\n\
            \"a\nb\",R3,4000000004,19600229\n\
            Royal,R4,9434765919,19600229\n\
            Royal,R5,4000000004,29/02/1960\n\
            Royal,R6,4000000004\n\
            NHS,R7,4000000004,19600229\n\
            Royal,R\"8,4000000004,19600229\n\
            Royal,R9,4000000004,\n";
        let table = read(text, None).unwrap_or_else(|why| panic!("{why}"));
        let lines: Vec<usize> = table.bad.iter().map(|(line, _)| *line).collect();
        assert_eq!((table.statements.len(), lines), (1, vec![3, 4, 5, 7, 8, 9, 10, 11, 12]));
        assert!(table.bad.iter().all(|(_, why)| !why.contains("R2") && !why.contains("4000")));
        for text in ["", "patient_id,nhs_number,birth_date\n", "issuer,patient_id,nhs_number\n", "\"issuer\n"] {
            assert!(read(text, None).is_err(), "{text}");
        }
    }
}

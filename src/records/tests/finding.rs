//! Tests of what narrows a walk: nothing that matches is ever left out, and pages are skipped rightly.

use super::support::*;
use crate::dicom::attributes::{Level, MODALITY, PATIENT_ID, PATIENT_NAME, STUDY_DATE};
use crate::dicom::query::narrow::Narrow;
use crate::dicom::query::{Match, fits};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{SeriesUid, SopClassUid};
use crate::dicom::vr::Vr;
use crate::records::*;
use std::collections::BTreeSet;

const NAMES: [&str; 16] = [
    "Smith^John",
    "SMITH^JANE^^",
    "smith",
    "Smithson^A ",
    " Smith^Early",
    "Müller^J",
    "\u{212a}elly^B",
    "Kelly^C",
    "",
    "Yamada^Tarou=山田^太郎",
    "Smith=Other",
    "a\\Smith^B",
    "?",
    "Sm~th",
    "Zz",
    "Smith^John^^^^",
];
const DATES: [&str; 10] =
    ["20250310", "2025.03.10", "20250311", "", "2025", "202503", "20250310\\20240101", " 20250312", "x", "19991231"];

fn arrival(n: u32, name: &str, date: &str) -> Arrival {
    let mut arrival = push(n);
    arrival.head.study = study(n);
    let values = &mut arrival.head.attributes.values;
    values.insert(PATIENT_NAME, name.as_bytes().into());
    values.insert(STUDY_DATE, date.as_bytes().into());
    values.insert(PATIENT_ID, format!("P{n}").as_bytes().into());
    arrival.head.attributes.charset = crate::dicom::charset::Charset::declared(b"ISO_IR 192");
    arrival
}

async fn all(site: &Site, narrow: &Narrow) -> Vec<StudyRow> {
    let candidates = site.records.candidates(narrow.clone()).await.unwrap();
    let (mut walk, mut all) = (Walk { narrow: narrow.clone(), candidates, ..Walk::default() }, Vec::new());
    loop {
        let rows = site.records.walk_studies(walk.clone()).await.unwrap();
        let Some(last) = rows.last() else { return all };
        walk.after = last.row;
        all.extend(rows);
    }
}

async fn by_patient(site: &Site, narrow: &Narrow) -> BTreeSet<i64> {
    let (mut after, mut all) = ((String::new(), 0), BTreeSet::new());
    loop {
        let rows = site.records.walk_patients(after, Vec::new(), narrow.clone()).await.unwrap();
        let Some(last) = rows.last() else { return all };
        after = (last.attributes.0[&PATIENT_ID].clone(), last.row);
        all.extend(rows.iter().map(|row| row.row));
    }
}

/// DIM-063, DIM-064, DIM-067: an index leaves out nothing that matches, however odd what is held or asked for.
#[tokio::test]
async fn nothing_that_matches_is_left_out() {
    let site = Site::new();
    let mut n = 0;
    for name in NAMES {
        for date in DATES {
            n += 1;
            site.stored(arrival(n, name, date)).await;
        }
    }
    let everything = all(&site, &Narrow::default()).await;
    assert_eq!(everything.len(), NAMES.len() * DATES.len());
    let key = |tag: Tag, vr, wanted: &str| Match { path: vec![tag], vr, values: vec![wanted.to_owned()] };
    let asked_names = [
        "Smith*",
        "SMITH^J*",
        "smith",
        "Smith^John",
        "Kelly*",
        "kel*",
        "M*",
        "Müller*",
        "*mith",
        "?mith",
        "",
        "*",
        "Yamada*",
        "other",
        "山田*",
        "Sm~*",
        "zz",
        "Nobody",
        " Smith*",
        "Smith^John^",
        "s*h^j*",
        "[a]*",
        "s?ith*",
        "*",
    ];
    let asked_dates = ["", "20250310", "20250310-", "-20250310", "20250311-20250312", "19000101", "*"];
    let mut narrowed = 0;
    for name in asked_names {
        for date in asked_dates {
            let keys = [key(PATIENT_NAME, Vr::PN, name), key(STUDY_DATE, Vr::DA, date)];
            let matching = |rows: &[StudyRow]| -> BTreeSet<i64> {
                let texts = |row: &StudyRow, tag| row.attributes.0.get(&tag).cloned();
                let fitting = rows.iter().filter(|row| {
                    let (name, date) = (texts(row, PATIENT_NAME), texts(row, STUDY_DATE));
                    let held = |tag| if tag == PATIENT_NAME { name.as_deref() } else { date.as_deref() };
                    fits(&keys, Level::Study, false, held)
                });
                fitting.map(|row| row.row).collect()
            };
            let want = matching(&everything);
            let narrow = Narrow::of(&keys, false);
            let rows = all(&site, &narrow).await;
            assert_eq!(matching(&rows), want, "{name} {date}");
            assert!(want.is_subset(&by_patient(&site, &narrow).await), "{name} {date}, by patient");
            narrowed += usize::from(rows.len() < everything.len() / 2);
        }
    }
    assert!(narrowed > 50, "{narrowed} searches were narrowed");
    site.verify().await;
}

/// WEB-094: a page begins where it would if all rows before it were looked at, and what comes after is counted.
#[tokio::test]
async fn pages_begin_behind_what_is_kept() {
    let site = Site::new();
    for n in 1..=20 {
        site.stored(arrival(n, "Smith", "20250310")).await;
    }
    let gone = site.records.instance(&uid(3), noon()).await.unwrap()[0].instance;
    while site.send("surrey", verified(), noon()).await > 0 {}
    site.condemn(gone, by_age()).await;
    let rows: Vec<i64> = all(&site, &Narrow::default()).await.iter().map(|row| row.row).collect();
    assert_eq!(rows.len(), 19, "one has gone");
    assert_eq!(site.records.skip_studies(0).await.unwrap(), None);
    for count in 1..=19 {
        let row = site.records.skip_studies(count as u64).await.unwrap();
        assert_eq!(row, Some(rows[count - 1]));
        assert_eq!(site.records.studies_after(rows[count - 1]).await.unwrap(), Some(19 - count as u64));
    }
    let behind = site.records.skip_studies(20).await.unwrap().unwrap();
    let rest = site.records.walk_studies(Walk { after: behind, ..Walk::default() }).await.unwrap();
    assert!(rest.is_empty(), "there are fewer");
}

/// DIM-066: what studies hold is told of all of a page at once, each as it is: what has gone does not count.
#[tokio::test]
async fn what_studies_hold_is_told_of_many_at_once() {
    let site = Site::new();
    let of = |n: u32, of: u32, series: &str, class: &str, modality: &str| {
        let mut arrival = push(n);
        arrival.head.study = study(of);
        arrival.head.series = SeriesUid::parse(series).unwrap();
        arrival.head.sop_class = SopClassUid::parse(class).unwrap();
        arrival.head.attributes.values.insert(MODALITY, modality.as_bytes().into());
        arrival
    };
    let (ct, sr) = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11");
    let arrivals = [
        of(1, 1, "1.8.1", ct, "CT"),
        of(2, 1, "1.8.1", ct, "CT"),
        of(3, 1, "1.8.2", sr, "SR"),
        of(4, 2, "1.8.3", ct, "CT"),
        of(5, 2, "1.8.4", ct, "CT"),
        of(6, 3, "1.8.5", sr, "SR"),
        of(7, 3, "1.8.6", ct, "CT"),
    ];
    for arrival in arrivals {
        site.stored(arrival).await;
    }
    let gone = site.records.instance(&uid(7), noon()).await.unwrap()[0].instance;
    while site.send("surrey", verified(), noon()).await > 0 {}
    site.condemn(gone, by_age()).await;
    let rows: Vec<i64> = all(&site, &Narrow::default()).await.iter().map(|row| row.row).collect();
    let size = |series, instances, modalities: &[&str], classes: &[&str]| StudySize {
        series,
        instances,
        modalities: modalities.iter().map(|one| (*one).to_owned()).collect(),
        sop_classes: classes.iter().map(|class| SopClassUid::parse(class).unwrap()).collect(),
    };
    let want = [size(2, 3, &["CT", "SR"], &[ct, sr]), size(2, 2, &["CT"], &[ct]), size(1, 1, &["SR"], &[sr])];
    let told = site.records.study_sizes(rows.clone(), true).await.unwrap();
    assert_eq!(rows.iter().map(|row| told[row].clone()).collect::<Vec<_>>(), want);
    let without = site.records.study_sizes(rows[1..].to_vec(), false).await.unwrap();
    let plain = |size: &StudySize| StudySize { sop_classes: Vec::new(), ..size.clone() };
    assert_eq!(without.into_values().collect::<Vec<_>>(), want[1..].iter().map(plain).collect::<Vec<_>>());
    assert!(site.records.study_sizes((0..1001).collect(), false).await.is_err(), "within bounds");
}

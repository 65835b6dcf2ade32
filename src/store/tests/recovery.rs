//! Starting after a stop or a crash: live blobs stay, garbage goes, numbers are never used twice (FLT-001 to FLT-005).

use super::*;
use crate::dicom::fired::note_fired;
use crate::store::simulated::{self, Death};
use std::os::unix::fs::MetadataExt;

/// Leaves the directory as a kill would: unfinished files, a segment with its reserved tail.
fn crash(fixture: Fixture) -> TempDir {
    copied(&fixture.dir)
}

fn copied(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()) {
        fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

/// REL-05: the power fails before any call of a start that removes what a crash left, and undoes all that was not synced: what comes
/// back is garbage to the next start too, since the numbers have not moved on before it was gone for good.
#[tokio::test]
async fn what_a_start_removes_does_not_come_back_for_ever() {
    let fixture = fixture();
    put(&fixture.store, &noise(2 * MIB, 1)).await.unwrap();
    let left = crash(fixture);
    assert_eq!(files(&left).len(), 1);
    let mut cuts = 0;
    loop {
        let (dir, after) = (copied(&left), tempfile::tempdir().unwrap());
        simulated::begin();
        let death = Death { to: after.path().to_owned(), cut: Some(Box::new(|| true)), then: Box::new(|| ()) };
        simulated::die_after(cuts, death);
        drop(Store::open(options(&dir), []));
        let dead = simulated::is_dead();
        drop(simulated::live_on());
        simulated::end();
        if !dead {
            break;
        }
        drop(Store::open(options(&after), []).unwrap());
        assert_eq!(files(&after), Vec::<String>::new(), "the power failed before call {cuts}");
        cuts += 1;
    }
    assert!(cuts > 2, "{cuts}");
    note_fired(usize::try_from(cuts).unwrap());
}

#[tokio::test]
async fn live_blobs_stay_and_orphans_go() {
    let fixture = fixture();
    let mut live = vec![];
    let mut lost = vec![];
    for seed in 0..8 {
        for length in [5000, 300 * KIB, 2 * MIB] {
            let stored = put(&fixture.store, &noise(length, seed)).await.unwrap();
            if seed % 2 == 0 { live.push(stored) } else { lost.push(stored) }
        }
    }
    let mut unfinished = fixture.store.receive().await.unwrap();
    unfinished.write(&noise(2 * MIB, 99)).await.unwrap();
    until("a third stream has its file", || files(&fixture.dir).len() >= 10).await;
    let dir = crash(fixture);
    let blocks = || files(&dir).iter().map(|name| fs::metadata(dir.path().join(name)).unwrap().blocks()).sum::<u64>();
    let before = blocks();

    let (store, recovered) = Store::open(options(&dir), live.iter().map(|(place, _)| *place)).unwrap();
    assert_eq!((recovered.blobs, recovered.missing, recovered.damaged, recovered.strays), (12, 0, 0, 0));
    assert_eq!(recovered.orphans_removed, 5, "four settled and one unfinished");
    assert_eq!(recovered.truncated, 1);
    assert!(blocks() < before);
    for (place, digest) in &live {
        store.verify(*place, *digest).await.unwrap();
    }
    for (place, digest) in &lost {
        assert!(store.verify(*place, *digest).await.is_err());
    }
    // New blobs take new files, and what the records ask to free again hurts nobody.
    let (place, digest) = put(&store, &noise(5000, 1)).await.unwrap();
    let newest = live.iter().chain(&lost).map(|(place, _)| place.file).max().unwrap();
    assert!(place.file > newest);
    for (place, _) in &lost {
        let _ = store.free(*place).await;
    }
    store.verify(place, digest).await.unwrap();
    for (place, digest) in &live {
        store.verify(*place, *digest).await.unwrap();
    }
    note_fired(recovered.orphans_removed as usize);
}

#[tokio::test]
async fn a_start_with_nothing_live_frees_all() {
    let fixture = fixture();
    for length in [5000, 2 * MIB] {
        put(&fixture.store, &noise(length, 1)).await.unwrap();
    }
    let dir = crash(fixture);
    let (_store, recovered) = Store::open(options(&dir), []).unwrap();
    assert_eq!(recovered, Recovered { orphans_removed: 2, ..Recovered::default() });
    assert!(files(&dir).is_empty());
    note_fired(recovered.orphans_removed as usize);
}

#[tokio::test]
async fn files_of_earlier_runs_are_never_removed() {
    let Fixture { store, dir } = fixture();
    let mut live = vec![];
    for length in [5000, 2 * MIB] {
        live.push(put(&store, &noise(length, 1)).await.unwrap());
    }
    drop(store);
    drop(Store::open(options(&dir), live.iter().map(|(place, _)| *place)).unwrap());
    // As with records restored from an old copy.
    let (store, recovered) = Store::open(options(&dir), []).unwrap();
    assert_eq!(recovered, Recovered { strays: 2, ..Recovered::default() });
    for (place, digest) in live {
        store.verify(place, digest).await.unwrap();
    }
}

#[tokio::test]
async fn emptied_segments_go_at_the_next_start() {
    let Fixture { store, dir } = fixture();
    let (place, _) = put(&store, &noise(5000, 1)).await.unwrap();
    drop(store);
    let (store, _) = Store::open(options(&dir), [place]).unwrap();
    store.free(place).await.unwrap();
    assert_eq!(files(&dir).len(), 1);
    drop(store);
    let (_store, recovered) = Store::open(options(&dir), []).unwrap();
    assert_eq!((recovered.orphans_removed, recovered.strays), (1, 0));
    note_fired(recovered.orphans_removed as usize);
}

#[tokio::test]
async fn missing_and_cut_blobs_are_counted() {
    let Fixture { store, dir } = fixture();
    let (small, _) = put(&store, &noise(5000, 1)).await.unwrap();
    let (gone, _) = put(&store, &noise(2 * MIB, 1)).await.unwrap();
    let (cut, _) = put(&store, &noise(2 * MIB, 2)).await.unwrap();
    drop(store);
    fs::remove_file(dir.path().join(gone.file_name())).unwrap();
    fs::OpenOptions::new().write(true).open(dir.path().join(cut.file_name())).unwrap().set_len(MIB as u64).unwrap();
    let (_, recovered) = Store::open(options(&dir), [small, gone, cut]).unwrap();
    assert_eq!((recovered.blobs, recovered.missing, recovered.damaged), (1, 1, 1));
    assert_eq!(recovered.lost, [cut, gone]);
    note_fired((recovered.missing + recovered.damaged) as usize);
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_no_loss_of_every_blob() {
    let Fixture { store, dir } = fixture();
    let (place, _) = put(&store, &noise(5000, 1)).await.unwrap();
    drop((store, dir));
    let empty = tempfile::tempdir().unwrap();
    let error = Store::open(options(&empty), [place]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("is its disk mounted?"), "{error}");
    assert!(fs::read_dir(empty.path()).unwrap().next().is_none(), "and nothing is made there");
}

#[tokio::test]
async fn blobs_without_an_identity_are_not_touched() {
    let Fixture { store, dir } = fixture();
    put(&store, &noise(5000, 1)).await.unwrap();
    drop(store);
    fs::remove_file(dir.path().join("identity")).unwrap();
    let error = Store::open(options(&dir), []).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
    assert_eq!(files(&dir).len(), 1);
}

/// What `store rebuild` gives no row must still be there after the next start: a blob that is damaged, or one that this
/// program cannot read, whole as it is.
#[tokio::test]
async fn what_was_set_apart_is_neither_removed_nor_cut_nor_punched() {
    let Fixture { store, dir } = fixture();
    let mut all = vec![];
    for (seed, length) in [5000, 6000, 2 * MIB, 7000].into_iter().enumerate() {
        all.push(put(&store, &noise(length, seed as u64)).await.unwrap());
    }
    drop(store);
    Store::set_apart(dir.path()).unwrap();
    let middle = all[1].0;
    let (store, recovered) = Store::open(options(&dir), [middle]).unwrap();
    assert_eq!((recovered.orphans_removed, recovered.truncated, recovered.strays), (0, 0, 1), "{recovered:?}");
    for (place, digest) in all {
        store.verify(place, digest).await.unwrap();
    }
}

/// Records that are older than a segment of an earlier run know only its beginning.
#[tokio::test]
async fn files_of_earlier_runs_are_never_cut() {
    let Fixture { store, dir } = fixture();
    let mut all = vec![];
    for seed in 0..3 {
        all.push(put(&store, &noise(5000, seed)).await.unwrap());
    }
    drop(store);
    drop(Store::open(options(&dir), all.iter().map(|(place, _)| *place)).unwrap());
    let (store, recovered) = Store::open(options(&dir), [all[0].0]).unwrap();
    assert_eq!(recovered.truncated, 0);
    for (place, digest) in all {
        store.verify(place, digest).await.unwrap();
    }
}

#[tokio::test]
async fn blobs_without_an_identity_are_not_set_apart() {
    let Fixture { store, dir } = fixture();
    put(&store, &noise(5000, 1)).await.unwrap();
    drop(store);
    fs::remove_file(dir.path().join("identity")).unwrap();
    let error = Store::set_apart(dir.path()).unwrap_err();
    assert!(error.to_string().contains("identity"), "{error}");
    assert!(!dir.path().join("identity").exists(), "a new name would make every label a stranger's");
}

/// Records that do not hold what the blobs noted of them name nothing as garbage: not at this start, and not at a later one.
#[tokio::test]
async fn records_that_are_not_these_blobs_own_take_nothing_away() {
    let rows = [
        (Standing::Proven, false),
        (Standing::Unknown, false),
        // Records made just now beside blobs that were there.
        (Standing::New, true),
        (Standing::Foreign, true),
    ];
    for (standing, stays) in rows {
        let fixture = fixture();
        let mut all = vec![];
        for (seed, length) in [5000, 6000, 2 * MIB, 7000].into_iter().enumerate() {
            all.push(put(&fixture.store, &noise(length, seed as u64)).await.unwrap());
        }
        let dir = crash(fixture);
        let known = all[1];
        let (store, recovered) = Store::open_for(options(&dir), (standing, None), [known.0]).unwrap();
        assert_eq!((recovered.doubted, store.is_doubted()), (stays, stays), "{standing:?}");
        drop(store);
        let (store, recovered) = Store::open(options(&dir), [known.0]).unwrap();
        assert!(!recovered.doubted && store.is_doubted() == stays, "{standing:?}: until a person accepts them");
        for (place, digest) in all {
            let there = store.verify(place, digest).await.is_ok();
            assert_eq!(there, stays || place == known.0, "{standing:?}: {place:?}");
        }
        drop(store);
        assert_eq!(Store::accept(dir.path()).unwrap(), stays);
        assert!(!StoreReader::open(dir.path()).unwrap().is_doubted());
    }
}

#[tokio::test]
async fn what_is_noted_of_the_records_is_kept_until_others_are_to_come() {
    let Fixture { store, dir } = fixture();
    assert_eq!(Store::noted(dir.path()).unwrap(), None);
    let noted = Noted { entries: 7, chain: [3; 32] };
    store.note(noted).await.unwrap();
    let (place, digest) = put(&store, &noise(5000, 1)).await.unwrap();
    drop(store);
    assert_eq!(Store::noted(dir.path()).unwrap(), Some(noted));
    let later = Noted { entries: 8, chain: [4; 32] };
    let (store, _) = Store::open_for(options(&dir), (Standing::Proven, Some(later)), [place]).unwrap();
    assert_eq!(Store::noted(dir.path()).unwrap(), Some(later), "before anything new is written");
    let copy = tempfile::tempdir().unwrap();
    StoreReader::open(dir.path()).unwrap().copy_files(&[place], copy.path().to_owned()).await.unwrap();
    assert_eq!(Store::noted(copy.path()).unwrap(), None, "the records that go with a copy may be older");
    StoreReader::open(copy.path()).unwrap().read(place, digest).await.unwrap();
    drop(store);
    Store::set_apart(dir.path()).unwrap();
    assert_eq!(Store::noted(dir.path()).unwrap(), None);
}

/// FLT-027: a store that has lost its name reads it from its blobs; what no row names stays, and nothing is removed before a person says so.
#[tokio::test]
async fn a_lost_name_is_read_from_the_labels() {
    let fixture = fixture();
    let mut kept = vec![];
    for (seed, length) in [(1, 5000), (2, 300 * KIB), (3, 2 * MIB)] {
        kept.push(put(&fixture.store, &noise(length, seed)).await.unwrap());
    }
    let dir = crash(fixture);
    let before = identity::read(dir.path()).unwrap().unwrap();
    assert!(!Store::regain_name(dir.path()).unwrap(), "it is not lost");
    fs::remove_file(dir.path().join("identity")).unwrap();
    assert!(Store::regain_name(dir.path()).unwrap());
    let after = identity::read(dir.path()).unwrap().unwrap();
    assert_eq!((after.store, after.doubted, after.noted), (before.store, true, None));
    let newest = kept.iter().map(|(place, _)| place.file).max().unwrap();
    assert!(after.base > newest && after.keep_below == after.base);
    let all = files(&dir);
    let (store, recovered) = Store::open(options(&dir), [kept[0].0]).unwrap();
    assert_eq!((recovered.blobs, recovered.orphans_removed, recovered.truncated), (1, 0, 0));
    assert!(store.is_doubted() && all.iter().all(|name| files(&dir).contains(name)), "what no row names stays");
    for (place, digest) in kept {
        store.verify(place, digest).await.unwrap();
    }
    note_fired(1);
}

#[tokio::test]
async fn a_lost_name_on_which_the_labels_disagree_is_not_made_up() {
    let (one, other) = (fixture(), fixture());
    for fixture in [&one, &other] {
        put(&fixture.store, &noise(2 * MIB, 1)).await.unwrap();
    }
    let (dir, strange) = (crash(one), crash(other));
    // A second object, the other store's; its label says where it stands.
    let name = files(&strange).into_iter().next().unwrap();
    let (number, shared) = place::parse_file_name(&name).unwrap();
    assert!(!shared && files(&dir).contains(&name), "both began with the same number");
    let mut bytes = fs::read(strange.path().join(&name)).unwrap();
    let at = bytes.len() - label::LABEL;
    let store = label::Label::names_store(&bytes[at..]).unwrap();
    let mut label = label::Label::decode(&bytes[at..], &store).unwrap();
    label.place.file = number + 1;
    bytes[at..].copy_from_slice(&label.encode(&store));
    fs::write(dir.path().join(place::file_name(number + 1, false)), bytes).unwrap();
    fs::remove_file(dir.path().join("identity")).unwrap();
    let error = Store::regain_name(dir.path()).unwrap_err();
    assert!(error.to_string().contains("2 stores"), "{error}");
    assert!(!dir.path().join("identity").exists());
    note_fired(1);
}

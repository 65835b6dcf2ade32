//! A damaged catalogue beside the reading of all blobs.

use super::*;
use crate::records::Unlike;
use crate::records::tests::support::change;

/// FLT-025, REL-07: one cell of the catalogue that cannot be read keeps no blob from being read, and a transfer syntax that is none is told.
#[tokio::test]
async fn a_damaged_cell_of_the_catalogue_keeps_no_blob_from_being_read() {
    let house = House::new(JanitorOptions { scrub_every: Duration::ZERO, ..options() }).await;
    for n in 1..=5 {
        house.keep(n, 5000, DAY, true).await;
    }
    // Bytes that are no text, text that is no UID, and of one also the other UID.
    change(&house.records, "UPDATE instances SET transfer_syntax = CAST(X'FF31' AS TEXT) WHERE id = 1").await;
    change(&house.records, "UPDATE instances SET transfer_syntax = '1.2.x' WHERE id = 2").await;
    change(&house.records, "UPDATE instances SET transfer_syntax = '1.2.x', sop_uid = '1.2.y' WHERE id = 3").await;
    for n in [4, 5] {
        house.flip(n, 5000).await;
    }
    house.janitor.scrub_next().await.unwrap();
    let pass = house.records.scrub_pass().await.unwrap().unwrap();
    assert_eq!((pass.blobs, pass.damaged, pass.ended.is_some()), (5, 2, true));
    let told = |all: Vec<Unlike>| all.into_iter().map(|one| (one.instance.0, one.what)).collect::<Vec<_>>();
    let syntax = || Unlike::SYNTAX.to_owned();
    let noted = house.records.unlike().await.unwrap().noted;
    assert_eq!(told(noted), [(1, syntax()), (2, syntax())]);
    note_fired(2);
    change(&house.records, "UPDATE instances SET transfer_syntax = '1.2.840.10008.1.2.1' WHERE id = 1").await;
    house.janitor.compare_again().await.unwrap();
    let noted = house.records.unlike().await.unwrap().noted;
    assert_eq!(told(noted), [(2, syntax())], "that is right again");
}

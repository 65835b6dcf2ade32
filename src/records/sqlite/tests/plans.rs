//! The hot queries use their indexes, however large the tables grow.

use super::*;
use crate::records::sqlite::{schema, study};

#[test]
fn the_hot_queries_read_only_what_they_need() {
    let dir = TempDir::new().unwrap();
    let conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
    let of_these = study::OF_THESE.replace("?1", "'[]'");
    let rows = [
        (of_these.as_str(), "instances_1 (sop_uid=?)"),
        ("SELECT id FROM instances WHERE sop_uid = '1'", "sop_uid=?"),
        ("SELECT id FROM blobs WHERE digest = x'00' AND state = 'live'", "blobs_live (digest=?"),
        (
            "SELECT 1 FROM transfers WHERE study = 1 AND destination = 1 AND instance = 1",
            "transfers_owed (study=? AND destination=? AND instance=?",
        ),
        (
            "SELECT study FROM transfers WHERE destination = 1 AND lane = 0 AND due <= 5 ORDER BY due, study, id LIMIT 1",
            "transfers_open (destination=? AND lane=? AND due<?",
        ),
        (
            "SELECT id FROM transfers WHERE destination = 1 AND lane = 0 AND due = 0 AND study = 1 ORDER BY id LIMIT 9",
            "transfers_open (destination=? AND lane=? AND due=? AND study=?",
        ),
        (
            "UPDATE transfers SET due = 1 WHERE destination = 1 AND lane = 1 AND due > 9",
            "transfers_open (destination=?",
        ),
        ("SELECT id FROM attempts WHERE ended IS NULL", "attempts_open"),
        ("SELECT max(n) FROM arrivals WHERE instance = 1", "PRIMARY KEY (instance=?"),
    ];
    for (sql, want) in rows {
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.contains(want)), "{sql}: {steps:?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}: {steps:?}");
    }
}

//! A site in a temporary directory, and arrivals for it.

use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::{MODALITY, PATIENT_ID, PATIENT_NAME};
use crate::dicom::head::{Attributes, Head};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::{Destination, Origin, Priority, Verify};
pub(crate) use crate::records::sqlite::inline::committed::{Committed, drain};
pub(crate) use crate::records::sqlite::inline::{Disk, seed_chance};
use crate::records::*;
use crate::store::{Digest, Place};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub(crate) const LIMITS: LeaseLimits = LeaseLimits { instances: 100, bytes: 1 << 30, together: true };
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86400);

/// The time at which the tests play: a while after the records were opened in no test.
pub(crate) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) records: Records,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(RecordsOptions::default())
    }

    pub(crate) fn with(options: RecordsOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let (records, recovered) = Records::open(dir.path(), options).unwrap();
        assert_eq!(recovered, Recovered { epoch: 1, ..Recovered::default() });
        Self { dir, records }
    }

    /// Goes on without a word to the old process: nothing that was not committed is there.
    pub(crate) fn restart(self) -> (Self, Recovered) {
        let Self { dir, records } = self;
        drop(records);
        let (records, recovered) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
        (Self { dir, records }, recovered)
    }

    pub(crate) async fn record(&self, arrival: Arrival) -> Recorded {
        self.records.record(arrival).await.unwrap()
    }

    pub(crate) async fn stored(&self, arrival: Arrival) -> InstanceId {
        match self.record(arrival).await.kept {
            Kept::Stored { instance } => instance,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn lease(&self, to: &str, now: SystemTime) -> Option<Batch> {
        self.records.lease(&destination(to), LIMITS, now).await.unwrap()
    }

    pub(crate) async fn check(&self, to: &str, now: SystemTime) -> Option<Batch> {
        self.records.lease_checks(&destination(to), 100, now).await.unwrap()
    }

    /// Settles the whole batch with one outcome.
    pub(crate) async fn settle(&self, batch: &Batch, outcome: Outcome, now: SystemTime) -> Settled {
        let outcomes = batch.items.iter().map(|item| (item.transfer, outcome.clone())).collect();
        let answered = batch.kind == BatchKind::Check && !matches!(outcome, Outcome::Unknown { .. });
        let summary = AttemptSummary { asking: answered.then_some(Asking::Answered), ..AttemptSummary::default() };
        self.records.settle(batch.attempt, outcomes, summary, now).await.unwrap()
    }

    /// Leases what is due and settles it with one outcome; the number of transfers.
    pub(crate) async fn send(&self, to: &str, outcome: Outcome, now: SystemTime) -> usize {
        let Some(batch) = self.lease(to, now).await else { return 0 };
        self.settle(&batch, outcome, now).await.applied.len()
    }

    pub(crate) async fn transfers(&self, n: u32) -> Vec<TransferView> {
        let versions = self.records.instance(&uid(n), noon()).await.unwrap();
        versions.into_iter().flat_map(|version| version.transfers).collect()
    }

    pub(crate) async fn states(&self, n: u32) -> Vec<State> {
        self.transfers(n).await.iter().map(|transfer| transfer.state).collect()
    }

    pub(crate) async fn condemn(&self, instance: InstanceId, purging: Purging) -> Purged {
        self.records.condemn(vec![instance], purging, noon()).await.unwrap()
    }

    pub(crate) async fn act(&self, verb: Verb, transfers: &[TransferId]) -> Acted {
        let selection = Selection::Transfers(transfers.to_vec());
        self.records.act(verb, selection, "jo", "because", noon()).await.unwrap()
    }

    /// Verifies the ledger and the rebuild of the tables; every test may end with it.
    pub(crate) async fn verify(&self) -> Report {
        let report = self.records.verify_ledger(Arc::new(AtomicU64::new(0))).await.unwrap();
        assert!(report.is_sound(), "{report:#?}");
        report
    }
}

/// By age, of what has been let alone since noon.
/// Changes rows behind the back of everybody.
pub(crate) async fn change(records: &Records, sql: &'static str) {
    records.commit(move |tx| Ok(tx.conn.execute_batch(sql)?)).await.unwrap();
}

pub(crate) fn by_age() -> Purging {
    Purging::by_rule(PurgeRule::Age, noon())
}

pub(crate) fn destination(name: &str) -> Destination {
    Destination(name.to_owned())
}

pub(crate) fn uid(n: u32) -> InstanceUid {
    InstanceUid::parse(&format!("1.2.3.{n}")).unwrap()
}

pub(crate) fn study(n: u32) -> StudyUid {
    StudyUid::parse(&format!("1.2.{n}")).unwrap()
}

pub(crate) fn node(title: &str) -> Origin {
    Origin::Node(AeTitle::parse(title).unwrap())
}

pub(crate) fn digest(n: u32) -> Digest {
    Digest::of(&n.to_be_bytes())
}

pub(crate) fn new_place(file: u64) -> Place {
    Place { file, shared: true, offset: 4096, length: 1000 }
}

pub(crate) fn to(name: &str) -> Chosen {
    Chosen {
        destination: destination(name),
        route: format!("to {name}"),
        mandatory: true,
        verify: Verify::Present,
        priority: Priority::Routine,
    }
}

pub(crate) fn to_accepting(name: &str) -> Chosen {
    Chosen { verify: Verify::Accepted, ..to(name) }
}

/// Instance `n` of study 1 from the PACS, owed to surrey.
pub(crate) fn push(n: u32) -> Arrival {
    let mut attributes = Attributes::default();
    attributes.values.insert(PATIENT_ID, b"secret-id".as_slice().into());
    attributes.values.insert(PATIENT_NAME, b"SECRET^NAME ".as_slice().into());
    attributes.values.insert(MODALITY, b"CT".as_slice().into());
    let head = Head {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: uid(n),
        study: study(1),
        series: SeriesUid::parse("1.2.1.1").unwrap(),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        attributes,
    };
    Arrival {
        origin: node("PACS"),
        source: SourceFacts {
            calling: Some("PACS".into()),
            called: Some("WEYBRIDGE".into()),
            ..SourceFacts::default()
        },
        head,
        digest: digest(n),
        length: 1000,
        blob: BlobRef::New(new_place(u64::from(n))),
        chosen: vec![to("surrey")],
        routes: None,
        requested: None,
        received_at: noon(),
        resend_after: DAY,
    }
}

/// Instance `n` with other content.
pub(crate) fn push_other(n: u32, content: u32) -> Arrival {
    Arrival { digest: digest(content), blob: BlobRef::New(new_place(u64::from(content))), ..push(n) }
}

pub(crate) fn accepted() -> Outcome {
    Outcome::Accepted { evidence: "named in the answer".into() }
}

pub(crate) fn verified() -> Outcome {
    Outcome::Verified { evidence: "shown by QIDO-RS".into() }
}

pub(crate) fn unknown() -> Outcome {
    Outcome::Unknown { why: "the connection broke".into() }
}

pub(crate) fn absent() -> Outcome {
    Outcome::Absent { why: "not shown by QIDO-RS".into() }
}

pub(crate) fn dead() -> Outcome {
    Outcome::Dead { why: "0xC000: cannot understand".into() }
}

pub(crate) fn parked() -> Outcome {
    Outcome::Parked { why: "403: not allowed".into() }
}

pub(crate) fn deferred(charge: Charge, after: Option<Duration>) -> Outcome {
    Outcome::Deferred { why: "503: busy".into(), charge, after }
}

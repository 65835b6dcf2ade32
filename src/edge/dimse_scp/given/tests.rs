//! The counts of any retrieval add up, and its end says what became of each instance (INV-17, DIM-084, DIM-086).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::courier::Foreigners;
use crate::courier::foreign::Policy;
use crate::courier::turns::Turns;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::sample::{EXPLICIT, encode, value};
use crate::dicom::uid::{SeriesUid, SopClassUid, TransferSyntaxUid};
use crate::dicom::vr::Vr;
use crate::dimse::{
    self, ContextAnswer, DataSet, Inquiry, Offer, Operation, Proposal, ProposedContext, Rejection, Reply, Scp,
    ScpOptions, StoreAnswer, StoreRequest, Target, Timers, Wire,
};
use crate::peers::{Destination, Origin};
use crate::records::RecordsOptions;
use crate::store::{Digest, Place, Store, StoreOptions};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Study Root, GET.
const GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";

/// In a script, an instance that is taken, one taken with a warning, one refused, and one that cannot be looked up any more.
const OUTCOMES: [char; 4] = ['t', 'w', 'r', 'g'];
/// Here the requester has cancelled.
const CANCELS: char = 'c';

/// Does with each instance of a retrieval what the identifier says, character by character.
struct Scripted {
    records: Records,
    mover: Mover,
    /// How each ended, for the ledger.
    ended: Mutex<Vec<RetrievalEnded>>,
    _dir: TempDir,
}

impl Scripted {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (records, _) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
        let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
        let (store, _) = Store::open(options, Vec::new()).unwrap();
        let foreigners = Foreigners {
            policy: Policy::default(),
            site: "here".into(),
            issuers: BTreeMap::new(),
            records: records.clone(),
            nhs_nodes: BTreeSet::new(),
        };
        let mover = Mover::new(Destination("CT1".into()), None, store, foreigners, Turns::default());
        Self { records, mover, ended: Mutex::default(), _dir: dir }
    }
}

impl Scp for Scripted {
    type Caller = ();

    async fn admit(&self, _: &Proposal) -> Result<(), Rejection> {
        Ok(())
    }

    fn choose(&self, (): &(), _: &ProposedContext) -> ContextAnswer {
        ContextAnswer::Accept(0)
    }

    async fn store(&self, (): &(), _: StoreRequest, _: &mut DataSet<'_>) -> StoreAnswer {
        Status::SUCCESS.into()
    }

    async fn query(&self, (): &(), request: QueryRequest, dialogue: &mut Dialogue<'_>) -> QueryAnswer {
        let began = RetrievalBegan {
            operation: "C-GET",
            node: "CT1".into(),
            purpose: String::new(),
            destination: "CT1".into(),
            studies: Vec::new(),
            instances: 0,
        };
        let script: Vec<char> = request.identifier.iter().map(|byte| char::from(*byte)).collect();
        let count = script.iter().filter(|step| OUTCOMES.contains(step)).count() as i64;
        let instances = (1..=count).map(|n| (InstanceId(n), 0)).collect();
        let mut given = Given::new(&self.records, &self.mover, dialogue, began);
        given.expects(Expected { instances, kinds: Vec::new() }, Gathering::default());
        given.tell().await;
        let mut next = 0;
        for step in script {
            if step == CANCELS {
                // It is told so that it may cancel: sooner, and the cancel might overtake what is still to be begun.
                given.tell().await;
                given.dialogue.heard().await;
            }
            if !OUTCOMES.contains(&step) {
                continue;
            }
            if !given.goes_on().await {
                break;
            }
            next += 1;
            let came = match step {
                't' => SubOperation::Completed,
                'w' => SubOperation::Warning,
                'r' => SubOperation::Failed { why: "refused".into(), damage: None },
                _ => {
                    assert!(given.copies(&[InstanceId(next)]).await.is_empty());
                    continue;
                }
            };
            given.count(&instance(next), came).await;
        }
        let ended = given.ended();
        self.ended.lock().unwrap().push(ended);
        given.answer(&request)
    }
}

fn name(n: i64) -> String {
    format!("1.2.3.{n}")
}

fn instance(n: i64) -> Retrievable {
    Retrievable {
        instance: InstanceId(n),
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: InstanceUid::parse(&name(n)).unwrap(),
        study: StudyUid::parse("1.2.1").unwrap(),
        series: SeriesUid::parse("1.2.1.1").unwrap(),
        transfer_syntax: TransferSyntaxUid::parse(EXPLICIT_VR_LE).unwrap(),
        digest: Digest::of(&n.to_be_bytes()),
        place: Place { file: 1, shared: true, offset: 4096, length: 1000 },
        length: 1000,
        origin: Origin::Node(AeTitle::parse("CT1").unwrap()),
        received: SystemTime::UNIX_EPOCH,
        word: None,
    }
}

/// Asks for what a script says, and cancels after so many pending answers: the counts of each, and the final answer.
async fn ask(scp: &Arc<Scripted>, script: &str, most: usize) -> (Vec<Counts>, Reply) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (class, version) = ("2.25.7".to_owned(), "TEST".to_owned());
    let options = ScpOptions {
        implementation_class: class.clone(),
        implementation_version: version.clone(),
        ..ScpOptions::default()
    };
    let scp = Arc::clone(scp);
    tokio::spawn(async move {
        let (socket, peer) = listener.accept().await.unwrap();
        dimse::serve_wire(Wire::Tcp(socket), peer, scp, options, CancellationToken::new()).await
    });
    let target = Target {
        address,
        tls: None,
        calling: AeTitle::parse("CT1").unwrap(),
        called: AeTitle::parse("HERE").unwrap(),
        timers: Timers::default(),
        max_pdu_length: 16_384,
        implementation_class: class,
        implementation_version: version,
        identity: None,
    };
    let offer = Offer { abstract_syntax: GET.into(), transfer_syntaxes: vec![EXPLICIT_VR_LE.into()] };
    let mut scu = dimse::connect(&target, &[offer]).await.unwrap();
    let (operation, quiet) = (Operation::Get, Duration::from_secs(30));
    let inquiry = Inquiry { context_id: 1, operation, identifier: script.as_bytes(), destination: None, quiet };
    let mut pending = Vec::new();
    let each = |reply: Reply| {
        assert_eq!(reply.status, Status::PENDING);
        pending.push(reply.counts);
        if pending.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let last = scu.ask(&inquiry, &CancellationToken::new(), each).await.unwrap();
    scu.release().await.unwrap();
    (pending, last)
}

/// One retrieval of these outcomes, of which only so many are begun if the requester cancels.
async fn retrieve(scp: &Arc<Scripted>, outcomes: &[char], begun: Option<usize>) {
    let done = &outcomes[..begun.unwrap_or(outcomes.len())];
    let rest: String = outcomes[done.len()..].iter().collect();
    let cancels = if begun.is_some() { CANCELS.to_string() } else { String::new() };
    let mut script = format!("{}{cancels}{rest}", done.iter().collect::<String>());
    if script.len() % 2 == 1 {
        script.push(' ');
    }
    // The first answer comes before anything is given, one more after each that was tried, and one where the requester is to cancel.
    let tried = done.iter().filter(|outcome| **outcome != 'g').count();
    let (pending, last) = ask(scp, &script, begun.map_or(usize::MAX, |_| 2 + tried)).await;

    let total = outcomes.len() as u64;
    let mut left = total;
    for counts in &pending {
        let remaining = counts.remaining.unwrap();
        assert_eq!(remaining + counts.completed + counts.failed + counts.warning, total, "{script}: {pending:?}");
        assert!(remaining <= left, "{script}: {pending:?}");
        left = remaining;
    }
    let of = |kinds: &[char]| done.iter().filter(|outcome| kinds.contains(outcome)).count() as u64;
    let (completed, warning, failed) = (of(&['t']), of(&['w']), of(&['r', 'g']));
    let not_begun = total - done.len() as u64;
    let remaining = (not_begun > 0).then_some(not_begun);
    assert_eq!(last.counts, Counts { remaining, completed, failed, warning }, "{script}");
    let status = match (not_begun, completed + warning, failed) {
        (1.., ..) => Status::CANCEL,
        (0, 0, 1..) => Status::NO_SUB_OPERATIONS,
        (0, _, 0) if warning == 0 => Status::SUCCESS,
        _ => Status::SOME_FAILED,
    };
    assert_eq!(last.status, status, "{script}");
    let refused = (1..).zip(done).filter(|(_, outcome)| **outcome == 'r');
    let refused: Vec<String> = refused.map(|(n, _)| name(n)).collect();
    let mut list = refused.join("\\").into_bytes();
    list.resize(list.len().next_multiple_of(2), 0);
    let named = (!refused.is_empty()).then(|| encode(&[value(0x0008_0058, Vr::UI, &list)], EXPLICIT));
    assert_eq!(last.identifier, named, "{script}: those that failed and have a name, each once");

    let told = scp.ended.lock().unwrap().pop().unwrap();
    let counts = Counts {
        remaining: Some(told.remaining).filter(|remaining| *remaining > 0),
        completed: told.completed,
        failed: told.failed,
        warning: told.warning,
    };
    assert_eq!((counts, told.failed_instances), (last.counts, refused), "{script}: the ledger is told the same");
    assert_eq!(told.how, if not_begun > 0 { "cancelled" } else { "done" }, "{script}");
}

/// INV-17: whatever becomes of its instances, and wherever it is cancelled, the counts of a retrieval add up to what was matched.
#[test]
fn the_counts_of_any_retrieval_add_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scp = runtime.block_on(async { Arc::new(Scripted::new()) });
    let outcomes = prop::collection::vec(prop::sample::select(vec!['t', 't', 'w', 'r', 'g']), 1..12);
    let begun = prop::option::of(any::<prop::sample::Index>());
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let tried = TestRunner::new(config).run(&(outcomes, begun), |(outcomes, begun)| {
        let begun = begun.map(|at| at.index(outcomes.len()));
        runtime.block_on(retrieve(&scp, &outcomes, begun));
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
}

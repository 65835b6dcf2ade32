//! Killing A at any moment, and cutting its power, loses nothing that was acknowledged and tears nothing.

use crate::support::files::Noise;
use crate::support::gateway::Gateway;
use crate::support::load::{Acknowledged, Load, Work};
use crate::support::power::LoopDisk;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::tools::sabotaged;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::{ledger, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// How often, unless a long run says otherwise.
fn rounds(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// A seed of its own for each run, printed, so that a run can be told again.
fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = rounds("WEYBRIDGE_SEED", u64::from(clock.subsec_nanos()));
    println!("WEYBRIDGE_SEED={seed}");
    seed
}

/// The acknowledged instances that a site does not show.
fn missing(a: &Gateway, acknowledged: &BTreeSet<Acknowledged>) -> Vec<Acknowledged> {
    let mut held: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (study, _) in acknowledged {
        held.entry(study).or_insert_with(|| {
            let rows = a.study(study);
            rows.iter().map(|row| row["sop_instance_uid"].as_str().unwrap().to_owned()).collect()
        });
    }
    acknowledged.iter().filter(|(study, instance)| !held[study.as_str()].contains(instance)).cloned().collect()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() {
    let kills = rounds("WEYBRIDGE_KILLS", 30);
    let mut noise = Noise::new(seed());
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()));
    let work = Work { story: 201, senders: 4, pixel_bytes: 60_000, per_study: 50 };
    let load = Load::start(work, a.config.dicom_port, "WB_A");
    for kill in 1..=kills {
        let before = load.acknowledged();
        wait::until(seconds(60), "the senders are at work", || (load.acknowledged() > before).then_some(()));
        // Any moment, not one that is convenient for the gateway.
        std::thread::sleep(Duration::from_millis(noise.below(400)));
        a.kill();
        a.up();
        assert!(a.process().ended().is_none(), "it starts after kill {kill}");
    }
    let acknowledged = load.stop();
    let lost = missing(&a, &acknowledged);
    println!("summary: {kills} kills; {} acknowledged; {} lost", acknowledged.len(), lost.len());
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    a.verify_ledger(true);
    // What was in flight at a kill may be there without an acknowledgement; it is owed and delivered all the same.
    until(seconds(240), "all of it is verified at B", || {
        let (owed, verified) = a.transfers("b", "verified");
        (owed == verified && owed >= acknowledged.len() as u64).then_some(())
    });
    let absent = ledger::found_absent(&a, "b");
    for (instance, times) in b.arrivals() {
        assert!(times == 1 || absent.contains(&instance), "{instance} was sent {times} times without need");
    }
}

/// What one power cut left behind.
#[derive(Debug, Default)]
struct Damage {
    acknowledged: usize,
    lost: usize,
    torn: bool,
}

/// Load, a cut at a random moment, power back: what is missing, what is torn?
fn power_cut(story: u64, moment: Duration, binary: Option<PathBuf>) -> Damage {
    let stage = Stage::new();
    let disk = LoopDisk::new(stage.path(), 1024);
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut config = stage.site_a(&b.url());
    config.data_dir = disk.mount.join("data").to_str().unwrap().to_owned();
    if binary.is_some() {
        // Without O_DIRECT the kernel keeps what was never synced to itself, as the sabotage wants it.
        config = config.with("[store]\ndirect = false");
    }
    let mut a = Gateway::prepare(&stage.path().join("a"), config);
    if let Some(binary) = binary {
        a = a.with_binary(&binary);
    }
    a.up();
    let work = Work { story, senders: 4, pixel_bytes: 200_000, per_study: 50 };
    let load = Load::start(work, a.config.dicom_port, "WB_A");
    until(seconds(60), "the senders are at work", || (load.acknowledged() > 20).then_some(()));
    std::thread::sleep(moment);
    disk.cut();
    a.kill();
    let acknowledged = load.stop();
    disk.restore();
    a.up();
    let damage = Damage {
        acknowledged: acknowledged.len(),
        lost: missing(&a, &acknowledged).len(),
        torn: a.cli(&["ledger", "verify", "--blobs"]).code != Some(0),
    };
    a.kill();
    println!("cut after {} ms: {damage:?}", moment.as_millis());
    damage
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    let cuts = rounds("WEYBRIDGE_CUTS", 3);
    let mut noise = Noise::new(seed());
    let (mut acknowledged, mut lost, mut torn) = (0, 0, 0);
    for cut in 0..cuts {
        let damage = power_cut(300 + cut, Duration::from_millis(noise.below(3000)), None);
        acknowledged += damage.acknowledged;
        lost += damage.lost;
        torn += u64::from(damage.torn);
    }
    println!("summary: {cuts} power cuts; {acknowledged} acknowledged; {lost} lost; {torn} with torn blobs");
    assert_eq!((lost, torn), (0, 0));
}

#[test]
fn the_power_cut_would_show_a_missing_sync() {
    let binary = sabotaged("no-blob-sync");
    let mut noise = Noise::new(seed());
    let harmed = (0..5).any(|cut| {
        let damage = power_cut(400 + cut, Duration::from_millis(noise.below(1500)), Some(binary.clone()));
        damage.lost > 0 || damage.torn
    });
    assert!(harmed, "five cuts of a gateway that does not sync its blobs lost nothing: the harness sees nothing");
}

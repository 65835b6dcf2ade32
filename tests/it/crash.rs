//! Killing A at any moment, and cutting its power, loses nothing that was acknowledged and tears nothing.

use crate::support::calls::{self, Plan};
use crate::support::damage::{Damage, rounds, seed};
use crate::support::delivery::Delivery;
use crate::support::files::Noise;
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::load::{Load, Work};
use crate::support::power::LoopDisk;
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{self, seconds, until};
use std::time::Duration;

#[test]
fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() {
    let kills = rounds("WEYBRIDGE_KILLS", 30);
    let mut noise = Noise::new(seed());
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.keep_digests_only();
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()));
    let work = Work { story: 201, senders: 4, pixel_bytes: 60_000, per_study: 50 };
    let load = Load::start(work, a.config.dicom_port, "WB_A");
    for kill in 1..=kills {
        let before = load.acknowledged();
        wait::until(seconds(60), "the senders are at work", || (load.acknowledged() > before).then_some(()));
        // Any moment, not one that is convenient for the gateway.
        std::thread::sleep(Duration::from_millis(noise.below(400)));
        assert!(a.process().ended().is_none(), "it lives until kill {kill}");
        a.kill();
        a.up();
        assert!(a.process().ended().is_none(), "it starts after kill {kill}");
    }
    let sent = load.stop();
    let damage = Damage::of(&a, &sent);
    println!("summary: {kills} kills; {}", damage.summary());
    assert!(damage.none(), "{damage:?}");
    // What was in flight at a kill may be there without an acknowledgement; it is owed and delivered all the same.
    let delivery = Delivery::of(&a, &b, &sent);
    println!("summary: {}", delivery.summary());
    assert!(delivery.none(), "{delivery:?}");
    note_fired(kills as usize);
}

/// What stands in the path of each file of blobs: their names are numbers.
const BLOB: &str = "blobs/0";

/// How the gateway of a power cut writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// By its defaults.
    Usual,
    /// Through the page cache.
    Cached,
    /// Through the page cache too, and no sync of a blob is carried out: what it believes to be synced stays there.
    Unsynced,
}

/// Load, a cut at a random moment, power back: what is missing, what is torn, and what comes of it at B? What is not sound any more does
/// not come there, and is not waited for.
fn power_cut(story: u64, moment: Duration, writes: Writes) -> (Damage, Delivery) {
    let stage = Stage::new();
    let disk = LoopDisk::new(stage.path(), 1024);
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.keep_digests_only();
    let mut config = stage.site_a(&b.url());
    config.data_dir = disk.mount.join("data").to_str().unwrap().to_owned();
    if writes != Writes::Usual {
        config = config.with("[store]\ndirect = false");
    }
    let mut a = Gateway::prepare(&stage.path().join("a"), config);
    let log = calls::Log::at(stage.path().join("calls"));
    match writes {
        Writes::Usual | Writes::Cached => a.up(),
        Writes::Unsynced => a.up_through(Plan::leave_out(calls::SYNC, BLOB).wrapper(&a.data_dir(), &log)),
    }
    let work = Work { story, senders: 4, pixel_bytes: 200_000, per_study: 50 };
    let load = Load::start(work, a.config.dicom_port, "WB_A");
    until(seconds(60), "the senders are at work", || (load.acknowledged() > 20).then_some(()));
    std::thread::sleep(moment);
    // The processor stops with the disk. Were it to run on, it would hear lies: see LoopDisk::cut.
    a.process().freeze();
    disk.cut();
    a.kill();
    let sent = load.stop();
    disk.restore();
    a.up();
    let damage = Damage::of(&a, &sent);
    println!("{writes:?}, cut after {} ms: {}", moment.as_millis(), damage.summary());
    let delivery = if damage.none() { Delivery::of(&a, &b, &sent) } else { Delivery::default() };
    a.kill();
    (damage, delivery)
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    let cuts = rounds("WEYBRIDGE_CUTS", 3);
    let mut noise = Noise::new(seed());
    let (mut fired, mut damage, mut delivery) = (0, Damage::default(), Delivery::default());
    for cut in 0..cuts {
        for (story, writes) in [(300, Writes::Usual), (600, Writes::Cached)] {
            let found = power_cut(story + cut, Duration::from_millis(noise.below(3000)), writes);
            damage.add(found.0);
            delivery.add(found.1);
            fired += 1;
        }
    }
    println!("summary: {cuts} power cuts for each way of writing; {}; {}", damage.summary(), delivery.summary());
    assert!(damage.none(), "{damage:?}");
    assert!(delivery.none() && delivery.acknowledged == damage.acknowledged, "{delivery:?}");
    note_fired(fired);
}

#[test]
fn the_power_cut_would_show_a_missing_sync() {
    let mut noise = Noise::new(seed());
    let harmed = (0..5).any(|cut| {
        let (damage, _) = power_cut(900 + cut, Duration::from_millis(noise.below(1500)), Writes::Unsynced);
        let others: Vec<&String> = damage.problems.iter().filter(|line| !line.starts_with("blob ")).collect();
        assert!(others.is_empty(), "only the blobs were not synced: {others:?}");
        !damage.lost.is_empty() || !damage.torn.is_empty() || !damage.aside.is_empty()
    });
    assert!(harmed, "five cuts of a gateway that does not sync its blobs lost nothing: the harness sees nothing");
}

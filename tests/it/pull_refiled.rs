//! A site has filed a study under another patient since it was pulled from there: a rule gives the copy to nobody, a viewer opens one series
//! of it all the same, and what came from elsewhere stays its own word.

use crate::pull_believed::{AFTER, correct};
use crate::pull_scripted::{PRIORS, Scene, counts, instance, study};
use crate::support::config::free_port;
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::holder::Holder;
use crate::support::neighbours::{NHS, Neighbour, asking, identity};
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::tools::tool;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use crate::viewer::TOKEN;
use std::process::Command;

/// IDY-040: of two studies that a site shows for a patient one was corrected since it was pulled. A rule of `[[prefetch]]` gives its node the
/// other one, and not the copy that names the patient before; and it says so.
#[test]
fn a_rule_gives_no_copy_of_another_patient() {
    let rule = format!("{PRIORS}\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"all\"\nnewest = 10\nto = \"OUT\"\n");
    let scene = Scene::start(&rule);
    scene.hold(650, 2);
    scene.b.files(&study(650), NHS, "NHS");
    assert_eq!(counts(&scene.take(650)), (0, [2, 0, 0]));
    correct(&scene, 650, 2, (NHS, "NHS"));
    // What it files otherwise and gives as before is its own word.
    scene.hold(651, 1);
    scene.b.files(&study(651), NHS, "NHS");
    assert_eq!(counts(&scene.take(651)), (0, [1, 0, 0]));

    scene.a.cli(&["priors", "prefetch", "--nhs", NHS]).ok("prefetch");
    let told = prefetched(&scene, "2 studies chosen");
    assert_eq!(scene.a.transfers("OUT", "instances").0, 1, "{told}");
    let why = scene.a.cli(&["why", &study(651)]).ok("why");
    assert!(why.contains("rule \"all\" of [[prefetch]]"), "{why}");
    assert!(told.contains("not given to OUT: a study whose site files it under another patient by now"), "{told}");
    let why = scene.a.cli(&["why", &study(650)]).ok("why");
    assert!(why.contains("has not given 2 instances again as they are here"), "{why}");
}

/// IDY-040: a site whose entry names an issuer refuses to be asked for one study. Whether the number of what it gives is that issuer's nobody
/// knows: a rule pulls it, and gives it to nobody.
#[test]
fn a_rule_gives_no_copy_of_which_nobody_says_whose_it_is() {
    let rule = format!("{PRIORS}\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"all\"\nnewest = 10\nto = \"OUT\"\n");
    let scene = Scene::knowing(&rule, "issuer = \"RAA\"");
    scene.hold(652, 2);
    scene.b.files(&study(652), NHS, "NHS");
    scene.b.refuses_one_study(403);
    scene.a.cli(&["priors", "prefetch", "--nhs", NHS]).ok("prefetch");
    let told = prefetched(&scene, "1 studies chosen");
    assert_eq!((scene.a.holds(&study(652)), scene.a.transfers("OUT", "instances").0), (2, 0), "{told}");
    assert!(told.contains("not given to OUT: a study of which its site does not say whose it is"), "{told}");
}

/// IDY-040: the site from which a copy came has corrected the study since. Another shows it as it was, and is the only one that a rule asks:
/// that makes the copy no surer.
#[test]
fn a_rule_that_asks_another_site_gives_no_copy_of_another_patient() {
    let stage = Stage::new();
    let [b, c] = ["b", "c"].map(|name| Holder::start(&identity(&stage, name)));
    let out = StoreScp::start(&stage.path().join("out"), "OUT");
    let tables = format!(
        "[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\n\
         [priors]\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"all\"\nnewest = 10\nsites = [\"c\"]\nto = \"OUT\"\n",
        out.port
    );
    let neighbours = [("b", b.url()), ("c", c.url())].map(|(name, url)| Neighbour::new(name, &url));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, &tables));
    let scene = Scene { a, b, out, stage };
    scene.hold(653, 1);
    scene.a.cli(&["priors", "pull", &study(653)]).ok("pull");
    let (names, file) = instance(653, 1);
    c.hold(&names.study, &names.series, &file);
    c.files(&study(653), NHS, "NHS");
    correct(&scene, 653, 1, (AFTER, ""));
    scene.a.cli(&["priors", "prefetch", "--nhs", NHS]).ok("prefetch");
    let told = prefetched(&scene, "1 studies chosen");
    assert_eq!(scene.a.transfers("OUT", "instances").0, 0, "{told}");
    assert!(told.contains("not given to OUT: a study whose site files it under another patient by now"), "{told}");
}

/// What is said of a prefetch once it was tried.
fn prefetched(scene: &Scene, words: &str) -> String {
    until(seconds(60), "it was tried", || {
        let rows = scene.a.ask(&["priors", "list", "--json"]);
        let how = rows.iter().find(|row| row["prefetch"].is_number())?["how"].as_str()?.to_owned();
        how.contains(words).then_some(how)
    })
}

/// An instance of the second series of a study.
fn second_series(story: u64) -> Names {
    let study = study(story);
    Names { series: format!("{study}.2"), instance: format!("{study}.2.1"), study }
}

/// What a viewer at this port is answered that opens the study, or one series of it.
fn opened(port: u16, series: Option<&str>) -> (u16, String) {
    let below = series.map(|series| format!("/series/{series}")).unwrap_or_default();
    let mut command = Command::new(tool("curl"));
    command.args(["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"]);
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
    command.arg(format!("http://127.0.0.1:{port}/dicom-web/studies/{}{below}/metadata", study(660)));
    let said = finish(&mut command, seconds(60)).ok("retrieve");
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// IDY-040, WEB-100: a study of two series is filed otherwise by now. Whoever opens one series of it has that retrieved again, and gets it if
/// it is the same; the other series has no part in that.
#[test]
fn one_series_of_a_refiled_study_is_opened() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (token, port) = (folder.path().join("viewer.token"), free_port());
    std::fs::write(&token, TOKEN).unwrap();
    let viewer = format!(
        "{PRIORS}\n[[node]]\nae_title = \"VIEWER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nforeign = \"as_is\"\n\
         [viewer]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\nnode = \"VIEWER\"\n",
        token.display()
    );
    let scene = Scene::start(&viewer);
    scene.hold(660, 2);
    let of = second_series(660);
    let file = part10(SECONDARY_CAPTURE, &of.instance, EXPLICIT_LE, &data_set(&of, 4000, 1));
    scene.b.hold(&of.study, &of.series, &file);
    assert_eq!(opened(port, None).0, 200);
    scene.b.files(&study(660), AFTER, "");
    let first = names(660, 1, 1).series;
    let one = |series: &str, instance: &str| format!("{series}/instances/{instance}");
    let [one_of_first, one_of_second] = [one(&first, &instance(660, 1).0.instance), one(&of.series, &of.instance)];
    for series in [&of.series, &first, &one_of_first, &one_of_second] {
        let (status, told) = opened(port, Some(series));
        assert_eq!(status, 200, "{series}: {told}");
    }
    // The first series is another by now, and the second as it was.
    correct(&scene, 660, 2, (AFTER, ""));
    assert_eq!(opened(port, Some(&of.series)).0, 200);
    assert_eq!(opened(port, Some(&one_of_second)).0, 200);
    for series in [Some(first.as_str()), None, Some(&one_of_first)] {
        let (status, told) = opened(port, series);
        assert!(status == 503 && told.contains("has not given it again; if what it gives differs"), "{status} {told}");
    }
}

/// IDY-040: what a node of this site has sent here is given as it is, whatever another site has made of its own; a copy from there is not.
#[test]
fn what_a_node_sent_is_no_copy_of_a_refiled_study() {
    let scene = Scene::start(PRIORS);
    scene.hold(670, 1);
    assert_eq!(counts(&scene.take(670)), (0, [1, 0, 0]));
    let own = second_series(670);
    let mut pacs = Association::open(scene.a.config.dicom_port, "OUT", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    assert_eq!(pacs.store(SECONDARY_CAPTURE, &own.instance, &data_set(&own, 4000, 1)).unwrap(), Status::SUCCESS);
    pacs.release();
    correct(&scene, 670, 1, (AFTER, ""));
    // Another object under the name of the node's.
    let file = part10(SECONDARY_CAPTURE, &own.instance, EXPLICIT_LE, &data_set(&own, 4000, 2));
    scene.b.hold(&own.study, &own.series, &file);
    let answer = scene.take(670);
    assert_eq!(counts(&answer), (0xB000, [1, 1, 0]), "{answer}");
    assert_eq!(answer["identifier"]["FailedSOPInstanceUIDList"], instance(670, 1).0.instance.as_str());
    let held = scene.a.ask(&["exceptions", "list", "--json"]);
    let ours = held.iter().filter(|held| held.to_string().contains(&format!("{}\"", own.instance))).count();
    assert_eq!((held.len(), ours), (1, 0), "what came from the node is not put in question: {held:?}");
}

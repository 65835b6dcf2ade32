//! The administrator's commands on running and stopped sites: what they decide, what they tell, how they end.

use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, data_set_digest, digest, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::tools::demo_study;
use crate::support::two_sites::{Stage, TwoSites};
use crate::support::wait::seconds;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

/// A site whose only peer cannot be reached.
fn alone(stage: &Stage) -> Gateway {
    Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"))
}

fn push(site: &Gateway, number: u64) -> crate::support::files::Names {
    let names = names(80, 1, number);
    let port = site.config.dicom_port;
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let bytes = data_set(&names, 8 << 10, number);
    assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    association.release();
    names
}

#[test]
fn transfers_are_held_released_and_cancelled_by_a_named_person() {
    let stage = Stage::new();
    let site = alone(&stage);
    let names = push(&site, 1);
    let transfer = |field: &str| site.transfers("b", field);
    let no_reason = site.cli(&["transfers", "cancel", "--study", &names.study]);
    assert_eq!(no_reason.code, Some(2), "cancelling needs a reason");
    // The transfer may be in hand just then, which says no; it is free again after the attempt.
    let decide = |verb: &str, more: &[&str]| {
        let mut arguments = vec!["transfers", verb, "--study", &names.study];
        arguments.extend(more);
        crate::support::wait::until(seconds(30), verb, || (site.cli(&arguments).code == Some(0)).then_some(()));
    };
    decide("hold", &["--reason", "wrong patient?"]);
    assert_eq!(transfer("held"), (1, 1));
    decide("release", &[]);
    assert_eq!(transfer("pending"), (1, 1));
    let shown = site.cli(&["transfers", "show", "1"]).ok("show");
    assert!(shown.contains(&names.instance) && shown.contains(&names.study), "{shown}");
    assert_eq!(site.ask(&["transfers", "show", "1", "--json"])[0]["sop_instance_uid"], names.instance);
    let both = site.cli(&["transfers", "cancel", "1", "--to", "b", "--reason", "one or the other"]);
    assert_eq!(both.code, Some(2), "what is named by number is not narrowed besides: {both:?}");
    let unknown = site.cli(&["transfers", "retry", "1", "999"]);
    assert!(unknown.code == Some(1) && unknown.stdout.contains("transfer 999 was left as it is"), "{unknown:?}");
    let nowhere = site.cli(&["transfers", "retry", "--to", "nobody"]);
    assert!(nowhere.code == Some(2) && nowhere.stderr.contains("no such destination"), "{nowhere:?}");
    decide("cancel", &["--reason", "sent by disc"]);
    assert_eq!(transfer("cancelled"), (1, 1));
    assert_eq!(site.cli(&["transfers", "retry", "--study", &names.study]).code, Some(1), "cancelled is for good");
    let story = site.cli(&["why", &names.instance]).ok("why");
    for word in ["received", "all to b", "hold", "wrong patient?", "release", "cancel", "sent by disc"] {
        assert!(story.contains(word), "{word} is in the story:\n{story}");
    }
    site.verify_ledger(true);
}

#[test]
fn a_person_sends_files_to_a_destination_by_name() {
    let out = tempfile::tempdir().unwrap();
    let node = StoreScp::start(out.path(), "OUT");
    let stage = Stage::new();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").node("OUT", Some(node.port));
    let site = Gateway::start(&stage.path().join("a"), config);
    let files = demo_study("ct");
    let folder = files[0].parent().unwrap().to_str().unwrap();
    assert_eq!(site.cli(&["send", folder, "--to", "NOBODY"]).code, Some(2), "an unknown destination is wrong usage");
    let said = site.cli(&["send", folder, "--to", "OUT"]).ok("send");
    assert!(said.contains(&format!("to OUT: {} queued", files.len())), "{said}");
    site.all_become("OUT", "accepted", files.len() as u64, seconds(60));
    let mut sent: Vec<String> = files.iter().map(|file| data_set_digest(file)).collect();
    let mut arrived: Vec<String> = node.files().iter().map(|file| data_set_digest(file)).collect();
    sent.sort();
    arrived.sort();
    assert_eq!(arrived, sent, "byte for byte");
    assert_eq!(site.transfers("b", "pending"), (0, 0), "routes are not asked when a person names the destination");
    let broken = stage.path().join("broken.dcm");
    std::fs::write(&broken, b"no DICOM").unwrap();
    assert_eq!(site.cli(&["send", broken.to_str().unwrap(), "--to", "OUT"]).code, Some(1));
}

/// UIX-04: what is no DICOM, however long, is refused by itself, the rest of its folder goes, and who stops reading stops only that.
#[test]
fn a_folder_with_what_is_no_dicom_in_it_is_sent_all_the_same() {
    let stage = Stage::new();
    let site = alone(&stage);
    let folder = stage.path().join("disc");
    std::fs::create_dir(&folder).unwrap();
    let files = demo_study("ct");
    for (n, file) in files.iter().enumerate() {
        std::fs::copy(file, folder.join(format!("image-{n}.dcm"))).unwrap();
    }
    // By its name the first: whatever ends the command there keeps all the others back.
    std::fs::write(folder.join("autorun.bin"), vec![7; 8 << 20]).unwrap();
    let sent = site.cli(&["send", folder.to_str().unwrap(), "--to", "b"]);
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.stdout.contains(&format!("to b: {} queued, ", files.len())), "{sent:?}");
    assert!(sent.stdout.contains("0 not sent, 1 refused") && sent.stdout.contains("autorun.bin: "), "{sent:?}");

    let other = stage.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let wanted = 20;
    for n in 0..wanted {
        let names = names(80, 2, n);
        let file = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 8 << 10, n));
        std::fs::write(other.join(format!("{n}.dcm")), file).unwrap();
    }
    let mut told = site.command(&["send", other.to_str().unwrap(), "--to", "b", "--json"]);
    let mut told = told.stdout(Stdio::piped()).spawn().unwrap();
    drop(told.stdout.take());
    assert_eq!(told.wait().unwrap().code(), Some(0), "nobody reads what it says, and it does what it was told");
    let (instances, _) = site.transfers("b", "pending");
    assert_eq!(instances, files.len() as u64 + wanted, "all of them are queued");
}

/// UIX-04: of files that do not go, `send` does not say that they are queued: held as a conflict, rejected by a person or a note.
#[test]
fn send_says_of_each_file_what_became_of_it() {
    let out = tempfile::tempdir().unwrap();
    let node = StoreScp::start(out.path(), "OUT");
    let stage = Stage::new();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").node("OUT", Some(node.port));
    let site = Gateway::start(&stage.path().join("a"), config);
    let names = names(81, 1, 1);
    let file = |name: &str, seed: u64| {
        let path = stage.path().join(name);
        let bytes = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 8 << 10, seed));
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, other) = (file("one.dcm", 1), file("other.dcm", 2));
    let send = |file: &str, to: &str| site.cli(&["send", file, "--to", to]);
    let sum = |queued, there, held, not_sent| {
        format!(
            "{queued} queued, 0 on their way already, {there} there already, {held} wait for a person, {not_sent} not sent"
        )
    };
    assert!(send(&one, "OUT").ok("send").contains(&sum(1, 0, 0, 0)));
    site.all_become("OUT", "accepted", 1, seconds(60));
    let again = send(&one, "OUT").ok("send again");
    assert!(again.contains(&sum(0, 1, 0, 0)), "{again}");
    assert!(send(&one, "b").ok("to b").contains("1 queued"));
    assert!(send(&one, "b").ok("to b again").contains("0 queued, 1 on their way already"));
    let held = send(&other, "OUT");
    assert!(held.code == Some(1) && held.stdout.contains(&sum(0, 0, 1, 0)), "{held:?}");
    assert!(held.stdout.contains("other.dcm: waits for a person: the same SOP Instance UID"), "{held:?}");
    let number = site.ask(&["exceptions", "list", "--json"])[0]["exception"].to_string();
    // What a person writes is shown, and moves no cursor.
    let reason = "wrong\u{1b}[2J\nreceived from nobody";
    let decided = ["exceptions", "resolve", &number, "--as", "reject", "--by", "jo", "--reason", reason];
    site.cli(&decided).ok("reject");
    let story = site.cli(&["why", &names.instance]).ok("why");
    assert!(story.contains("wrong\\u{1b}[2J\\nreceived") && !story.contains('\u{1b}'), "{story}");
    let rejected = send(&other, "OUT");
    assert!(rejected.code == Some(1) && rejected.stdout.contains(&sum(0, 0, 0, 1)), "{rejected:?}");
    assert!(rejected.stdout.contains("other.dcm: not sent: a person rejected this version"), "{rejected:?}");
    let told = site.cli(&["send", &other, "--to", "OUT", "--json"]);
    let told: serde_json::Value = serde_json::from_str(told.stdout.trim()).unwrap();
    let said = [&told["file"], &told["sent"], &told["why"]];
    assert_eq!(said, [other.as_str(), "not_sent", "a person rejected this version"], "{told}");
    assert_eq!(node.files().len(), 1);
}

/// UIX-04: a name that is not UTF-8 is a name all the same.
#[test]
fn a_refused_file_is_told_of_whatever_its_name() {
    use std::os::unix::ffi::OsStrExt;
    let stage = Stage::new();
    let site = alone(&stage);
    let folder = stage.path().join("disc");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(std::ffi::OsStr::from_bytes(b"no\xff\x1b[2J.dcm")), "no DICOM").unwrap();
    let folder = folder.to_str().unwrap();
    let told = site.cli(&["send", folder, "--to", "b", "--json"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let told: serde_json::Value = serde_json::from_str(told.stdout.trim()).unwrap();
    assert!(told["file"].as_str().unwrap().contains("no\u{fffd}") && told["sent"] == "refused", "{told}");
    let told = site.cli(&["send", folder, "--to", "b"]);
    assert!(told.code == Some(1) && !told.stdout.contains('\u{1b}'), "{told:?}");
}

/// UIX-10: why a start fails stands at its end: what could not be done, and why.
#[test]
fn a_start_that_fails_says_why() {
    let stage = Stage::new();
    let site = Gateway::prepare(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let _taken = std::net::TcpListener::bind(("127.0.0.1", site.config.dicom_port)).unwrap();
    let failed = site.cli(&["serve"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let words = format!("cannot listen on 127.0.0.1:{}: Address already in use", site.config.dicom_port);
    assert!(failed.stderr.contains(&words), "{failed:?}");
}

/// Every page that the manual refers to is there, for everybody to read.
#[test]
fn the_manual_has_a_page_for_each_command() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    let site = Gateway::prepare(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web"));
    let pages = stage.path().join("man1");
    std::fs::create_dir(&pages).unwrap();
    site.cli(&["man", pages.to_str().unwrap()]).ok("man");
    let main = site.cli(&["man"]).ok("man");
    let referred: Vec<&str> =
        main.split("weybridge\\-").skip(1).filter_map(|rest| rest.split_once("(1)")).map(|(name, _)| name).collect();
    assert!(referred.len() > 15, "{referred:?}");
    for name in referred {
        let page = pages.join(format!("weybridge-{name}.1"));
        let mode =
            std::fs::metadata(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display())).permissions().mode();
        assert_eq!(mode & 0o044, 0o044, "{name}");
    }
}

#[test]
fn read_commands_work_whether_the_gateway_runs_or_not() {
    let mut sites = TwoSites::start(None);
    let names = push(&sites.a, 2);
    sites.a.all_become("b", "verified", 1, seconds(60));
    let commands: &[&[&str]] = &[
        &["transfers", "list", "--json"],
        &["study", &names.study, "--json"],
        &["ledger", "verify", "--blobs", "--json"],
        &["store", "stats", "--json"],
        &["store", "verify", "--full", "--json"],
    ];
    let proof = &sites.a.ask(commands[2])[0];
    assert_eq!((&proof["blobs_read"], proof["bytes_read"].as_u64() > Some(8 << 10)), (&1.into(), true), "{proof}");
    let running: Vec<String> = commands.iter().map(|command| sites.a.cli(command).ok(command[0])).collect();
    let story = sites.a.cli(&["why", &names.study]).ok("why");
    assert!(story.contains("shown by QIDO-RS"), "the evidence is told: {story}");
    sites.a.stop();
    for (command, before) in commands.iter().zip(&running) {
        let after = sites.a.cli(command).ok(command[0]);
        assert_eq!(&after, before, "{command:?}");
    }
    let status = sites.a.cli(&["status"]).ok("status");
    assert!(status.contains("NOT RUNNING"), "{status}");
    let status = sites.a.cli(&["status", "--json"]).ok("status");
    let told: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(told["running"] == false && told["instances"] == 1, "who watches is told: {told}");
    assert_eq!(sites.a.cli(&["transfers", "retry", "--to", "b"]).code, Some(3), "a change needs the gateway");
}

#[test]
fn exported_files_are_what_was_received() {
    let stage = Stage::new();
    let site = alone(&stage);
    let names = push(&site, 3);
    let out = stage.path().join("out");
    site.cli(&["store", "export", &names.study, out.to_str().unwrap()]).ok("export");
    let file = out.join(format!("{}.dcm", names.instance));
    assert_eq!(data_set_digest(&file), digest(&data_set(&names, 8 << 10, 3)));
    assert_eq!(std::fs::read(&file).unwrap()[..128], [0; 128], "the preamble is empty");
}

#[test]
fn a_flipped_byte_in_a_blob_is_found_and_never_sent() {
    let stage = Stage::new();
    let mut site = alone(&stage);
    let names = push(&site, 4);
    site.stop();
    flip_blob(&site.data_dir().join("blobs"), &data_set(&names, 8 << 10, 4));
    let verified = site.cli(&["store", "verify", "--json"]);
    assert_eq!(verified.code, Some(5), "{verified:?}");
    let out = stage.path().join("out");
    let exported = site.cli(&["store", "export", &names.study, out.to_str().unwrap()]);
    assert_eq!(exported.code, Some(1), "{exported:?}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "nothing is left that looks like an image");
    assert_eq!(site.cli(&["ledger", "verify", "--blobs"]).code, Some(5));
    assert_eq!(site.cli(&["ledger", "verify"]).code, Some(0), "the ledger itself is whole");
    // A peer that can be reached now must not get it.
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    site.config = stage.site_a(&b.config.url());
    site.write_config();
    site.up();
    crate::support::wait::until(seconds(60), "the damage is noticed", || {
        site.log().contains("is damaged and is set aside").then_some(())
    });
    assert_eq!(b.cli(&["study", &names.study]).code, Some(1), "nothing of it reached B");
    // Nobody can send it again: a person says that it was seen, and it alarms no more.
    let alarm = site.ask(&["exceptions", "list", "--json"]).remove(0);
    let number = alarm["exception"].to_string();
    let seen = |decision| {
        site.cli(&["exceptions", "resolve", &number, "--as", decision, "--by", "Jo", "--reason", "the disk"])
    };
    let other = seen("release");
    assert!(other.code == Some(2) && other.stderr.contains("seen"), "{other:?}");
    seen("seen").ok("seen");
    assert!(site.ask(&["exceptions", "list", "--json"]).is_empty());
    let told = site.ask(&["exceptions", "show", &number, "--json"]).remove(0);
    let ended = [&told["ended_as"], &told["ended_by"], &told["reason"]];
    assert_eq!(ended, ["seen", "Jo", "the disk"], "{told}");
    let told = site.cli(&["exceptions", "show", &number]).ok("show");
    assert!(told.contains(" UTC seen\n") && told.contains("by        Jo: the disk"), "{told}");
    let all = site.cli(&["exceptions", "list", "--all"]).ok("list");
    assert!(all.contains("ENDED") && all.contains(" seen"), "{all}");
    assert_eq!(site.ask(&["store", "list", "--damaged", "--json"]).len(), 1, "it is damaged as before");
    push(&site, 4);
    site.all_become("b", "verified", 1, seconds(60));
    note_fired(1);
}

/// Finds the bytes of a data set in the blob files and flips one bit in its middle.
fn flip_blob(folder: &Path, bytes: &[u8]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        if let Some(at) = content.windows(64).position(|window| window == &bytes[..64]) {
            let at = at + bytes.len() / 2;
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
            file.sync_all().unwrap();
            return;
        }
    }
    panic!("the blob is nowhere below {}", folder.display());
}

#[test]
fn routes_are_explained_and_mistakes_pointed_at() {
    let stage = Stage::new();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").route("mr only", "b", "when = { modality = [\"MR\"] }");
    let config = config.with("[[node]]\nae_title = \"LOOKING\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"find\"]");
    let site = Gateway::prepare(&stage.path().join("a"), config);
    let file = stage.path().join("one.dcm");
    let names = names(80, 2, 1);
    std::fs::write(&file, part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 1024, 1))).unwrap();
    let file = file.to_str().unwrap();
    let told = site.cli(&["routes", "explain", file, "--node", "SENDER"]).ok("explain");
    assert!(told.contains("all to b: matches"), "{told}");
    assert!(told.contains("mr only: does not match"), "{told}");
    assert!(!told.contains("(to )"), "{told}");
    for unknown in [["--node", "NOBODY"], ["--peer", "nobody"]] {
        let said = site.cli(&[&["routes", "explain", file][..], &unknown].concat());
        assert!(said.code == Some(2) && said.stderr.contains("of this configuration"), "{said:?}");
    }
    let told = site.cli(&["routes", "explain", file]).ok("explain");
    assert!(told.contains("as if node SENDER sent it"), "{told}");
    let told = site.cli(&["routes", "explain", file, "--node", "LOOKING"]).ok("explain");
    assert!(told.contains("node LOOKING may not store"), "{told}");
    site.cli(&["check"]).ok("check");
    let mut text = std::fs::read_to_string(site.config_file()).unwrap();
    text.push_str("\n[courrier]\n");
    std::fs::write(site.config_file(), text).unwrap();
    let wrong = site.cli(&["check"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("courrier") && wrong.stderr.contains('^'), "{}", wrong.stderr);
    assert_eq!(site.cli(&["serve"]).code, Some(2), "and nothing is served with it");
}

/// UIX-11: a gateway goes on with the old configuration beside a broken one, and who only reads is answered; its socket comes back when
/// somebody has removed it, and `status` says what is the matter until then.
#[test]
fn who_only_reads_is_answered_beside_a_broken_configuration_and_without_a_socket() {
    let stage = Stage::new();
    let site = alone(&stage);
    let names = push(&site, 5);
    let whole = std::fs::read_to_string(site.config_file()).unwrap();
    std::fs::write(site.config_file(), format!("{whole}\n[courrier]\n")).unwrap();
    let study = names.study.as_str();
    let reading: [&[&str]; 7] = [
        &["status"],
        &["why", study],
        &["study", study],
        &["transfers", "list"],
        &["exceptions", "list"],
        &["store", "list"],
        &["ledger", "verify", "--blobs"],
    ];
    for command in reading {
        let told = site.cli(command);
        assert!(told.code == Some(0) && told.stderr.contains("courrier"), "{command:?}: {told:?}");
    }
    assert!(site.cli(&["status"]).stdout.contains("running for"));
    assert_eq!(
        site.cli(&["transfers", "retry", "--study", &names.study]).code,
        Some(2),
        "what changes something is not done"
    );
    std::fs::write(site.config_file(), whole).unwrap();
    std::fs::remove_file(site.data_dir().join("admin.sock")).unwrap();
    let told = site.cli(&["status"]).ok("status");
    assert!(told.contains("holds its data directory") && !told.contains("NOT RUNNING"), "{told}");
    crate::support::wait::until(seconds(60), "the socket is made anew", || {
        site.cli(&["status"]).stdout.contains("running for").then_some(())
    });
}

/// UIX-04: one rule for all commands. What is not there ends with 1, a name that is not configured and a UID that is none with 2, and
/// an empty list with 0.
#[test]
fn what_is_not_there_has_one_exit_code_and_what_is_not_configured_another() {
    let stage = Stage::new();
    let site = alone(&stage);
    let out = stage.path().join("out");
    let out = out.to_str().unwrap();
    let absent = "transfers show 999|transfers retry 999|transfers retry --study 2.25.1|exceptions show 999|\
                  exceptions resolve 999 --as cancel --by jo --reason x|study 2.25.1|why 2.25.1|store export 2.25.1 OUT|\
                  store drop 2.25.1 --reason x|send --study 2.25.1 --to b|send --patient NOBODY --to b|\
                  rejections show 2.25.1|rejections undo 2.25.1 --by jo --reason x|patients show NOBODY|\
                  patients access NOBODY|patients unlearn NOBODY --issuer X --source y --by jo --reason x|\
                  priors drop 2.25.1 --reason x";
    let unknown = "peers test nobody|peers probe nobody|peers pause nobody --reason x|peers resume nobody|nodes test NOBODY|\
                   nodes poll NOBODY|nodes poll SENDER|nodes pause NOBODY --reason x|nodes resume NOBODY|reconcile nobody|\
                   transfers retry --to nobody|send --study 2.25.1 --to nobody|send --study 2.25.1 --from nobody --to b|\
                   priors pull 2.25.1 --from nobody";
    let malformed = "study x|why x|store export x OUT|store drop x --reason x|rejections show x|transfers list --state bad|\
                     transfers retry --to b --state bad";
    let empty =
        "transfers list --study 2.25.1|transfers list --to nobody|exceptions list|rejections list|store list --damaged";
    for (code, commands) in [(1, absent), (2, unknown), (2, malformed), (0, empty)] {
        for command in commands.split('|') {
            let arguments: Vec<&str> = command.split(' ').map(|word| if word == "OUT" { out } else { word }).collect();
            let said = site.cli(&arguments);
            assert_eq!((said.code, said.stderr.is_empty()), (Some(code), code == 0), "{command}: {said:?}");
        }
    }
}

#[test]
fn init_writes_what_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new();
    let mut site = Gateway::prepare(folder.path(), stage.site_b());
    std::fs::remove_file(site.config_file()).unwrap();
    let tls = folder.path().join("tls");
    for wrong in ["../x", "", "site"] {
        let said = site.cli(&["init", "--dev-certs", "--also", wrong]);
        assert!(said.code == Some(2) && said.stderr.contains("nothing was written"), "{wrong}: {said:?}");
        assert!(!site.config_file().exists() && !tls.exists(), "{wrong}");
    }
    site.cli(&["init"]).ok("init");
    let written = std::fs::read(site.config_file()).unwrap();
    assert_eq!(site.cli(&["init"]).code, Some(2), "nothing is overwritten");
    let said = site.cli(&["init", "--dev-certs", "--also", "b.example"]).ok("init of keys alone");
    assert!(said.contains("stays as it is") && said.contains("names b.example, localhost, 127.0.0.1"), "{said}");
    assert_eq!(std::fs::read(site.config_file()).unwrap(), written);
    assert!(tls.join("b.example.key").exists());
    assert_eq!(site.cli(&["init", "--dev-certs"]).code, Some(2), "nor are keys");
    std::fs::remove_file(site.config_file()).unwrap();
    std::fs::remove_dir_all(&tls).unwrap();
    site.cli(&["init", "--dev-certs"]).ok("init");
    site.cli(&["check"]).ok("check");
    site.launch();
    crate::support::wait::until(seconds(30), "status answers", || {
        site.cli(&["status"]).stdout.contains("running for").then_some(())
    });
    site.stop();
}

#[test]
fn peers_and_nodes_are_tried_before_anything_is_sent() {
    let out = tempfile::tempdir().unwrap();
    let node = StoreScp::start(out.path(), "OUT");
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let stranger = "[[peer]]\nname = \"elsewhere\"\nurl = \"https://no-such-host.invalid/dicom-web\"";
    let wrong = format!("[[peer]]\nname = \"wrong\"\nurl = \"{}\"\nidentity = \"c.weybridge.test\"", b.config.url());
    let config =
        stage.site_a(&b.config.url()).with(stranger).with(&wrong).node("OUT", Some(node.port)).node("GONE", Some(9));
    let site = Gateway::prepare(&stage.path().join("a"), config);
    let good = site.cli(&["peers", "test", "b"]).ok("peers test");
    assert!(good.lines().all(|line| line.ends_with("ok")), "{good}");
    for (peer, code, step, words) in [
        ("elsewhere", 3, "name", "cannot be resolved"),
        ("wrong", 4, "identity", "does not carry the configured identity"),
    ] {
        let said = site.cli(&["peers", "test", peer]);
        assert_eq!(said.code, Some(code), "{said:?}");
        let failed = said.stdout.lines().find(|line| line.starts_with(step)).unwrap();
        assert!(failed.contains(words), "{said:?}");
    }
    site.cli(&["nodes", "test", "OUT"]).ok("nodes test");
    assert_eq!(site.cli(&["nodes", "test", "GONE"]).code, Some(3));
    assert_eq!(site.ask(&["peers", "list", "--json"]).len(), 3);
    assert_eq!(site.ask(&["nodes", "list", "--json"]).len(), 4);
}

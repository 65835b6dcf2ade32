//! Wrong files with the exact message; the reference against the code; the examples.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::certs::{DevAuthority, SiteKeys, Validity};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::fired::note_fired;
use crate::peers::{Destination, Foreign, Party, Verify};
use proptest::prelude::*;
use std::fs;
use std::time::Duration;

mod bad;
mod reference;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes keys where the examples expect them: `tls/NAME.crt`, `tls/NAME.key`, `tls/trust.pem`.
fn write_keys(directory: &Path, authority: &DevAuthority, name: &str, keys: &SiteKeys) {
    use std::os::unix::fs::PermissionsExt;
    let tls = directory.join("tls");
    fs::create_dir_all(&tls).unwrap();
    fs::write(tls.join("trust.pem"), authority.trust()).unwrap();
    fs::write(tls.join(format!("{name}.crt")), &keys.certificate).unwrap();
    let key = tls.join(format!("{name}.key"));
    fs::write(&key, &keys.key).unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory with good keys for the site `name`.
fn with_keys(name: &str) -> tempfile::TempDir {
    let directory = directory();
    let authority = DevAuthority::create().unwrap();
    let keys = authority.site(name, &["site.example"], Validity::days(365)).unwrap();
    write_keys(directory.path(), &authority, name, &keys);
    directory
}

fn load(directory: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let path = directory.join("weybridge.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path)
}

/// The least that works.
const LEAST: &str = r#"
[site]
name = "Least"
[dicom]
listen = "127.0.0.1:11112"
[[node]]
ae_title = "PACS"
from_addresses = ["127.0.0.1"]
may = ["store"]
"#;

#[test]
fn the_least_configuration_has_the_defaults() {
    let directory = directory();
    let config = load(directory.path(), LEAST).unwrap();
    assert_eq!(config.site.data_dir, directory.path().join("data"));
    assert_eq!(config.dicom.ae_title.as_str(), "WEYBRIDGE");
    assert_eq!((&config.timers, &config.limits), (&Timers::default(), &Limits::default()));
    assert_eq!((&config.courier, &config.store), (&Courier::default(), &StoreSettings::default()));
    assert!(config.tls.is_none() && config.peers.is_empty() && config.routes.is_empty());
    let node = &config.nodes[0];
    assert!(node.may.store && !node.may.find && !node.may.receive, "only what is said is allowed");
    assert_eq!((node.verify, node.foreign, node.conflict_is_failure), (Verify::Accepted, Foreign::Prefix, false));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn the_starter_works_with_and_without_keys() {
    let directory = with_keys("site");
    let plain = load(directory.path(), &init_template(false)).unwrap_or_else(|e| panic!("{e}"));
    assert!(plain.tls.is_none() && plain.web.listen.is_none());
    let with_keys = load(directory.path(), &init_template(true)).unwrap_or_else(|e| panic!("{e}"));
    assert!(with_keys.tls.is_some() && with_keys.web.listen.is_some());
    assert!(plain.warnings.is_empty() && with_keys.warnings.is_empty());
    assert!(!init_template(true).contains('~') && !init_template(false).contains('~'));
}

#[test]
fn the_two_hospitals_fit_each_other() {
    let site = |name: &str| {
        let directory = with_keys(&format!("{name}.hospital.example"));
        let text = fs::read_to_string(format!("config/two-hospitals/{name}.toml")).unwrap();
        load(directory.path(), &text).unwrap_or_else(|e| panic!("{e}"))
    };
    let (a, b) = (site("a"), site("b"));
    assert!(a.warnings.is_empty() && b.warnings.is_empty(), "{:?} {:?}", a.warnings, b.warnings);
    for (own, other) in [(&a, &b), (&b, &a)] {
        let port = other.web.listen.unwrap().port();
        assert!(own.peers[0].url.contains(&format!(":{port}/")), "each calls the other");
        assert!(own.peers[0].may.store && own.peers[0].may.query);
    }
    let registry = a.registry();
    let titles: Vec<&str> = registry.our_titles().map(AeTitle::as_str).collect();
    assert_eq!(titles, ["TO_B", "WEYBRIDGE_A"], "a title that a route names is ours");
    assert!(matches!(registry.destination(&Destination("b".into())), Some(Party::Peer(_))));
}

#[test]
fn values_are_read_in_their_units() {
    let text = format!(
        "{LEAST}[timers]\nconnect = \"1500ms\"\ndrain = \"2h\"\n[store]\nreserve = 1048576\nsegment = \"1 GiB\"\n\
         [courier]\ngive_up_after = \"5d\"\n[limits]\nvalue = \"2KiB\"\n"
    );
    let config = load(directory().path(), &text).unwrap();
    assert_eq!(config.timers.connect, Duration::from_millis(1500));
    assert_eq!(config.timers.drain, Duration::from_secs(7200));
    assert_eq!((config.store.reserve_bytes, config.store.segment_bytes), (Some(1 << 20), 1 << 30));
    assert_eq!(config.courier.give_up_after, Duration::from_secs(432_000));
    assert_eq!(config.limits.value_bytes, 2048);
}

const WITH_TLS: &str = r#"
[site]
name = "Secure"
[web]
listen = "127.0.0.1:8443"
[tls]
certificate = "tls/site.crt"
key = "tls/site.key"
trust = "tls/trust.pem"
[[peer]]
name = "surrey"
url = "https://gateway.surrey.example/dicom-web/"
may = ["store"]
"#;

#[test]
fn a_peer_is_known_by_its_host_unless_it_has_an_identity() {
    let config = load(with_keys("site").path(), WITH_TLS).unwrap();
    assert_eq!(config.peers[0].identity, "gateway.surrey.example");
    assert_eq!(config.peers[0].url, "https://gateway.surrey.example/dicom-web", "without the slash");
    assert_eq!(config.peers[0].verify, Verify::Present);
}

#[test]
fn certificates_are_warned_of_before_they_end() {
    let directory = directory();
    let authority = DevAuthority::create().unwrap();
    let server_only = [rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let both = [rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let rows: &[(Validity, &[_], &[&str])] = &[
        (Validity::days(31), &both, &[]),
        (Validity::days(20), &both, &["this certificate (CN=site) expires in 19 days"]),
        (Validity::days(0), &both, &["this certificate (CN=site) has expired"]),
        (Validity::expired(), &both, &["this certificate (CN=site) has expired"]),
        (Validity::days(99), &server_only, &["the certificate may not identify a client (extended key usage)"]),
    ];
    let mut warned = 0;
    for (validity, usage, want) in rows {
        let keys = authority.issue("site", &["site.example"], *validity, usage).unwrap();
        write_keys(directory.path(), &authority, "site", &keys);
        let config = load(directory.path(), WITH_TLS).unwrap();
        let got: Vec<&str> = config.warnings.iter().map(|w| w.message.as_str()).collect();
        assert_eq!(got, *want);
        assert!(config.warnings.iter().all(|w| w.position == Some((7, 15)) && w.rendered.contains("^^^")));
        warned += usize::from(got.iter().any(|told| told.contains("expire")));
    }
    note_fired(warned);
}

/// DIM-020, DIM-113: a certificate that is nobody's, and the end of an authority that stands in its file.
#[test]
fn a_certificate_without_names_and_an_authority_that_ended_are_warned_of() {
    let directory = directory();
    let authority = DevAuthority::create().unwrap();
    let ended = authority.site("ended", &["x.example"], Validity::expired()).unwrap().certificate;
    let rows: [(&[&str], &str, &[&str]); 4] = [
        (&["site.example"], "", &[]),
        (&["192.0.2.7"], "", &[]),
        (&[], "", &["the certificate has no subject alternative name (DNS name, IP address or URI)"]),
        (&["site.example"], &ended, &["the authority in this file (CN=ended) has expired"]),
    ];
    for (names, above, want) in rows {
        let mut keys = authority.site("site", names, Validity::days(99)).unwrap();
        keys.certificate.push_str(above);
        write_keys(directory.path(), &authority, "site", &keys);
        let warnings = load(directory.path(), WITH_TLS).unwrap_or_else(|e| panic!("{e}")).warnings;
        assert_eq!(warnings.iter().map(|w| w.message.as_str()).collect::<Vec<_>>(), want, "{names:?}");
    }
}

/// A list that names nobody withholds nothing: it is taken, and told, since one that was cut by accident looks the same.
#[test]
fn a_list_of_patients_that_names_nobody_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let file = directory.path().join("objections.csv");
    let text = format!("{LEAST}[[withhold]]\nname = \"objections\"\npatients = \"objections.csv\"\n");
    for (list, warned) in [("4000000004\n", 0), ("", 1), ("\u{feff}\n# nobody yet\n", 1)] {
        fs::write(&file, list).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let warnings = load(directory.path(), &text).unwrap_or_else(|e| panic!("{e}")).warnings;
        let told = |w: &&Mistake| w.hint == EMPTY_LIST && w.message.contains("objections.csv");
        assert_eq!((warnings.iter().filter(told).count(), warnings.len()), (warned, warned), "{list:?}: {warnings:?}");
    }
}

/// A list that is written and empty would take nothing, which nobody means who writes it (DIM-033).
#[test]
fn an_empty_list_that_would_take_nothing_is_a_mistake() {
    let directory = directory();
    let hl7 = "[hl7]\nlisten = \"127.0.0.1:2575\"\nfrom_addresses = [\"10.1.5.5\"]\n";
    let rows = [
        ("sop_classes = []\n".to_owned(), Some("`sop_classes` in [[node]] is empty")),
        ("sop_classes = [\"1.2.840.10008.5.1.4.1.1.2\"]\n".to_owned(), None),
        (format!("{hl7}processing = []\n"), Some("`processing` in [hl7] is empty")),
        (format!("{hl7}processing = [\"T\"]\n"), None),
    ];
    for (text, want) in rows {
        let errors = load(directory.path(), &format!("{LEAST}{text}")).err();
        let messages: Vec<String> = errors.into_iter().flat_map(|e| e.mistakes).map(|m| m.message).collect();
        assert_eq!(messages, Vec::from_iter(want), "{text}");
    }
}

/// DIM-020: whoever may call from anywhere is told of, by DIMSE and by HL7.
#[test]
fn who_lets_any_machine_call_is_warned() {
    let directory = directory();
    let hl7 = |from: &str| format!("{LEAST}[hl7]\nlisten = \"127.0.0.1:2575\"\nfrom_addresses = [{from}]\n");
    let any = "any machine may send orders and changes of patients to [hl7]";
    let rows = [
        (
            LEAST.replace("\"127.0.0.1\"]", "\"0.0.0.0/0\"]"),
            Some("any machine that knows its AE title may call as node PACS"),
        ),
        (hl7("\"0.0.0.0/0\""), Some(any)),
        (hl7("\"10.1.5.5\", \"::/0\""), Some(any)),
        (hl7("\"10.0.0.0/8\""), None),
        (hl7("\"0.0.0.0/0\"").replace("listen = \"127.0.0.1:2575\"", ""), None),
    ];
    for (text, want) in rows {
        let warnings = load(directory.path(), &text).unwrap_or_else(|e| panic!("{e}")).warnings;
        assert_eq!(warnings.iter().map(|w| w.message.as_str()).collect::<Vec<_>>(), Vec::from_iter(want), "{text}");
    }
}

/// IDY-051: orders of later days wait for them, so that only copies that go within a day may be gone on it.
#[test]
fn copies_that_go_before_the_day_of_an_order_is_over_are_warned_of() {
    let directory = directory();
    let ris =
        "[[node]]\nae_title = \"RIS\"\naddress = \"10.1.5.6:104\"\nmay = [\"receive\"]\n[[worklist]]\nnode = \"RIS\"\n";
    let gone = "what is pulled ahead because of RIS may be gone before it is wanted";
    let rows = [
        ("days = 7", "1d", "[[prefetch]]\nname = \"any\"\n", None),
        ("days = 7", "23h", "[[prefetch]]\nname = \"any\"\n", Some(gone)),
        ("", "23h", "[[prefetch]]\nname = \"any\"\n", Some(gone)),
        ("days = 7", "23h", "[[prefetch]]\nname = \"any\"\nto = \"RIS\"\n", None),
        ("days = 7", "23h", "", None),
    ];
    for (days, keep, rules, want) in rows {
        let text = format!("{LEAST}{ris}{days}\n[priors]\nkeep = \"{keep}\"\n{rules}");
        let warnings = load(directory.path(), &text).unwrap_or_else(|e| panic!("{e}")).warnings;
        let told: Vec<&str> = warnings.iter().map(|w| w.message.as_str()).filter(|m| m.contains("ahead")).collect();
        assert_eq!(told, Vec::from_iter(want), "{text}");
    }
}

/// LED-030, REL-06: what is to be kept free for purging must lie above what stops the intake.
#[test]
fn room_below_the_reserve_is_a_mistake() {
    let directory = directory();
    let rows = [
        ("[store]\nreserve = \"2 GiB\"\n[retention]\nroom = \"1 GiB\"\n", true),
        ("[retention]\nroom = \"1 GiB\"\n[store]\nreserve = \"2 GiB\"\n", true),
        ("[store]\nreserve = \"2 GiB\"\n[retention]\nroom = \"2 GiB\"\n", false),
        ("[store]\nreserve = \"2 GiB\"\n[retention]\nroom = 0\n", false),
        ("[store]\nreserve = \"2 GiB\"\n", false),
        ("[retention]\nroom = \"1 GiB\"\n", false),
    ];
    for (text, wrong) in rows {
        let errors = load(directory.path(), &format!("{LEAST}{text}")).err();
        let messages: Vec<String> = errors.into_iter().flat_map(|e| e.mistakes).map(|m| m.message).collect();
        let want = wrong.then(|| "`room` in [retention] is less than `reserve` in [store]".to_owned());
        assert_eq!(messages, Vec::from_iter(want), "{text}");
    }
}

/// A line of the file may name a patient: who only logs does without it.
#[test]
fn a_log_is_told_of_mistakes_without_the_line_that_they_stand_in() {
    let directory = directory();
    let text = format!("{LEAST}[store]\nsegment = \"1 QiB\" # for SECRET^NAME\n[nonsense]\n");
    let errors = load(directory.path(), &text).expect_err("refused");
    let (shown, logged) = (errors.to_string(), errors.without_source());
    assert!(shown.contains("SECRET^NAME") && !logged.contains("SECRET"), "{logged}");
    let file = directory.path().join("weybridge.toml").display().to_string();
    for mistake in &errors.mistakes {
        let (line, column) = mistake.position.unwrap();
        let want = format!("{file}:{line}:{column}: {} ({})", mistake.message, mistake.hint);
        assert!(logged.lines().any(|line| line == want), "{want}: {logged}");
    }
    assert!(logged.ends_with(&format!("2 mistakes in {file}; nothing of it is used")), "{logged}");
    let missing = Config::load(&directory.path().join("none.toml")).expect_err("refused").without_source();
    assert!(missing.contains("none.toml: cannot read the configuration"), "{missing}");
}

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let directory = with_keys("site");
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
        fs::set_permissions(directory.path().join("tls/site.key"), fs::Permissions::from_mode(mode)).unwrap();
        let warnings = load(directory.path(), WITH_TLS).unwrap().warnings;
        assert_eq!(warnings.iter().any(|w| w.message.contains("can read")), warned, "{mode:o}");
    }
}

/// The set-up of viewers that docs/operations.md tells of.
const WITH_VIEWER: &str = r#"
[[node]]
ae_title = "VIEWER"
may = ["find", "move"]
foreign = "as_is"
[viewer]
listen = "127.0.0.1:8042"
token_file = "viewer.token"
node = "VIEWER"
"#;

/// SEC-020: a token and a list of patients are no less secret than a key.
#[test]
fn a_token_and_a_list_of_patients_that_everybody_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let files = ["viewer.token", "objections.csv"].map(|name| directory.path().join(name));
    fs::write(&files[0], "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(&files[1], "9434765919\n").unwrap();
    let text = format!("{LEAST}{WITH_VIEWER}[[withhold]]\nname = \"objections\"\npatients = \"objections.csv\"\n");
    for (mode, warned) in [(0o600, 0), (0o640, 0), (0o644, 2)] {
        files.iter().for_each(|file| fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap());
        let warnings = load(directory.path(), &text).unwrap_or_else(|e| panic!("{e}")).warnings;
        let told = warnings.iter().filter(|w| w.message.contains("other users of this machine can read"));
        assert_eq!(told.count(), warned, "{mode:o}: {warnings:?}");
    }
}

/// DIM-020: viewers show a token, so that nobody need be able to call as their node; who may store must be.
#[test]
fn the_node_of_viewers_needs_no_caller() {
    let directory = directory();
    fs::write(directory.path().join("viewer.token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let config = load(directory.path(), &format!("{LEAST}{WITH_VIEWER}")).unwrap_or_else(|e| panic!("{e}"));
    assert!(config.nodes[1].from_addresses.is_empty() && config.nodes[1].identity.is_none());
    let refused = |text: String| load(directory.path(), &format!("{LEAST}{text}")).expect_err("refused").to_string();
    for text in [
        WITH_VIEWER.replace("\"move\"]", "\"move\", \"store\"]"),
        WITH_VIEWER.replace("node = \"VIEWER\"", "node = \"PACS\""),
    ] {
        let said = refused(text);
        assert!(said.contains("nobody can call as node VIEWER"), "{said}");
    }
    let said = refused(WITH_VIEWER.replace("viewer.token", "none.token"));
    assert!(said.contains("the token cannot be used") && !said.contains("nobody can call"), "{said}");
}

/// SEC-021: how many connections viewers may have can be said.
#[test]
fn viewers_have_a_limit_of_connections() {
    let directory = directory();
    fs::write(directory.path().join("viewer.token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let limit = |more: &str| {
        let config = load(directory.path(), &format!("{LEAST}{WITH_VIEWER}{more}")).unwrap_or_else(|e| panic!("{e}"));
        config.viewer.unwrap().max_connections
    };
    assert_eq!((limit(""), limit("max_connections = 7\n")), (64, 7));
    load(directory.path(), &format!("{LEAST}{WITH_VIEWER}max_connections = 0\n")).expect_err("nobody could look");
}

#[test]
fn the_pixels_are_never_volatile() {
    let directory = directory();
    for name in ["PixelData", "FloatPixelData", "DoubleFloatPixelData", "7FE00010"] {
        let said =
            load(directory.path(), &format!("{LEAST}volatile = [\"{name}\"]\n")).expect_err("refused").to_string();
        assert!(said.contains("these are the pixels"), "{name}: {said}");
    }
    load(directory.path(), &format!("{LEAST}volatile = [\"InstanceCreationTime\"]\n")).unwrap();
}

#[test]
fn keys_that_do_not_fit_are_shown_at_their_line() {
    let directory = with_keys("site");
    let tls = directory.path().join("tls");
    let line = |text: &str| {
        let errors = load(directory.path(), text).expect_err("refused");
        assert_eq!(errors.mistakes.len(), 1, "{errors}");
        (errors.mistakes[0].position.unwrap().0, errors.mistakes[0].hint.clone())
    };
    let other = DevAuthority::create().unwrap().site("x", &["x.example"], Validity::days(9)).unwrap();
    let good = fs::read(tls.join("site.key")).unwrap();
    fs::write(tls.join("site.key"), &other.key).unwrap();
    assert_eq!(line(WITH_TLS), (8, "the key does not belong to the certificate".into()));
    fs::write(tls.join("site.key"), "rubbish").unwrap();
    assert_eq!(line(WITH_TLS).0, 8);
    for header in
        ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r"]
    {
        fs::write(tls.join("site.key"), format!("{header}\nAAAA\n-----END PRIVATE KEY-----\n")).unwrap();
        let (at, hint) = line(WITH_TLS);
        assert!(at == 8 && hint.contains("the key is encrypted"), "{hint}");
    }
    fs::write(tls.join("site.key"), good).unwrap();
    fs::write(tls.join("site.crt"), "rubbish").unwrap();
    assert_eq!(line(WITH_TLS), (7, "no usable certificate: the file holds none".into()));
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let directory = directory();
    let missing = Config::load(&directory.path().join("none.toml")).expect_err("refused").to_string();
    assert!(missing.contains("cannot read the configuration: No such file"), "{missing}");
    assert!(missing.contains("`weybridge init`") && missing.contains("--config"), "what to do: {missing}");
    let huge = directory.path().join("huge.toml");
    fs::write(&huge, "#".repeat(LARGEST_FILE as usize + 1)).unwrap();
    assert!(Config::load(&huge).expect_err("refused").to_string().contains("at most 1048576"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is cut out of the reference or put into it, the answer is a configuration or a list of mistakes.
    #[test]
    fn no_file_makes_it_panic(at in 0usize..20_000, cut in 0usize..40, put in "\\PC{0,8}|[\\[\\]{}\"=#\\n\\\\]{0,6}") {
        let mut text = fs::read_to_string("config/weybridge.toml").unwrap();
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((start + cut).min(text.len()));
        text.replace_range(start..end, &put);
        if let Err(errors) = Config::parse(&text, Path::new("nowhere/weybridge.toml"), SystemTime::UNIX_EPOCH) {
            prop_assert!(!errors.mistakes.is_empty() && !errors.to_string().is_empty());
        }
    }
}

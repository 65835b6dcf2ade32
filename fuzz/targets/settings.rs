//! The configuration file.

use std::path::Path;
use std::time::{Duration, SystemTime};
use weybridge::config::Config;

/// Input: the text of a configuration. It is valid, or each mistake has a message and a place in the text.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Certificates are read by name; the fuzzer shall not make up the names of devices.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    let path = Path::new("/nonexistent/weybridge.toml");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    match Config::parse(text, path, now) {
        Ok(config) => {
            let again = Config::parse(text, path, now).expect("it was valid before");
            assert_eq!(format!("{:?}", again.routes), format!("{:?}", config.routes));
            assert!(config.nodes.len() + config.peers.len() <= text.len());
            config.registry();
        }
        Err(errors) => {
            assert!(!errors.to_string().trim().is_empty(), "an error without a word");
            for mistake in &errors.mistakes {
                assert!(!mistake.message.is_empty());
                if let Some((line, _)) = mistake.position {
                    assert!((1..=text.lines().count() + 1).contains(&line), "line {line}");
                }
            }
        }
    }
}

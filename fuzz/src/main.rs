//! The fuzzer: libFuzzer around one target of ../targets, the one that `WEYBRIDGE_FUZZ` names.
//!
//! One binary for all of them, so that the instrumented build is linked once. `.ci/long fuzz` builds and runs it.

#![no_main]

#[path = "../targets/targets.rs"]
mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("WEYBRIDGE_FUZZ").unwrap_or_default();
        let Some((_, target)) = targets::TARGETS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            eprintln!("WEYBRIDGE_FUZZ names no target; there are: {}", names.join(" "));
            std::process::exit(2);
        };
        TARGET.get_or_init(|| *target);
        // A panic in a codec is an error of its frame: the decoder runs in a thread of its own for that.
        let abort = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() != Some("decode") {
                abort(panic);
            }
        }));
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(bytes);
        }
    }
);

//! How long the one who asks waits for the answer: the preference `wait` (RFC 7240 section 4.3), in whole seconds.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// The header.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What is sent by who waits so long; nothing for less than a second.
pub fn wait(within: Duration) -> Option<HeaderValue> {
    let seconds = within.as_secs();
    (seconds > 0).then(|| HeaderValue::from_str(&format!("wait={seconds}")).ok())?
}

/// How long the one who sent these headers waits, if that was said; an hour at most. What cannot be read says nothing.
pub fn waits(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut words = texts.flat_map(|text| text.split(',')).filter_map(|word| {
        let (name, value) = word.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u32>().ok())?
    });
    words.next().map(|seconds| Duration::from_secs(seconds.min(3600).into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn how_long_somebody_waits_is_said_and_read() {
        let seconds = Duration::from_secs;
        let rows: [(&str, Option<u64>); 8] = [
            ("wait=2", Some(2)),
            ("respond-async, WAIT = \"10\"; x=1", Some(10)),
            ("wait=99999", Some(3600)),
            ("wait", None),
            ("wait=-1", None),
            ("wait=soon, wait=4", Some(4)),
            ("handling=lenient", None),
            ("", None),
        ];
        for (text, want) in rows {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(waits(&headers), want.map(seconds), "{text}");
        }
        let headers = HeaderMap::from_iter([(PREFER, wait(seconds(7)).unwrap())]);
        assert_eq!(waits(&headers), Some(seconds(7)));
        assert_eq!((wait(Duration::from_millis(999)), waits(&HeaderMap::new())), (None, None));
    }
}

//! For whom one site asks another: three headers of our own, which a server that does not know them ignores (SEC-022, SEC-023).

use crate::dicom::on_behalf::OnBehalf;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The site that asks.
pub const SITE: HeaderName = HeaderName::from_static("weybridge-site");
/// Who asks there: `node CT1`, `user jo`.
pub const CALLER: HeaderName = HeaderName::from_static("weybridge-caller");
/// What for.
pub const PURPOSE: HeaderName = HeaderName::from_static("weybridge-purpose");

/// The longest value, in characters.
pub const LONGEST: usize = 64;

/// What is percent-encoded in a value, besides everything outside ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The headers that say it: percent-encoded UTF-8, 64 characters of each value at most; what is empty is left out.
pub fn headers(of: &OnBehalf) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, text) in [(SITE, &of.site), (CALLER, &of.caller), (PURPOSE, &of.purpose)] {
        let short = plain(text);
        let value = HeaderValue::from_str(&utf8_percent_encode(&short, ESCAPED).to_string());
        if let (false, Ok(value)) = (short.is_empty(), value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// What the headers of a request say; a value that is no text counts as not said.
pub fn told(headers: &HeaderMap) -> OnBehalf {
    let said = |name: HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        percent_decode_str(value).decode_utf8().map(|text| plain(&text)).unwrap_or_default()
    };
    OnBehalf { site: said(SITE), caller: said(CALLER), purpose: said(PURPOSE) }
}

/// A text without control characters and the space around it, of [`LONGEST`] characters at most.
fn plain(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    plain.trim().chars().take(LONGEST).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn behalf(site: &str, caller: &str, purpose: &str) -> OnBehalf {
        OnBehalf { site: site.into(), caller: caller.into(), purpose: purpose.into() }
    }

    /// SEC-023: what one site says the other reads, whatever letters its people have.
    #[test]
    fn what_is_said_is_read_back() {
        let rows = [
            behalf("Hampshire", "node CT1", "direct-care"),
            behalf("Zürich", "user Ælfric", "100 % audit"),
            behalf("", "user jo", ""),
            OnBehalf::default(),
        ];
        for said in rows {
            assert_eq!(told(&headers(&said)), said, "{said:?}");
        }
        assert_eq!(headers(&behalf("Hampshire", "", "")).len(), 1);
    }

    #[test]
    fn what_is_long_or_no_text_does_no_harm() {
        let long = behalf(&"x".repeat(5000), "a\r\nb: c", "\u{7f}\u{0}");
        let read = told(&headers(&long));
        assert_eq!(read, behalf(&"x".repeat(64), "ab: c", ""));
        let mut odd = HeaderMap::new();
        odd.insert(CALLER, HeaderValue::from_static("%ff%fe"));
        odd.insert(SITE, HeaderValue::from_bytes(&[0xFC]).unwrap());
        odd.insert(PURPOSE, HeaderValue::from_str(&"%41".repeat(2000)).unwrap());
        assert_eq!(told(&odd), behalf("", "", &"A".repeat(64)));
    }
}

//! What a request's address names: the service's own base, and the UIDs in its path, checked before anything is done (WEB-013).

use super::problem;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid, UidError};
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;

/// The path below which everything stands.
pub(super) const SERVICE: &str = "/dicom-web";

/// The address of the service as the caller knows it, without a slash at the end: what we hand out leads back to where it came from.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Base(Arc<str>);

/// The same address without the slashes that say nothing: one at the end, and more than one in a row, below the service. Some clients put
/// them there when the address of the service was given to them with a slash at its end; PS3.18 has no resource that needs one.
pub(super) fn straight(uri: Uri) -> Uri {
    let below = uri.path().strip_prefix(SERVICE).filter(|below| below.starts_with('/'));
    let Some(below) = below.filter(|below| below.contains("//") || below.ends_with('/')) else { return uri };
    let mut path = SERVICE.to_owned();
    for segment in below.split('/').filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).unwrap_or(uri)
}

impl Base {
    /// From the one Host header, or the request line, which counts more (RFC 9112 section 3.2). `None`: there is none that is usable.
    /// In plain HTTP at this port for viewers; a proxy on this machine may then say by which scheme and host it was called itself.
    /// Between sites by TLS, and there is no such port.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap, viewers: Option<u16>) -> Option<Self> {
        let secure = viewers.is_none();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next()?;
        if hosts.next().is_some() {
            return None;
        }
        let host: Authority = host.to_str().ok()?.parse().ok()?;
        let authority = uri.authority().unwrap_or(&host);
        if !plain(authority) {
            return None;
        }
        let before = |name| if secure { None } else { forwarded(headers, name) };
        let front = before("x-forwarded-host").and_then(|host| host.parse().ok()).filter(plain);
        let by_tls = before("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let (scheme, authority) =
            (if secure || by_tls { "https" } else { "http" }, front.as_ref().unwrap_or(authority));
        let port = viewers.filter(|_| is_here(authority) && !is_forwarded(headers));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(Self(format!("{scheme}://{authority}{port}{SERVICE}").into()))
    }

    /// The address itself.
    pub(in crate::edge) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where a study is retrieved.
    pub(in crate::edge) fn study(&self, study: &StudyUid) -> String {
        format!("{}/studies/{study}", self.0)
    }

    /// Where a series is retrieved.
    pub(in crate::edge) fn series(&self, study: &StudyUid, series: &SeriesUid) -> String {
        format!("{}/studies/{study}/series/{series}", self.0)
    }

    /// Where an instance is retrieved.
    pub(in crate::edge) fn instance(&self, study: &StudyUid, series: &SeriesUid, instance: &InstanceUid) -> String {
        format!("{}/studies/{study}/series/{series}/instances/{instance}", self.0)
    }
}

/// Whether an authority is a host, with a port or none, and nobody's name before it.
fn plain(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && !authority.host().is_empty()
}

/// Whether an authority is this machine without a port. There are clients that leave the port out of Host (against RFC 9110 section
/// 7.2), and the links that they were given led to port 80.
fn is_here(authority: &Authority) -> bool {
    let host = authority.host().trim_matches(['[', ']']);
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    authority.port().is_none() && (loopback || host.eq_ignore_ascii_case("localhost"))
}

/// Whether a proxy has said anything of itself: the port of viewers is then not the one that was called.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| *name == header::FORWARDED || name.as_str().starts_with("x-forwarded-"))
}

/// What the first of several proxies wrote into a header of theirs.
fn forwarded<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

/// The UIDs in a path. Every route that names a level gives it; one that does not leaves it out.
#[derive(Debug, Clone, Default)]
pub(in crate::edge) struct Target {
    pub(in crate::edge) study: Option<StudyUid>,
    pub(in crate::edge) series: Option<SeriesUid>,
    pub(in crate::edge) instance: Option<InstanceUid>,
    /// What follows below an instance; whoever answers reads it.
    pub(in crate::edge) below: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| problem(StatusCode::BAD_REQUEST, "the path is not percent-encoded UTF-8"))?;
        let mut target = Self::default();
        for (level, text) in &params {
            let read = match level {
                "study" => uid(text, StudyUid::parse, StudyUid::as_str).map(|uid| target.study = Some(uid)),
                "series" => uid(text, SeriesUid::parse, SeriesUid::as_str).map(|uid| target.series = Some(uid)),
                "below" => {
                    target.below = Some(text.to_owned());
                    Ok(())
                }
                _ => uid(text, InstanceUid::parse, InstanceUid::as_str).map(|uid| target.instance = Some(uid)),
            };
            read.map_err(|why| problem(StatusCode::BAD_REQUEST, &format!("the {level} in the path: {why}")))?;
        }
        Ok(target)
    }
}

/// A UID of a path is the UID and nothing else: padding, which a data set may have, is a trick here.
fn uid<T>(text: &str, parse: fn(&str) -> Result<T, UidError>, as_str: fn(&T) -> &str) -> Result<T, UidError> {
    let uid = parse(text)?;
    if as_str(&uid) == text { Ok(uid) } else { Err(UidError::Malformed) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_base_is_what_the_one_host_header_says() {
        let base = |uri: &str, hosts: &[&str]| {
            let headers = hosts.iter().map(|host| (header::HOST, host.parse().unwrap())).collect();
            Base::of(&uri.parse().unwrap(), &headers, None).map(|base| base.as_str().to_owned())
        };
        let usual = Some("https://gateway.example:8443/dicom-web".to_owned());
        assert_eq!(base("/x", &["gateway.example:8443"]), usual);
        assert_eq!(base("https://gateway.example:8443/x", &["other"]), usual);
        assert_eq!(base("/x", &["[::1]:8443"]), Some("https://[::1]:8443/dicom-web".to_owned()));
        assert_eq!(base("/x", &["localhost"]), Some("https://localhost/dicom-web".to_owned()));
        for wrong in [&[][..], &["a", "b"], &["a", "a"], &[""], &["a/b"], &["user@a"], &["a b"], &["a\"b"]] {
            assert_eq!(base("/x", wrong), None, "{wrong:?}");
        }
    }

    /// Links that a viewer gets through a proxy lead back through it; between sites nobody else is believed.
    #[test]
    fn a_proxy_in_front_of_the_viewers_says_how_it_was_called() {
        let base = |proto: &str, front: &str, viewers: Option<u16>| {
            let headers = [("host", "127.0.0.1:8042"), ("x-forwarded-proto", proto), ("x-forwarded-host", front)];
            let named =
                |(name, value): (&'static str, &str)| (header::HeaderName::from_static(name), value.parse().unwrap());
            let given = headers.into_iter().filter(|(_, value)| !value.is_empty());
            Base::of(&"/x".parse().unwrap(), &given.map(named).collect(), viewers).unwrap().as_str().to_owned()
        };
        for (proto, front, want) in [
            ("", "", "http://127.0.0.1:8042/dicom-web"),
            ("https", "", "https://127.0.0.1:8042/dicom-web"),
            ("HTTPS", "view.example", "https://view.example/dicom-web"),
            ("https, http", "view.example:444 , inner", "https://view.example:444/dicom-web"),
            ("http", "view.example", "http://view.example/dicom-web"),
            // What is no scheme or no host is passed over.
            ("ftp", "a/b", "http://127.0.0.1:8042/dicom-web"),
            ("javascript", "user@view.example", "http://127.0.0.1:8042/dicom-web"),
            ("https", "a\"b", "https://127.0.0.1:8042/dicom-web"),
        ] {
            assert_eq!(base(proto, front, Some(8042)), want, "{proto} {front}");
        }
        assert_eq!(base("http", "other.example", None), "https://127.0.0.1:8042/dicom-web");
    }

    /// dicomweb-client for Python sends Host without the port that it called.
    #[test]
    fn a_viewer_that_leaves_the_port_out_is_led_back_to_it() {
        let base = |fields: &[(&'static str, &str)]| {
            let named =
                |(name, value): &(&'static str, &str)| (header::HeaderName::from_static(name), value.parse().unwrap());
            let headers = fields.iter().map(named).collect();
            Base::of(&"/x".parse().unwrap(), &headers, Some(8042)).unwrap().as_str().to_owned()
        };
        let rows: [(&[(&'static str, &str)], &str); 9] = [
            (&[("host", "127.0.0.1")], "http://127.0.0.1:8042/dicom-web"),
            (&[("host", "127.8.0.1")], "http://127.8.0.1:8042/dicom-web"),
            (&[("host", "LocalHost")], "http://LocalHost:8042/dicom-web"),
            (&[("host", "[::1]")], "http://[::1]:8042/dicom-web"),
            (&[("host", "localhost:80")], "http://localhost:80/dicom-web"),
            (&[("host", "view.example")], "http://view.example/dicom-web"),
            (&[("host", "10.0.0.1")], "http://10.0.0.1/dicom-web"),
            // A proxy on this machine was called at a port of its own.
            (&[("host", "localhost"), ("x-forwarded-for", "10.0.0.1")], "http://localhost/dicom-web"),
            (&[("host", "localhost"), ("forwarded", "for=10.0.0.1")], "http://localhost/dicom-web"),
        ];
        for (fields, want) in rows {
            assert_eq!(base(fields), want, "{fields:?}");
        }
    }

    #[test]
    fn slashes_that_say_nothing_are_passed_over_below_the_service() {
        let rows = [
            ("/dicom-web//studies?PatientID=1//2/", "/dicom-web/studies?PatientID=1//2/"),
            ("/dicom-web/studies/", "/dicom-web/studies"),
            ("/dicom-web///studies//1.2///series/?limit=1", "/dicom-web/studies/1.2/series?limit=1"),
            ("https://a.example:1/dicom-web/studies/", "https://a.example:1/dicom-web/studies"),
            ("/dicom-web/", "/dicom-web"),
            // Nothing else is touched.
            ("/dicom-web/studies/%2F", "/dicom-web/studies/%2F"),
            ("/dicom-web/studies/..", "/dicom-web/studies/.."),
            ("//dicom-web/studies/", "//dicom-web/studies/"),
            ("/dicom-webb//studies", "/dicom-webb//studies"),
            ("/other//", "/other//"),
            ("*", "*"),
        ];
        for (given, want) in rows {
            assert_eq!(straight(given.parse().unwrap()).to_string(), want, "{given}");
        }
    }

    #[test]
    fn a_uid_in_a_path_is_a_uid_and_nothing_else() {
        let read = |text| uid(text, StudyUid::parse, StudyUid::as_str).is_ok();
        assert!(read("1.2.840.10008") && read("2.25.1"));
        let tricks = ["", "..", ".", "1..2", "1.2/..", "1.2\0", " 1.2", "1.2 ", "1.2\r\nX: y", "1.2\n", "%31", "１.２"];
        for trick in tricks {
            assert!(!read(trick), "{trick:?}");
        }
        assert!(!read(&"1".repeat(65)));
    }
}

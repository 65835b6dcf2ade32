//! What this service can do and how much it takes at once, for whoever asks (PS3.18 section 8.9; WEB-008, WEB-032).

use super::target::Base;
use super::{WebFace, WebOptions, problem};
use crate::dicomweb::media_type::{self, JSON};
use crate::edge::wado;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::fmt::Write;

/// The standard's default form.
const WADL: &str = "application/vnd.sun.wadl+xml";

/// One transaction.
struct Transaction {
    path: &'static str,
    method: &'static str,
    /// Its name in PS3.18 chapter 10.
    name: &'static str,
    takes: &'static [&'static str],
    gives: &'static [&'static str],
    statuses: &'static [u16],
}

const MODULE: &[&str] = &[media_type::DICOM_JSON, media_type::DICOM_XML];
const INSTANCES: &[&str] = &["multipart/related; type=\"application/dicom\"", media_type::DICOM];
const METADATA: &[&str] = &[media_type::DICOM_JSON, "multipart/related; type=\"application/dicom+xml\""];
const OCTETS: &[&str] = &["multipart/related; type=\"application/octet-stream\"", media_type::OCTET_STREAM];
const PARTS: &[&str] = &["multipart/related; type=\"application/octet-stream\""];
const PICTURES: &[&str] = &[media_type::IMAGE_JPEG, media_type::IMAGE_PNG];
const STORED: &[u16] = &[200, 202, 400, 403, 408, 409, 413, 415, 503];
const RETRIEVED: &[u16] = &[200, 206, 304, 400, 403, 404, 406, 410, 412, 416, 500, 503];
const FOUND: &[u16] = &[200, 204, 400, 403, 406, 413, 503];

/// What there is; the router has no more.
const TRANSACTIONS: &[Transaction] = &[
    Transaction {
        path: "/",
        method: "OPTIONS",
        name: "Retrieve Capabilities",
        takes: &[],
        gives: &[WADL, JSON],
        statuses: &[200, 406],
    },
    store("/studies"),
    store("/studies/{study}"),
    retrieve("/studies/{study}"),
    retrieve("/studies/{study}/series/{series}"),
    retrieve("/studies/{study}/series/{series}/instances/{instance}"),
    describe("/studies/{study}/metadata"),
    describe("/studies/{study}/series/{series}/metadata"),
    describe("/studies/{study}/series/{series}/instances/{instance}/metadata"),
    parts("/studies/{study}/bulkdata"),
    parts("/studies/{study}/series/{series}/bulkdata"),
    parts("/studies/{study}/series/{series}/instances/{instance}/bulkdata"),
    octets("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{attribute}"),
    octets("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}"),
    pictures("/studies/{study}/rendered"),
    pictures("/studies/{study}/series/{series}/rendered"),
    pictures("/studies/{study}/series/{series}/instances/{instance}/rendered"),
    pictures("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered"),
    pictures("/studies/{study}/thumbnail"),
    pictures("/studies/{study}/series/{series}/thumbnail"),
    pictures("/studies/{study}/series/{series}/instances/{instance}/thumbnail"),
    pictures("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail"),
    search("/studies"),
    search("/series"),
    search("/studies/{study}/series"),
    search("/studies/{study}/series/{series}/instances"),
    search("/studies/{study}/instances"),
    search("/instances"),
];

const fn store(path: &'static str) -> Transaction {
    Transaction { path, method: "POST", name: "Store", takes: INSTANCES, gives: MODULE, statuses: STORED }
}

const fn retrieve(path: &'static str) -> Transaction {
    Transaction { path, method: "GET", name: "Retrieve", takes: &[], gives: INSTANCES, statuses: RETRIEVED }
}

const fn describe(path: &'static str) -> Transaction {
    Transaction { gives: METADATA, ..retrieve(path) }
}

const fn octets(path: &'static str) -> Transaction {
    Transaction { gives: OCTETS, ..retrieve(path) }
}

const fn parts(path: &'static str) -> Transaction {
    Transaction { gives: PARTS, ..retrieve(path) }
}

const fn pictures(path: &'static str) -> Transaction {
    Transaction { gives: PICTURES, ..retrieve(path) }
}

const fn search(path: &'static str) -> Transaction {
    Transaction { path, method: "GET", name: "Search", takes: &[], gives: METADATA, statuses: FOUND }
}

pub(super) async fn answer(face: State<WebFace>, Extension(base): Extension<Base>, headers: HeaderMap) -> Response {
    let accept = wado::listed(&headers, &header::ACCEPT);
    let options = &face.options;
    match media_type::preferred(accept.as_deref(), &[WADL, JSON]) {
        Some(JSON) => {
            (StatusCode::OK, [(header::CONTENT_TYPE, JSON)], as_json(&base, options).to_string()).into_response()
        }
        Some(_) => (StatusCode::OK, [(header::CONTENT_TYPE, WADL)], as_wadl(&base, options)).into_response(),
        None => problem(StatusCode::NOT_ACCEPTABLE, "the capabilities can be had as WADL or as application/json"),
    }
}

/// Names and numbers of the limits.
fn limits(options: &WebOptions) -> [(&'static str, u64); 4] {
    [
        ("request_bytes", options.request_bytes),
        ("part_bytes", options.instance_bytes),
        ("parts", options.parts.into()),
        ("connections", options.connections as u64),
    ]
}

fn as_json(base: &Base, options: &WebOptions) -> Value {
    let limits: serde_json::Map<String, Value> =
        limits(options).into_iter().map(|(name, most)| (name.to_owned(), most.into())).collect();
    let transactions = TRANSACTIONS.iter().map(|t| {
        let representation = |types: &[&str]| types.iter().map(|kind| json!({ "mediaType": kind })).collect::<Vec<_>>();
        json!({
            "path": t.path,
            "method": t.method,
            "name": t.name,
            "request": { "representation": representation(t.takes) },
            "response": { "status": t.statuses, "representation": representation(t.gives) },
        })
    });
    json!({
        "base": base.as_str(),
        "resources": transactions.collect::<Vec<_>>(),
        "limits": limits,
    })
}

/// PS3.18 section 8.9.4 and annex H; W3C member submission of 31 August 2009.
fn as_wadl(base: &Base, options: &WebOptions) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let say = |out: &mut String, text: std::fmt::Arguments<'_>| {
        // Writing into a String cannot fail.
        let _ = out.write_fmt(text);
        out.push('\n');
    };
    say(&mut out, format_args!("<application xmlns=\"http://wadl.dev.java.net/2009/02\">"));
    for (name, most) in limits(options) {
        say(&mut out, format_args!("  <doc title=\"limit: {name}\">{most}</doc>"));
    }
    say(&mut out, format_args!("  <resources base=\"{}\">", attribute(base.as_str())));
    for t in TRANSACTIONS {
        say(&mut out, format_args!("    <resource path=\"{}\">", attribute(t.path)));
        for name in t.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            say(&mut out, format_args!("      <param name=\"{name}\" style=\"template\" required=\"true\"/>"));
        }
        say(&mut out, format_args!("      <method name=\"{}\" id=\"{}\">", t.method, id(t)));
        say(&mut out, format_args!("        <doc title=\"{}\"/>", t.name));
        say(&mut out, format_args!("        <request>"));
        for kind in t.takes {
            say(&mut out, format_args!("          <representation mediaType=\"{}\"/>", attribute(kind)));
        }
        say(&mut out, format_args!("        </request>"));
        let statuses = t.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        say(&mut out, format_args!("        <response status=\"{statuses}\">"));
        for kind in t.gives {
            say(&mut out, format_args!("          <representation mediaType=\"{}\"/>", attribute(kind)));
        }
        say(&mut out, format_args!("        </response>"));
        say(&mut out, format_args!("      </method>"));
        say(&mut out, format_args!("    </resource>"));
    }
    say(&mut out, format_args!("  </resources>"));
    say(&mut out, format_args!("</application>"));
    out
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// A name that stands once in the document.
fn id(t: &Transaction) -> String {
    let words = t.path.split(['/', '{', '}']).filter(|word| !word.is_empty());
    [t.method.to_lowercase()].into_iter().chain(words.map(str::to_owned)).collect::<Vec<_>>().join("-")
}

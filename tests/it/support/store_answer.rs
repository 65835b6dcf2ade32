//! The Store Instances Response Module in DICOM JSON (PS3.18 table 10.5.3-1), written and read.

use serde_json::{Value, json};

/// One instance as an answer names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub class: String,
    pub instance: String,
    /// Failure Reason (0008,1197), if it failed.
    pub reason: Option<u16>,
    /// Warning Reason (0008,1196), if it is stored with a warning.
    pub warning: Option<u16>,
}

impl Item {
    /// One that is stored without a word.
    pub fn stored(class: &str, instance: &str) -> Self {
        Self { class: class.to_owned(), instance: instance.to_owned(), reason: None, warning: None }
    }
}

fn ui(value: &str) -> Value {
    json!({ "vr": "UI", "Value": [value] })
}

pub fn write(items: &[Item]) -> Value {
    let one = |item: &Item| {
        let mut out = json!({ "00081150": ui(&item.class), "00081155": ui(&item.instance) });
        for (tag, code) in [("00081197", item.reason), ("00081196", item.warning)] {
            if let Some(code) = code {
                out[tag] = json!({ "vr": "US", "Value": [code] });
            }
        }
        out
    };
    let (failed, stored): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.reason.is_some());
    let mut out = json!({});
    for (tag, list) in [("00081199", stored), ("00081198", failed)] {
        if !list.is_empty() {
            out[tag] = json!({ "vr": "SQ", "Value": list.into_iter().map(one).collect::<Vec<_>>() });
        }
    }
    out
}

/// What an answer says of each instance it names.
pub fn read(text: &str) -> Vec<Item> {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"));
    // Some servers wrap the one module in an array.
    let module = if answer.is_array() { &answer[0] } else { &answer };
    let mut items = Vec::new();
    for tag in ["00081199", "00081198"] {
        for item in module[tag]["Value"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let word = |tag: &str| item[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
            let code = |tag: &str| item[tag]["Value"][0].as_u64().map(|code| u16::try_from(code).unwrap());
            let (reason, warning) = (code("00081197"), code("00081196"));
            items.push(Item { class: word("00081150"), instance: word("00081155"), reason, warning });
        }
    }
    items
}

/// The module as Native DICOM Model (PS3.19 annex A).
pub fn write_xml(items: &[Item]) -> String {
    let value = |tag: &str, vr: &str, value: &str| {
        format!("<DicomAttribute tag=\"{tag}\" vr=\"{vr}\"><Value number=\"1\">{value}</Value></DicomAttribute>")
    };
    let (failed, stored): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.reason.is_some());
    let sequences = [("00081198", failed), ("00081199", stored)].map(|(tag, list)| {
        let items = list.iter().enumerate().map(|(n, item)| {
            let names = value("00081150", "UI", &item.class) + &value("00081155", "UI", &item.instance);
            let code = |tag: &str, code: Option<u16>| code.map(|code| value(tag, "US", &code.to_string()));
            let codes = [code("00081196", item.warning), code("00081197", item.reason)].into_iter().flatten();
            format!("<Item number=\"{}\">{names}{}</Item>", n + 1, codes.collect::<String>())
        });
        let items: String = items.collect();
        let sequence = format!("<DicomAttribute tag=\"{tag}\" vr=\"SQ\">{items}</DicomAttribute>");
        if list.is_empty() { String::new() } else { sequence }
    });
    format!("<?xml version=\"1.0\"?><NativeDicomModel>{}</NativeDicomModel>", sequences.concat())
}

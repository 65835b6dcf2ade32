//! How single values are written: durations, sizes, addresses, names. Each reader returns a hint when it refuses.

use super::mistakes::suggest;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::dictionary;
use crate::dicom::tag::Tag;
use ipnet::IpNet;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

type Read<T> = Result<T, String>;

/// A text of 1 to 64 characters without control characters.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    let text = value.as_str().ok_or("write a text in double quotes")?;
    match text.chars().count() {
        0 => Err("the text is empty".into()),
        1..=64 if text.trim().is_empty() => Err("the text is empty".into()),
        1..=64 if text.chars().any(char::is_control) => Err("control characters are not allowed".into()),
        1..=64 => Ok(text.to_owned()),
        n => Err(format!("the text has {n} characters; at most 64 are allowed")),
    }
}

/// The issuer of a peer's patient identifiers. It is written before numbers as ISSUER:ID, in whatever character set they are.
pub(super) fn issuer(value: &DeValue<'_>) -> Read<String> {
    let issuer = text(value)?;
    if issuer.trim() != issuer {
        return Err("spaces at the ends would not be seen".into());
    }
    let plain = issuer.chars().all(|c| (' '..='~').contains(&c) && c != ':' && c != '\\');
    if plain { Ok(issuer) } else { Err("use ASCII without `:` and `\\`: numbers become ISSUER:ID".into()) }
}

/// A pattern of a route: up to 256 characters, `*` and `?` are wildcards; empty means "has no value".
pub(super) fn pattern(value: &DeValue<'_>) -> Read<String> {
    let text = value.as_str().ok_or("write a text in double quotes")?;
    if text.chars().count() <= 256 {
        Ok(text.to_owned())
    } else {
        Err("the pattern is longer than 256 characters".into())
    }
}

/// A path; relative ones are taken from the directory of the file.
pub(super) fn path(value: &DeValue<'_>) -> Read<String> {
    let text = value.as_str().ok_or("write a path in double quotes")?;
    if text.is_empty() || text.contains('\0') { Err("write a path".into()) } else { Ok(text.to_owned()) }
}

/// A name that commands and routes use: 1 to 64 letters, digits, `.`, `-` or `_`.
pub(super) fn name(value: &DeValue<'_>) -> Read<String> {
    let name = text(value)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if plain { Ok(name) } else { Err("use letters, digits, `.`, `-` and `_` only".into()) }
}

/// An AE title (DIM-002).
pub(super) fn ae_title(value: &DeValue<'_>) -> Read<AeTitle> {
    AeTitle::parse(value.as_str().ok_or("write an AE title in double quotes")?).map_err(|e| e.to_string())
}

/// True or false.
pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| "write true or false".into())
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A whole number within limits.
pub(super) fn number<T>(allowed: RangeInclusive<T>) -> impl Fn(&DeValue<'_>) -> Read<T>
where
    T: TryFrom<i64> + PartialOrd + Display + Copy,
{
    move |value| {
        let number = integer(value).and_then(|n| T::try_from(n).ok()).filter(|n| allowed.contains(n));
        number.ok_or_else(|| format!("write a whole number from {} to {}", allowed.start(), allowed.end()))
    }
}

/// Splits `30s` or `2 GiB` into number and unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// A duration above zero and up to ten years: a whole number with `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(value: &DeValue<'_>) -> Read<Duration> {
    const HINT: &str = "write a duration with its unit, such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"5d\"";
    const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
    let (number, unit) = value.as_str().and_then(number_and_unit).ok_or(HINT)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HINT.into()),
    };
    let duration = number.checked_mul(milliseconds).map(Duration::from_millis).filter(|d| *d <= LONGEST);
    match duration {
        Some(Duration::ZERO) => Err("the duration must be above zero".into()),
        Some(duration) => Ok(duration),
        None => Err("the duration must be at most 3650 days".into()),
    }
}

/// A size in bytes within limits: an integer, or a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
pub(super) fn size(allowed: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    const HINT: &str = "write bytes as a number, or a size such as \"512 KiB\", \"256 MiB\" or \"2 GiB\"";
    move |value| {
        let (number, unit) = match (integer(value), value.as_str()) {
            (Some(number), _) => (u64::try_from(number).map_err(|_| HINT)?, "B"),
            (None, Some(text)) => number_and_unit(text).ok_or(HINT)?,
            (None, None) => return Err(HINT.into()),
        };
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(HINT.into()),
        };
        let bytes = number.checked_mul(1 << shift).filter(|bytes| allowed.contains(bytes));
        bytes.ok_or_else(|| format!("must be from {} to {}", show_size(*allowed.start()), show_size(*allowed.end())))
    }
}

/// A size in the largest unit that holds it exactly.
fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    exact.map_or_else(|| format!("{bytes} B"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// An IP address and a port to listen on; port 0 lets the system choose.
pub(super) fn listen(value: &DeValue<'_>) -> Read<SocketAddr> {
    let address = value.as_str().and_then(|text| text.parse().ok());
    address.ok_or_else(|| "write an IP address and a port, such as \"127.0.0.1:11112\"".into())
}

/// A host name or IP address and a port to connect to.
pub(super) fn host_port(value: &DeValue<'_>) -> Read<String> {
    const HINT: &str = "write a host and a port, such as \"pacs.example:104\"";
    let text = value.as_str().ok_or(HINT)?;
    if text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0) {
        return Ok(text.to_owned());
    }
    let (host, port) = text.rsplit_once(':').ok_or(HINT)?;
    let port: Option<u16> = port.parse().ok().filter(|port| *port != 0);
    if port.is_some() && is_host_name(host) { Ok(text.to_owned()) } else { Err(HINT.into()) }
}

/// Tells whether a text can be a host name: labels of letters, digits and hyphens (RFC 1123 section 2.1).
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// A range of addresses, or a single one.
pub(super) fn network(value: &DeValue<'_>) -> Read<IpNet> {
    let text = value.as_str().unwrap_or_default();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| "write an IP address or a range, such as \"10.1.2.3\" or \"10.1.0.0/16\"".into())
}

/// The name that a certificate must carry: a DNS name, an IP address or a URI.
pub(super) fn identity(value: &DeValue<'_>) -> Read<String> {
    let name = value.as_str().ok_or("write a name in double quotes")?;
    let valid = is_host_name(name) || name.parse::<IpAddr>().is_ok() || name.contains("://");
    if valid && name.len() <= 253 {
        Ok(name.to_owned())
    } else {
        Err("write the DNS name, IP address or URI that the certificate carries as subject alternative name".into())
    }
}

/// The address of a peer's DICOMweb service: https, a host, an optional port and path, nothing else. A slash at the end is
/// taken off.
pub(super) fn peer_url(value: &DeValue<'_>) -> Read<PeerUrl> {
    const HINT: &str = "write the address of its DICOMweb service, such as \"https://gateway.example:8443/dicom-web\"";
    let text = value.as_str().ok_or(HINT)?;
    let url = reqwest::Url::parse(text).map_err(|_| HINT)?;
    if url.scheme() != "https" {
        return Err("a peer is reached by https only".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a password does not belong here".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("leave out what follows `?` or `#`".into());
    }
    let host = url.host_str().ok_or(HINT)?.trim_matches(['[', ']']).to_owned();
    Ok(PeerUrl { url: url.as_str().trim_end_matches('/').to_owned(), host })
}

/// A valid peer address and the host in it.
pub(super) struct PeerUrl {
    pub(super) url: String,
    pub(super) host: String,
}

/// One word of several; those in `later` are known but not built yet.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)], later: &[&str]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let word = value.as_str().unwrap_or_default();
        if let Some((_, meaning)) = words.iter().find(|(known, _)| *known == word) {
            return Ok(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
        if later.contains(&word) {
            return Err(format!("`{word}` is not built yet; known: {}", known.join(", ")));
        }
        Err(suggest(word, &known))
    }
}

/// The defined terms of Specific Character Set without code extensions (PS3.3 section C.12.1.1.2).
const CHARACTER_SETS: &[&str] = &[
    "ISO_IR 6",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 109",
    "ISO_IR 110",
    "ISO_IR 144",
    "ISO_IR 127",
    "ISO_IR 126",
    "ISO_IR 138",
    "ISO_IR 148",
    "ISO_IR 203",
    "ISO_IR 13",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
];

/// An attribute, by the keyword of PS3.6 or as eight hexadecimal digits. Those that say which instance it is, and the pixels, are none.
pub(super) fn attribute(value: &DeValue<'_>) -> Read<Tag> {
    const IDENTITY: [u32; 4] = [0x0008_0016, 0x0008_0018, 0x0020_000D, 0x0020_000E];
    // Float Pixel Data, Double Float Pixel Data, Pixel Data.
    const PIXELS: [u32; 3] = [0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010];
    let text = value.as_str().unwrap_or_default();
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = if digits { u32::from_str_radix(text, 16).ok().map(Tag) } else { None };
    match number.or_else(|| dictionary::by_keyword(text)) {
        Some(tag) if IDENTITY.contains(&tag.0) => {
            Err("this attribute says which instance it is, and always counts".into())
        }
        Some(tag) if PIXELS.contains(&tag.0) => {
            Err("these are the pixels: two images that differ in them are never the same".into())
        }
        Some(tag) => Ok(tag),
        None => {
            Err("write keywords of attributes, such as \"InstanceCreationTime\", or eight hexadecimal digits".into())
        }
    }
}

/// A character set for text that declares none.
pub(super) fn character_set(value: &DeValue<'_>) -> Read<String> {
    let term = value.as_str().unwrap_or_default();
    if CHARACTER_SETS.contains(&term) { Ok(term.to_owned()) } else { Err(suggest(term, CHARACTER_SETS)) }
}

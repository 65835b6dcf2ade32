//! Media types and their negotiation (PS3.18 section 8.7, RFC 9110 section 8.3.1 and 12.5.1).

/// DICOM JSON, the form of answers (PS3.18 Annex F).
pub const DICOM_JSON: &str = "application/dicom+json";
/// JSON of any other kind.
pub const JSON: &str = "application/json";
/// Part 10 files, one in each part of a multipart body.
pub const DICOM: &str = "application/dicom";
/// The Native DICOM Model in XML (PS3.19 Annex A).
pub const DICOM_XML: &str = "application/dicom+xml";
/// Bytes: bulk data and frames.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// Pictures, lossy.
pub const IMAGE_JPEG: &str = "image/jpeg";
/// Pictures, lossless.
pub const IMAGE_PNG: &str = "image/png";
/// The wrapper of several representations (RFC 2387).
pub const MULTIPART_RELATED: &str = "multipart/related";

/// Why a text is not a media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// It does not begin with `type/subtype`.
    #[error("the media type is not of the form type/subtype")]
    NoType,
    /// A parameter is not `name=value`, or a quotation does not end.
    #[error("a parameter of the media type is malformed")]
    Parameter,
}

/// A media type with its parameters, in the order given. Types and parameter names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Parses the value of a Content-Type header, or one member of Accept.
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let mut pieces = split_outside_quotes(text, ';');
        let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let well_formed = essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
        if !well_formed {
            return Err(MediaTypeError::NoType);
        }
        let mut parameters = Vec::new();
        for piece in pieces.map(str::trim).filter(|piece| !piece.is_empty()) {
            let (name, value) = piece.split_once('=').ok_or(MediaTypeError::Parameter)?;
            let name = name.trim().to_ascii_lowercase();
            if !token(&name) {
                return Err(MediaTypeError::Parameter);
            }
            parameters.push((name, unquote(value.trim())?));
        }
        Ok(Self { essence, parameters })
    }

    /// `type/subtype` in lower case.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter, quotes removed; the first if it stands twice.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// What the parameter `type` of multipart/related says of the parts: their type, without apostrophes around it and without the parameters
    /// that some write into it, as `type="application/dicom; transfer-syntax=*"`. `None` if it says nothing.
    pub fn part_type(&self) -> Option<&str> {
        self.of_parts()?.split(';').next().map(str::trim).filter(|kind| !kind.is_empty())
    }

    /// The parameter `transfer-syntax`, beside the type of the parts or within it.
    pub fn transfer_syntax(&self) -> Option<&str> {
        let mut within = self.of_parts().unwrap_or_default().split(';').skip(1).filter_map(|one| one.split_once('='));
        let named = within.find(|(name, _)| name.trim().eq_ignore_ascii_case("transfer-syntax"));
        let uid = self.parameter("transfer-syntax").or(named.map(|(_, uid)| uid.trim()))?;
        Some(in_apostrophes(uid).unwrap_or(uid.trim_matches('"')))
    }

    fn of_parts(&self) -> Option<&str> {
        let kind = self.parameter("type")?;
        Some(in_apostrophes(kind).unwrap_or(kind))
    }

    /// True for JSON of any kind.
    pub fn is_json(&self) -> bool {
        self.essence.ends_with("/json") || self.essence.ends_with("+json")
    }

    /// True for XML of any kind.
    pub fn is_xml(&self) -> bool {
        self.essence.ends_with("/xml") || self.essence.ends_with("+xml")
    }
}

/// RFC 9110 section 5.6.2: visible characters without delimiters.
fn token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b))
}

/// The pieces of a text between separators that stand outside quotations.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        c == separator && !quoted
    })
}

/// A parameter's value: as it stands, or the content of a quoted string (RFC 9110 section 5.6.4).
fn unquote(text: &str) -> Result<String, MediaTypeError> {
    let Some(inner) = text.strip_prefix('"') else {
        return if text.contains('"') { Err(MediaTypeError::Parameter) } else { Ok(text.to_owned()) };
    };
    let mut value = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => value.push(characters.next().ok_or(MediaTypeError::Parameter)?),
            '"' if characters.as_str().is_empty() => return Ok(value),
            '"' => return Err(MediaTypeError::Parameter),
            c => value.push(c),
        }
    }
    Err(MediaTypeError::Parameter)
}

/// What stands in a pair of apostrophes, which some senders take for quotation marks; `None` if there is no such pair.
pub fn in_apostrophes(value: &str) -> Option<&str> {
    value.strip_prefix('\'')?.strip_suffix('\'')
}

/// The best of the offered types for an Accept header; `None` if none is acceptable (the answer is 406).
///
/// No header, or an empty one, accepts everything. Members that cannot be parsed are passed over.
/// For `multipart/related; type="x"` the offered type is `x` (PS3.18 section 8.7.5): the caller decides on the wrapper.
/// Among equal weights the order of `offered` decides.
pub fn preferred<'a>(accept: Option<&str>, offered: &[&'a str]) -> Option<&'a str> {
    settled(accept, offered, &[]).map(|(media, _)| media)
}

/// The same, and whether the member that gave it asks for parts. Those of the offered types that stand in `parts` can be given as parts
/// of `multipart/related`: a range of that without a type covers them.
pub fn settled<'a>(accept: Option<&str>, offered: &[&'a str], parts: &[&str]) -> Option<(&'a str, bool)> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return offered.first().map(|first| (*first, false));
    };
    let ranges: Vec<MediaType> =
        split_outside_quotes(accept, ',').filter_map(|member| MediaType::parse(member).ok()).collect();
    let mut best: Option<(&str, &MediaType, u16)> = None;
    for &candidate in offered {
        let given = giving(&ranges, candidate, parts.contains(&candidate));
        if let Some((range, weight)) = given.filter(|(_, weight)| *weight > 0)
            && best.is_none_or(|(.., most)| weight > most)
        {
            best = Some((candidate, range, weight));
        }
    }
    best.map(|(candidate, range, _)| (candidate, range.essence().starts_with("multipart/")))
}

/// Whether a range, which may be one type, covers a type (RFC 9110 section 12.5.1). Both without parameters.
pub fn covers(range: &str, media: &str) -> bool {
    let range = range.to_ascii_lowercase();
    let wide = range.strip_suffix("/*").is_some_and(|kind| kind == "*" || media.split('/').next() == Some(kind));
    wide || range == media
}

/// The members of an Accept header that can be parsed and are wanted at all, the best first; among equal weights in the order given.
pub fn members(accept: &str) -> Vec<MediaType> {
    let parsed = split_outside_quotes(accept, ',').filter_map(|member| MediaType::parse(member).ok());
    let mut weighed: Vec<(u16, MediaType)> = parsed.map(|media| (quality(&media), media)).collect();
    weighed.retain(|(weight, _)| *weight > 0);
    weighed.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weighed.into_iter().map(|(_, media)| media).collect()
}

/// The `q` of a range in thousandths; what cannot be read counts as refused.
fn quality(range: &MediaType) -> u16 {
    let q = range.parameter("q").map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0));
    (q * 1000.0) as u16
}

/// The most specific range that covers a type, and its weight in thousandths; of several alike the weightiest, then the first.
fn giving<'r>(ranges: &'r [MediaType], candidate: &str, in_parts: bool) -> Option<(&'r MediaType, u16)> {
    // The last of those that are alike is taken, so they are looked at from behind.
    let covering = ranges.iter().rev().filter_map(|range| {
        let specific = match (range.essence(), range.part_type()) {
            ("*/*", _) => 0,
            (MULTIPART_RELATED, Some(kind)) if kind.eq_ignore_ascii_case(candidate) => 2,
            ("multipart/*", _) | (MULTIPART_RELATED, None) if in_parts => 1,
            (MULTIPART_RELATED, Some(kind)) if in_parts && covers(kind, candidate) => 1,
            (exact, _) if exact == candidate => 2,
            (wide, _) if covers(wide, candidate) => 1,
            _ => return None,
        };
        Some((range, specific, quality(range)))
    });
    let best = covering.max_by_key(|(_, specific, weight)| (*specific, *weight));
    best.map(|(range, _, weight)| (range, weight))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_parsed_with_quotes_and_escapes() {
        let rows = [
            ("application/dicom", Ok(("application/dicom", None))),
            ("Application/DICOM; Transfer-Syntax=1.2.3", Ok(("application/dicom", Some("1.2.3")))),
            ("application/dicom ;transfer-syntax = \"1.2.3\" ;", Ok(("application/dicom", Some("1.2.3")))),
            ("a/b; x=\";=,\\\"\"; transfer-syntax=*", Ok(("a/b", Some("*")))),
            ("", Err(MediaTypeError::NoType)),
            ("application", Err(MediaTypeError::NoType)),
            ("a/b/c", Err(MediaTypeError::NoType)),
            ("a/b; x", Err(MediaTypeError::Parameter)),
            ("a/b; x=\"open", Err(MediaTypeError::Parameter)),
            ("a/b; x=\"shut\"more", Err(MediaTypeError::Parameter)),
            ("a/b; x=in\"side", Err(MediaTypeError::Parameter)),
        ];
        for (text, want) in rows {
            let got = MediaType::parse(text);
            let got = got.as_ref().map(|m| (m.essence(), m.parameter("transfer-syntax"))).map_err(|e| *e);
            assert_eq!(got, want, "{text:?}");
        }
    }

    /// Servers in the field take apostrophes for quotation marks, and parameters of the parts within their type; so clients write both.
    #[test]
    fn the_type_of_the_parts_may_hold_their_transfer_syntax() {
        let rows = [
            ("multipart/related; type=\"application/dicom\"", Some("application/dicom"), None),
            ("multipart/related; transfer-syntax=*; type=application/dicom", Some("application/dicom"), Some("*")),
            ("multipart/related; type='application/dicom'; transfer-syntax='*'", Some("application/dicom"), Some("*")),
            ("multipart/related; type=\"application/dicom;transfer-syntax=*\"", Some("application/dicom"), Some("*")),
            ("multipart/related; type='a/b'; type='c/d'", Some("a/b"), None),
            (
                "multipart/related; type=\"image/jls ; x=1; Transfer-Syntax = \\\"1.2\\\"\"",
                Some("image/jls"),
                Some("1.2"),
            ),
            // What stands beside it counts more.
            ("multipart/related; type=\"a/b; transfer-syntax=1.2\"; transfer-syntax=1.3", Some("a/b"), Some("1.3")),
            ("multipart/related; type=\"\"", None, None),
            ("multipart/related; type=\"; transfer-syntax=1.2\"", None, Some("1.2")),
            ("application/dicom; transfer-syntax=1.2", None, Some("1.2")),
            ("multipart/related", None, None),
        ];
        for (text, kind, syntax) in rows {
            let media = MediaType::parse(text).unwrap();
            assert_eq!((media.part_type(), media.transfer_syntax()), (kind, syntax), "{text}");
        }
    }

    #[test]
    fn accept_is_negotiated() {
        let offered = [DICOM_JSON, "application/json"];
        let rows = [
            (None, Some(DICOM_JSON)),
            (Some(""), Some(DICOM_JSON)),
            (Some("*/*"), Some(DICOM_JSON)),
            (Some("application/*;q=0.1"), Some(DICOM_JSON)),
            (Some("application/json"), Some("application/json")),
            (Some("application/json;q=0.9, application/dicom+json;q=0.5"), Some("application/json")),
            (Some("multipart/related; type=\"application/dicom+json\""), Some(DICOM_JSON)),
            (Some("multipart/related; type='application/dicom+json'"), Some(DICOM_JSON)),
            (Some("multipart/related; type=\"application/dicom+json; transfer-syntax=*\""), Some(DICOM_JSON)),
            (Some("application/dicom+json;q=0, */*"), Some("application/json")),
            (Some("application/dicom+xml"), None),
            (Some("multipart/related; type=\"application/dicom+xml\", text/html"), None),
            (Some("nonsense, application/dicom+json"), Some(DICOM_JSON)),
            (Some("application/dicom+json;q=x"), None),
        ];
        for (accept, want) in rows {
            assert_eq!(preferred(accept, &offered), want, "{accept:?}");
        }
    }

    #[test]
    fn the_member_that_gave_the_type_says_whether_in_parts() {
        let rows = [
            (None, Some((IMAGE_JPEG, false))),
            (Some("*/*"), Some((IMAGE_JPEG, false))),
            (Some("image/*"), Some((IMAGE_JPEG, false))),
            (Some("image/png"), Some((IMAGE_PNG, false))),
            (Some("multipart/related; type=\"image/png\""), Some((IMAGE_PNG, true))),
            (Some("multipart/related"), Some((IMAGE_JPEG, true))),
            (Some("multipart/*"), Some((IMAGE_JPEG, true))),
            (Some("multipart/related; type=\"image/*\""), Some((IMAGE_JPEG, true))),
            // A member that is better liked, but gives nothing, does not decide.
            (Some("multipart/related; type=\"video/mp4\", image/jpeg;q=0.5"), Some((IMAGE_JPEG, false))),
            (Some("image/gif, multipart/related; type=\"image/jpeg\";q=0.5"), Some((IMAGE_JPEG, true))),
            (Some("multipart/related; type=\"image/jpeg\";q=0.5, image/png"), Some((IMAGE_PNG, false))),
            (Some("image/jpeg;q=0.5, multipart/related; type=\"image/jpeg\""), Some((IMAGE_JPEG, true))),
            (Some("image/jpeg, multipart/related; type=\"image/jpeg\""), Some((IMAGE_JPEG, false))),
            (Some("multipart/related; type=\"image/gif\""), None),
        ];
        let pictures = [IMAGE_JPEG, IMAGE_PNG];
        for (accept, want) in rows {
            assert_eq!(settled(accept, &pictures, &pictures), want, "{accept:?}");
        }
    }

    /// What is offered in parts is covered by a range of parts without a type; what is not is not.
    #[test]
    fn a_range_of_parts_covers_what_is_given_in_parts() {
        let offered = [DICOM_JSON, JSON, DICOM_XML];
        let rows = [
            ("multipart/related", Some(DICOM_XML)),
            ("multipart/*", Some(DICOM_XML)),
            ("multipart/related; type=\"*/*\"", Some(DICOM_XML)),
            ("multipart/related; type=\"application/*\"", Some(DICOM_XML)),
            ("multipart/related;q=0.5, application/json;q=0.1", Some(DICOM_XML)),
            ("multipart/related, application/dicom+json", Some(DICOM_JSON)),
            ("multipart/related, application/dicom+xml;q=0", None),
            ("multipart/related; type=\"image/*\"", None),
        ];
        for (accept, want) in rows {
            let got = settled(Some(accept), &offered, &[DICOM_XML]).map(|(media, _)| media);
            assert_eq!(got, want, "{accept}");
            assert_eq!(preferred(Some(accept), &[DICOM_JSON]), want.filter(|media| *media == DICOM_JSON), "{accept}");
        }
    }
}

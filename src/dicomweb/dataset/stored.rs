//! Elements out of the bytes of a data set in little-endian order (PS3.18 table F.2.3-1).

use super::{Element, Kind, Number, VR, Value, kind};
use crate::dicom::charset::Charset;
use crate::dicom::vr::Vr;
use std::fmt::Display;
use std::str::FromStr;

/// The element that a stored value is. A value that its representation does not fit is bytes, and UN.
pub(in crate::dicomweb) fn stored(vr: Vr, bytes: &[u8], charset: &Charset) -> Element {
    let Ok(named) = VR::from_str(&vr.letters()) else { return raw(VR::UN, bytes) };
    match kind(named) {
        Kind::Name => Element::text(named, &charset.decode_name(bytes)),
        Kind::Text | Kind::LongText if vr.is_text() => Element::text(named, &charset.decode(bytes)),
        Kind::Text | Kind::LongText | Kind::Decimal => Element::text(named, &Charset::default().decode(bytes)),
        Kind::Bytes | Kind::Sequence => raw(named, bytes),
        Kind::Tags | Kind::Binary if !bytes.len().is_multiple_of(width(named)) => raw(VR::UN, bytes),
        Kind::Tags => {
            let tag = |b: &[u8]| Some(format!("{:02X}{:02X}{:02X}{:02X}", b[1], b[0], b[3], b[2]));
            Element { vr: named, value: Value::Text(bytes.chunks_exact(4).map(tag).collect()).or_empty() }
        }
        Kind::Binary => Element { vr: named, value: numbers(named, bytes).or_empty() },
    }
}

fn raw(vr: VR, bytes: &[u8]) -> Element {
    Element { vr, value: Value::Inline(bytes.to_vec()).or_empty() }
}

/// Bytes of one value.
fn width(vr: VR) -> usize {
    match vr {
        VR::SS | VR::US => 2,
        VR::FD | VR::SV | VR::UV => 8,
        _ => 4,
    }
}

fn numbers(vr: VR, bytes: &[u8]) -> Value {
    let words = bytes.chunks_exact(width(vr));
    // No chunk is shorter than its width.
    let whole = |word: &[u8]| word.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let texts = words.map(|word| match (vr, whole(word)) {
        (VR::FL, bits) => float(f32::from_bits(bits as u32)),
        (VR::FD, bits) => float(f64::from_bits(bits)),
        (VR::SS, bits) => (bits as u16).cast_signed().to_string(),
        (VR::SL, bits) => (bits as u32).cast_signed().to_string(),
        (VR::SV, bits) => bits.cast_signed().to_string(),
        (_, bits) => bits.to_string(),
    });
    Value::Numbers(texts.map(|text| Number::parse(&text).or_else(|| Number::not_finite(&text))).collect())
}

/// The shortest text that reads back as the same number.
fn float<T: Display + std::fmt::LowerExp + Into<f64> + Copy>(value: T) -> String {
    let wide: f64 = value.into();
    match wide.abs() {
        size if size == 0.0 || (1e-5..1e16).contains(&size) => value.to_string(),
        size if size.is_finite() => format!("{value:e}"),
        _ if wide.is_nan() => "NaN".to_owned(),
        _ if wide > 0.0 => "inf".to_owned(),
        _ => "-inf".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicomweb::json;

    fn written(vr: &[u8; 2], bytes: &[u8], charset: &[u8]) -> String {
        let set = [(crate::dicom::tag::Tag(0x0008_0100), stored(Vr(*vr), bytes, &Charset::declared(charset)))];
        let text = String::from_utf8(json::write_one(&set.into_iter().collect())).unwrap();
        text.strip_prefix("{\"00080100\":").unwrap().strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn each_representation_becomes_what_annex_f_says() {
        let mixed = [1.5_f32, f32::NAN, f32::INFINITY, -2.0].map(f32::to_le_bytes).concat();
        let rows: [(&[u8; 2], &[u8], &str); 22] = [
            (b"US", &[1, 0, 255, 255], r#"{"vr":"US","Value":[1,65535]}"#),
            (b"SS", &[255, 255], r#"{"vr":"SS","Value":[-1]}"#),
            (b"UL", &[0, 0, 0, 128], r#"{"vr":"UL","Value":[2147483648]}"#),
            (b"SL", &[0, 0, 0, 128], r#"{"vr":"SL","Value":[-2147483648]}"#),
            (b"UV", &[255; 8], r#"{"vr":"UV","Value":[18446744073709551615]}"#),
            (b"SV", &[255; 8], r#"{"vr":"SV","Value":[-1]}"#),
            (b"FL", &0.1f32.to_le_bytes(), r#"{"vr":"FL","Value":[0.1]}"#),
            (b"FL", &1e38f32.to_le_bytes(), r#"{"vr":"FL","Value":[1e38]}"#),
            (b"FD", &1e-7f64.to_le_bytes(), r#"{"vr":"FD","Value":[1e-7]}"#),
            (b"FD", &f64::NAN.to_le_bytes(), r#"{"vr":"FD","Value":["NaN"]}"#),
            (b"FD", &f64::NEG_INFINITY.to_le_bytes(), r#"{"vr":"FD","Value":["-inf"]}"#),
            (b"FL", &mixed, r#"{"vr":"FL","Value":[1.5,"NaN","inf",-2]}"#),
            (b"AT", &[0x10, 0x00, 0x20, 0x00], r#"{"vr":"AT","Value":["00100020"]}"#),
            (b"DS", b"1.50\\ -2 ", r#"{"vr":"DS","Value":[1.50,-2]}"#),
            (b"DS", b".5\\+.5", r#"{"vr":"DS","Value":[0.5,0.5]}"#),
            (b"IS", b"12 ", r#"{"vr":"IS","Value":[12]}"#),
            (b"CS", b"A\\\\B ", r#"{"vr":"CS","Value":["A",null,"B"]}"#),
            (b"PN", b"A^B=\xE5\xB1\xB1", r#"{"vr":"PN","Value":[{"Alphabetic":"A^B","Ideographic":"山"}]}"#),
            (b"OB", &[1, 2], r#"{"vr":"OB","InlineBinary":"AQI="}"#),
            (b"UI", b"1.2\0", r#"{"vr":"UI","Value":["1.2"]}"#),
            (b"LO", b"", r#"{"vr":"LO"}"#),
            // It does not fit: bytes, and no wrong number.
            (b"US", &[1, 0, 7], r#"{"vr":"UN","InlineBinary":"AQAH"}"#),
        ];
        for (vr, bytes, want) in rows {
            assert_eq!(written(vr, bytes, b"ISO_IR 192"), want);
        }
        assert_eq!(written(b"LO", b"caf\xE9", b"ISO_IR 100"), r#"{"vr":"LO","Value":["café"]}"#);
        assert_eq!(written(b"ZZ", b"ab", b""), r#"{"vr":"UN","InlineBinary":"YWI="}"#);
    }
}

//! Pictures of small frames, by hand.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::contents::tests::{item, long, short};
use crate::dicom::layout::Pixels;

fn layout(columns: u16, samples: u16, bits: u16, stored: u16, signed: bool) -> Layout {
    let image = Image {
        rows: 1,
        columns,
        samples,
        bits_allocated: bits,
        bits_stored: stored,
        signed,
        photometric: Photometric::Monochrome2,
        ..Image::unknown()
    };
    Layout { image, planar: false, float: false, pixels: Pixels::Native { at: 0, length: 0, word: 1 } }
}

fn look(frame: u32, set: &[u8]) -> Look {
    stored_look(frame, true, set)
}

fn stored_look(frame: u32, told: bool, set: &[u8]) -> Look {
    let mut surveyor = LookSurveyor::new(frame, told);
    for piece in set.chunks(7) {
        assert!(!surveyor.push(piece).unwrap());
    }
    surveyor.look()
}

fn shades(layout: &Layout, look: &Look, photometric: Photometric, cells: &[u8], window: Option<Window>) -> Vec<u8> {
    render(layout, look, photometric, Cells::Native, cells, &Wish { window, viewport: None }).unwrap().bytes
}

fn words(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn windows_and_rescaling_are_those_of_the_standard() {
    let set = [
        short(0x0028_1050, b"DS", b"50\\9"),
        short(0x0028_1051, b"DS", b"101 "),
        short(0x0028_1052, b"DS", b"-10 "),
        short(0x0028_1053, b"DS", b"2 "),
    ]
    .concat();
    let (of_set, plain) = (look(1, &set), Look::default());
    let frame = layout(4, 1, 16, 12, true);
    use Photometric::{Monochrome1, Monochrome2};
    // -10 + 2x: -10, 0, 50, 100 within 50 ± 50.
    let cells = words(&[0, 5, 30, 55]);
    assert_eq!(shades(&frame, &of_set, Monochrome2, &cells, None), [0, 1, 129, 255]);
    assert_eq!(shades(&frame, &of_set, Monochrome1, &cells, None), [255, 254, 126, 0]);
    let exact = Window::new(50.0, 100.0, Function::LinearExact);
    assert_eq!(shades(&frame, &of_set, Monochrome2, &cells, exact), [0, 0, 128, 255]);
    let sigmoid = Window::new(50.0, 100.0, Function::Sigmoid);
    assert_eq!(shades(&frame, &of_set, Monochrome2, &cells, sigmoid), [21, 30, 128, 225]);
    // Without a window: the range of the frame, signed, and without what lies above Bits Stored.
    assert_eq!(shades(&frame, &plain, Monochrome2, &words(&[-100, 0, 100, 0x1064]), None), [0, 128, 255, 255]);
}

/// PS3.5 section 8.1.1: old objects have their stored bits where High Bit says, also those packed by RLE; decoders put them lowest.
#[test]
fn the_stored_bits_end_at_high_bit() {
    let plain = Look::default();
    let want = shades(&layout(3, 1, 16, 12, true), &plain, Photometric::Monochrome2, &words(&[-100, 0, 100]), None);
    let of = |high: u16, stored: u16, come: Cells, cells: &[i16]| {
        let mut frame = layout(3, 1, 16, stored, true);
        frame.image.high_bit = Some(high);
        let wish = Wish::default();
        render(&frame, &plain, Photometric::Monochrome2, come, &words(cells), &wish).unwrap().bytes
    };
    use Cells::{Decoded, Native, Unpacked};
    assert_eq!(want, [0, 128, 255]);
    for come in [Native, Unpacked] {
        assert_eq!(of(15, 12, come, &[-1600, 15, 1600]), want, "what lies below does not count");
        assert_eq!(of(13, 12, come, &[-400, 1, 0x4000 | 400]), want, "and neither does what lies above");
        assert_eq!(of(11, 12, come, &[-100, 0, 100]), want);
    }
    assert_eq!(of(15, 12, Decoded, &[-100, 0, 100]), want);
    // One that cannot be true.
    assert_eq!(of(99, 12, Native, &[-100, 0, 100]), want);
    assert_eq!(of(15, 0, Native, &[-100, 0, 100]), want);
}

/// What a transfer syntax keeps of the cells that were there.
#[test]
fn only_what_is_decoded_has_its_bits_lowest_and_only_what_is_packed_its_samples_together() {
    let of = |uid| Cells::of_fragments(&TransferSyntaxUid::parse(uid).unwrap());
    assert_eq!(of("1.2.840.10008.1.2.5"), Cells::Unpacked);
    assert_eq!(of("1.2.840.10008.1.2.1.98"), Cells::Native);
    for compressed in ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"] {
        assert_eq!(of(compressed), Cells::Decoded);
    }
}

#[test]
fn functional_groups_count_more_than_the_data_set() {
    let window = |center: &[u8]| {
        let inner = [short(0x0028_1050, b"DS", center), short(0x0028_1051, b"DS", b"2 ")].concat();
        let inner = item(&inner);
        item(&long(0x0028_9132, b"SQ", inner.len() as u32, &inner))
    };
    let (shared, frames) = (window(b"10"), [window(b"20"), item(&[])].concat());
    let set = [
        short(0x0028_1050, b"DS", b"5 "),
        short(0x0028_1051, b"DS", b"2 "),
        long(0x5200_9229, b"SQ", shared.len() as u32, &shared),
        long(0x5200_9230, b"SQ", frames.len() as u32, &frames),
    ]
    .concat();
    let center = |frame| look(frame, &set).window().unwrap().center;
    assert_eq!([center(1), center(2)], [20.0, 10.0]);
    assert_eq!(look(1, &set[..20]).window().unwrap().center, 5.0);
}

#[test]
fn tables_and_palettes_are_looked_up() {
    let lut =
        [short(0x0028_3002, b"US", &[3, 0, 1, 0, 8, 0]), long(0x0028_3006, b"OW", 6, &words(&[255, 0, 51]))].concat();
    let lut = item(&lut);
    let voi = look(1, &long(0x0028_3010, b"SQ", lut.len() as u32, &lut));
    let frame = layout(4, 1, 8, 8, false);
    assert_eq!(shades(&frame, &voi, Photometric::Monochrome2, &[0, 2, 3, 9], None), [255, 0, 51, 51]);
    let palette = [
        [0x1101, 0x1102, 0x1103].map(|e| short(0x0028_0000 | e, b"US", &[2, 0, 0, 0, 16, 0])).concat(),
        [0x1201, 0x1202, 0x1203].map(|e| long(0x0028_0000 | e, b"OW", 4, &words(&[0, -1]))).concat(),
    ]
    .concat();
    let palette = look(1, &palette);
    let colours = shades(&layout(2, 1, 8, 8, false), &palette, Photometric::PaletteColor, &[0, 1], None);
    assert_eq!(colours, [0, 0, 0, 255, 255, 255]);
    let none = render(&frame, &Look::default(), Photometric::PaletteColor, Cells::Native, &[0; 4], &Wish::default());
    assert!(none.is_err());
}

/// PS3.3 section C.11.2.1.1: the first value of a VOI table is of what the modality transformation gives, not of the cells.
#[test]
fn the_first_value_of_a_table_has_the_sign_of_its_input() {
    let number = |element: u32, value: u16| short(0x0028_0000 | element, b"US", &value.to_le_bytes());
    let table = |sequence: u32, vr: &[u8; 2], first: i32, entries: &[i16]| {
        let descriptor = words(&[entries.len() as i16, first as u16 as i16, 8]);
        let data = words(entries);
        let inner =
            item(&[short(0x0028_3002, vr, &descriptor), long(0x0028_3006, b"OW", data.len() as u32, &data)].concat());
        long(sequence, b"SQ", inner.len() as u32, &inner)
    };
    let (voi, modality) = (0x0028_3010, 0x0028_3000);
    let entries = [0, 100, 255];
    let intercept = short(0x0028_1052, b"DS", b"-1024 ");
    // Pixel Representation, what the modality transformation is made of, the representation that is written, and whether that
    // is what is stored.
    type Row<'a> = (u16, &'a [u8], &'a [u8; 2], bool, i32, [i16; 3]);
    let high = table(modality, b"US", 0, &[100, 40_000u16 as i16, 40_002u16 as i16]);
    let rows: [Row<'_>; 6] = [
        (0, &intercept, b"SS", true, -1024, [0, 1, 2]),
        (0, &intercept, b"US", false, -1024, [0, 1, 2]),
        (1, &[], b"SS", false, -2, [-2, -1, 0]),
        (0, &[], b"US", false, 40_000, [40_000u16 as i16, 40_001u16 as i16, 40_002u16 as i16]),
        (1, &high, b"US", true, 40_001, [1, 1, 2]),
        (1, &high, b"SS", false, 40_001, [1, 1, 2]),
    ];
    for (at, (signed, rescaled, vr, told, first, cells)) in rows.into_iter().enumerate() {
        let set = [&number(0x0101, 16), &number(0x0103, signed), rescaled, &table(voi, vr, first, &entries)].concat();
        let look = stored_look(1, told, &set);
        let got = shades(&layout(3, 1, 16, 16, signed == 1), &look, Photometric::Monochrome2, &words(&cells), None);
        let want = if at < 4 { [0, 100, 255] } else { [0, 0, 100] };
        assert_eq!(got, want, "row {at}");
    }
}

#[test]
fn colours_come_from_samples_planes_and_shared_chroma() {
    let (rgb, plain) = (layout(2, 3, 8, 8, false), Look::default());
    let planes = Layout { planar: true, ..rgb.clone() };
    let cells = [1, 2, 3, 4, 5, 6];
    assert_eq!(shades(&rgb, &plain, Photometric::Rgb, &cells, None), cells);
    assert_eq!(shades(&planes, &plain, Photometric::Rgb, &cells, None), [1, 3, 5, 2, 4, 6]);
    assert_eq!(
        shades(&rgb, &plain, Photometric::YbrFull, &[128, 128, 128, 76, 85, 255], None),
        [128, 128, 128, 254, 0, 0]
    );
    assert_eq!(shades(&rgb, &plain, Photometric::YbrFull422, &[10, 20, 128, 128], None), [10, 10, 10, 20, 20, 20]);
    assert_eq!(
        shades(&rgb, &plain, Photometric::YbrFull422, &[10, 128, 128, 20, 128, 128], None),
        [10, 10, 10, 20, 20, 20]
    );
    // Decoded samples lie side by side, whatever the attribute says.
    for come in [Cells::Decoded, Cells::Unpacked] {
        assert_eq!(render(&planes, &plain, Photometric::Rgb, come, &cells, &Wish::default()).unwrap().bytes, cells);
    }
    let wide = layout(1, 3, 16, 16, false);
    assert_eq!(shades(&wide, &plain, Photometric::Rgb, &[0, 1, 0, 2, 0, 255], None), [1, 2, 255]);
}

#[test]
fn bits_are_black_and_white() {
    let frame = layout(4, 1, 1, 1, false);
    assert_eq!(shades(&frame, &Look::default(), Photometric::Monochrome2, &[0b0101], None), [255, 0, 255, 0]);
}

#[test]
fn viewports_fit_cut_and_turn() {
    let mut frame = layout(4, 1, 8, 8, false);
    frame.image.rows = 2;
    let cells = [0, 0, 255, 255, 0, 0, 255, 255];
    let at = |viewport| {
        let wish = Wish { window: Window::new(127.5, 255.0, Function::LinearExact), viewport: Some(viewport) };
        render(&frame, &Look::default(), Photometric::Monochrome2, Cells::Native, &cells, &wish)
    };
    let fit = at(Viewport { width: 2, height: 2, region: None }).unwrap();
    assert_eq!((fit.width, fit.height), (2, 1));
    assert!(fit.bytes[0] < 50 && fit.bytes[1] > 205, "{:?}", fit.bytes);
    let turned = at(Viewport { width: 4, height: 2, region: Some([0.0, 0.0, -4.0, 2.0]) }).unwrap();
    assert_eq!(turned.bytes, [255, 255, 0, 0, 255, 255, 0, 0]);
    let part = at(Viewport { width: 2, height: 2, region: Some([2.0, 0.0, 2.0, 2.0]) }).unwrap();
    assert_eq!((part.width, part.bytes), (2, vec![255; 4]));
    assert_eq!(at(Viewport { width: 2, height: 2, region: Some([9.0, 0.0, 2.0, 2.0]) }), Err(RenderError::Region));
}

/// REL-25: however large a viewport is asked for, the picture has a limit in bytes; its proportions stay.
#[test]
fn a_picture_is_no_longer_than_its_limit() {
    let bytes: Vec<u8> = (0..16 * 8 * 3).map(|at| at as u8).collect();
    let picture = Picture { width: 16, height: 8, channels: 3, bytes };
    let viewport = Viewport { width: 8192, height: 8192, region: None };
    let made = scale::fitted(&picture, viewport, 6150).unwrap();
    assert_eq!((made.width, made.height, made.bytes.len()), (64, 32, 6144));
    let large = Viewport { width: 32, height: 99, region: None };
    let made = scale::fitted(&picture, large, 6150).unwrap();
    assert_eq!((made.width, made.height, made.bytes.len()), (32, 16, 1536), "what fits is not made smaller");
    // A palette makes three bytes of one.
    let mut wide = layout(u16::MAX, 1, 8, 8, false);
    wide.image.rows = 400;
    let made = render(&wide, &Look::default(), Photometric::PaletteColor, Cells::Native, &[], &Wish::default());
    assert_eq!(made, Err(RenderError::TooLarge));
}

#[test]
fn what_is_not_there_is_an_error_and_not_a_panic() {
    let frame = layout(4, 1, 16, 12, false);
    for cells in [&[][..], &[1, 2, 3], &[0; 7]] {
        let made = render(&frame, &Look::default(), Photometric::Monochrome2, Cells::Native, cells, &Wish::default());
        assert_eq!(made, Err(RenderError::Short));
    }
    let float = Layout { float: true, ..layout(1, 1, 32, 32, false) };
    for (unknown, photometric, cells) in
        [(float, Photometric::Monochrome2, &[0; 4][..]), (frame, Photometric::Other, &[0; 8][..])]
    {
        assert!(render(&unknown, &Look::default(), photometric, Cells::Native, cells, &Wish::default()).is_err());
    }
}

#[test]
fn files_are_what_they_say() {
    let picture = Picture { width: 2, height: 1, channels: 3, bytes: vec![255, 0, 0, 0, 0, 255] };
    assert!(picture.encoded(Kind::Png).unwrap().starts_with(b"\x89PNG\r\n"));
    assert!(picture.encoded(Kind::Jpeg(90)).unwrap().starts_with(&[0xFF, 0xD8, 0xFF]));
}

/// PS3.3 section C.7.6.3.1: Bits Stored that is not there, or more than is allocated, makes no colour dark.
#[test]
fn bits_stored_that_cannot_be_true_change_no_colour() {
    let plain = Look::default();
    let rows: [(u16, u16, &[u8]); 4] =
        [(8, 0, &[1, 2, 255]), (8, 16, &[1, 2, 255]), (16, 0, &[0, 1, 0, 2, 0, 255]), (16, 99, &[0, 1, 0, 2, 0, 255])];
    for (allocated, stored, cells) in rows {
        let frame = layout(1, 3, allocated, stored, false);
        assert_eq!(shades(&frame, &plain, Photometric::Rgb, cells, None), [1, 2, 255], "{stored} of {allocated}");
    }
}

/// PS3.3 section C.11.1: by a slope of 0 every cell would be the same.
#[test]
fn a_slope_of_zero_counts_as_absent() {
    let set = [
        short(0x0028_1050, b"DS", b"50"),
        short(0x0028_1051, b"DS", b"101 "),
        short(0x0028_1052, b"DS", b"-10 "),
        short(0x0028_1053, b"DS", b"0 "),
    ]
    .concat();
    let frame = layout(3, 1, 16, 12, true);
    assert_eq!(shades(&frame, &look(1, &set), Photometric::Monochrome2, &words(&[10, 60, 110]), None), [1, 129, 255]);
}

/// PS3.3 section C.7.5.1.1.2: padding is no part of the image; by it the rest would be squeezed into a few shades.
#[test]
fn padding_does_not_count_for_the_range_of_a_frame() {
    // Bits Stored, Pixel Representation, Pixel Padding Value and Pixel Padding Range Limit, cells, shades.
    type Row = (u16, u16, u16, Option<u16>, [i16; 4], [u8; 4]);
    let rows: [Row; 6] = [
        (16, 1, -2000i16 as u16, None, [-2000, 0, 100, 200], [0, 0, 128, 255]),
        (12, 1, -2000i16 as u16, None, [-2000, 0, 100, 200], [0, 0, 128, 255]),
        (16, 0, 0, Some(9), [0, 9, 10, 20], [0, 0, 0, 255]),
        (12, 0, 4095, Some(4000), [4000, 4095, 10, 20], [255, 255, 0, 255]),
        // One that is none of the cells.
        (16, 0, 7, None, [0, 100, 100, 200], [0, 128, 128, 255]),
        // Nothing else is there.
        (16, 0, 0, Some(9), [0, 0, 5, 9], [0, 0, 142, 255]),
    ];
    for (at, (bits, signed, value, limit, cells, want)) in rows.into_iter().enumerate() {
        let number = |element: u32, value: u16| short(0x0028_0000 | element, b"US", &value.to_le_bytes());
        let mut set = [number(0x0101, bits), number(0x0103, signed), number(0x0120, value)].concat();
        set.extend(limit.map(|limit| number(0x0121, limit)).unwrap_or_default());
        let frame = layout(4, 1, 16, bits, signed == 1);
        let got = shades(&frame, &look(1, &set), Photometric::Monochrome2, &words(&cells), None);
        assert_eq!(got, want, "row {at}");
    }
}

/// PS3.3 section C.7.6.3.1.6: palettes of 8 bits that are called such of 16, and of 16 that are called such of 8, have one scale.
#[test]
fn a_palette_has_one_scale_whatever_its_bits_are_called() {
    let palette = |bits: u8, highest: [i16; 3]| {
        let descriptors = [0x1101, 0x1102, 0x1103].map(|e| short(0x0028_0000 | e, b"US", &[2, 0, 0, 0, bits, 0]));
        let entries = [0x1201, 0x1202, 0x1203].into_iter().zip(highest);
        let entries = entries.flat_map(|(e, highest)| long(0x0028_0000 | e, b"OW", 4, &words(&[0, highest])));
        look(1, &[descriptors.concat(), entries.collect()].concat())
    };
    let frame = layout(2, 1, 8, 8, false);
    let rows: [(u8, [i16; 3], [u8; 3]); 4] = [
        (16, [255, 128, 0], [255, 128, 0]),
        (8, [255, 128, 0], [255, 128, 0]),
        (8, [-1, i16::MIN, 100], [255, 128, 0]),
        (16, [-1, 100, 100], [255, 0, 0]),
    ];
    for (bits, highest, want) in rows {
        let got = shades(&frame, &palette(bits, highest), Photometric::PaletteColor, &[0, 1], None);
        assert_eq!((&got[..3], &got[3..]), (&[0; 3][..], &want[..]), "{highest:?} of {bits} bits");
    }
}

fn sequence(tag: u32, content: &[u8]) -> Vec<u8> {
    let content = item(content);
    long(tag, b"SQ", content.len() as u32, &content)
}

/// A table of so many entries of so many bits, as far as they are there.
fn lut(count: i16, bits: i16, data: &[u8]) -> Vec<u8> {
    let descriptor = short(0x0028_3002, b"US", &words(&[count, 0, bits]));
    [descriptor, long(0x0028_3006, b"OW", data.len() as u32, data)].concat()
}

/// PS3.3 section C.11.2.1.1: a table of words of which the last are missing is not one of bytes.
#[test]
fn the_last_entry_of_a_table_stands_for_those_that_are_missing() {
    let frame = layout(4, 1, 8, 8, false);
    let of = |bits, data: &[u8]| {
        let voi = look(1, &sequence(0x0028_3010, &lut(10, bits, data)));
        shades(&frame, &voi, Photometric::Monochrome2, &[0, 1, 7, 9], None)
    };
    assert_eq!(of(12, &words(&[0, 100, 200, 300, 400, 500, 600, 4095])), [0, 6, 255, 255]);
    let bytes: Vec<u8> = (0..16).map(|at| at * 10).collect();
    assert_eq!(of(8, &bytes), [0, 10, 70, 90], "bytes, and more of them than entries");
    assert_eq!(of(12, &bytes[..10]), of(12, &words(&[0, 10, 20, 30, 40, 50, 60, 70, 80, 90])));
}

/// PS3.3 section C.8.7.1.1.2: the Modality LUT of an angiogram leads back to the intensities of the X-rays, and is not for display.
#[test]
fn a_modality_table_of_intensities_is_not_applied() {
    let (xa, xrf) = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2");
    let (stored, by_table) = ([0, 128, 255], [255, 100, 0]);
    let rows = [
        (xa, "LOG ", stored),
        (xrf, "DISP", stored),
        (xa, "LIN ", by_table),
        ("1.2.840.10008.5.1.4.1.1.1.1\0", "LOG ", by_table),
    ];
    for (class, relationship, want) in rows {
        let set = [
            short(0x0008_0016, b"UI", class.as_bytes()),
            short(0x0028_1040, b"CS", relationship.as_bytes()),
            sequence(0x0028_3000, &lut(3, 8, &words(&[255, 100, 0]))),
        ]
        .concat();
        let frame = layout(3, 1, 8, 8, false);
        let got = shades(&frame, &look(1, &set), Photometric::Monochrome2, &[0, 1, 2], None);
        assert_eq!(got, want, "{class} {relationship}");
    }
}

/// PS3.3 section C.7.6.16.2.10b: a VOI table of functional groups, of the frame before the shared one.
#[test]
fn a_voi_table_may_be_of_functional_groups() {
    let voi = |entries: &[i16]| {
        let table = lut(entries.len() as i16, 8, &words(entries));
        sequence(0x0028_9132, &sequence(0x0028_3010, &table))
    };
    let frames = [item(&voi(&[255, 51, 0])), item(&[])].concat();
    let set =
        [sequence(0x5200_9229, &voi(&[0, 100, 255])), long(0x5200_9230, b"SQ", frames.len() as u32, &frames)].concat();
    let frame = layout(3, 1, 8, 8, false);
    let of = |number| shades(&frame, &look(number, &set), Photometric::Monochrome2, &[0, 1, 2], None);
    assert_eq!([of(1), of(2)], [[255, 51, 0], [0, 100, 255]]);
}

//! Ways to cut the same bytes into pieces, for readers that must not care.

/// Inputs are cut byte by byte up to this length.
const SHORT: usize = 4096;

/// The bytes whole, in pieces of changing length, and one by one if they are few. The lengths follow from the bytes, so
/// that a failing input fails again.
pub fn cuttings(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut state =
        bytes.iter().fold(0x9E37_79B9_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Mostly short, where headers are split, and sometimes long.
        let length = 1 + (state >> 16) as usize % if state >> 30 == 0 { 1000 } else { 13 };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    let mut all = vec![vec![bytes], pieces];
    if bytes.len() <= SHORT {
        all.push(bytes.chunks(1).collect());
    }
    all
}

/// What `read` makes of the bytes; it must be the same however they are cut.
pub fn same_for_any_cutting<T: PartialEq>(
    bytes: &[u8],
    read: impl Fn(&[&[u8]]) -> T,
    told: impl Fn(&T) -> String,
) -> T {
    let mut cuttings = cuttings(bytes).into_iter();
    let whole = read(&cuttings.next().unwrap());
    for pieces in cuttings {
        let cut = read(&pieces);
        let lengths: Vec<usize> = pieces.iter().take(20).map(|piece| piece.len()).collect();
        assert!(cut == whole, "cut into {lengths:?}: {}; whole: {}", told(&cut), told(&whole));
    }
    whole
}

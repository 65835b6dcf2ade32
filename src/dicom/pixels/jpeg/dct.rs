//! The inverse discrete cosine transform (ITU-T T.81 section A.3.3), rounded once, at the end.

/// `C(u)/2 * cos((2x+1)u*pi/16)` for x from 0 to 3; the other half follows by symmetry.
const WAVES: [[f32; 4]; 8] = [
    [0.353_553_4, 0.353_553_4, 0.353_553_4, 0.353_553_4],
    [0.490_392_65, 0.415_734_8, 0.277_785_12, 0.097_545_16],
    [0.461_939_77, 0.191_341_72, -0.191_341_72, -0.461_939_77],
    [0.415_734_8, -0.097_545_16, -0.490_392_65, -0.277_785_12],
    [0.353_553_4, -0.353_553_4, -0.353_553_4, 0.353_553_4],
    [0.277_785_12, -0.490_392_65, 0.097_545_16, 0.415_734_8],
    [0.191_341_72, -0.461_939_77, 0.461_939_77, -0.191_341_72],
    [0.097_545_16, -0.277_785_12, 0.415_734_8, -0.490_392_65],
];

/// From dequantized coefficients, row by row, to samples of `precision` bits. `flat` if only the first is not zero.
pub(super) fn inverse(coefficients: &[f32; 64], flat: bool, precision: u32) -> [u16; 64] {
    let half = (1u32 << (precision - 1)) as f32;
    let highest = ((1u32 << precision) - 1) as f32;
    let sample = |value: f32| (value + half).round_ties_even().clamp(0.0, highest) as u16;
    if flat {
        return [sample(coefficients[0] / 8.0); 64];
    }
    let mut rows = [0f32; 64];
    for (line, out) in coefficients.chunks_exact(8).zip(rows.chunks_exact_mut(8)) {
        let line: &[f32; 8] = line.first_chunk().unwrap_or(&[0.0; 8]);
        out.copy_from_slice(&wave(line));
    }
    let mut samples = [0; 64];
    for column in 0..8 {
        let line = wave(&std::array::from_fn(|row| rows[row * 8 + column]));
        for (row, value) in line.iter().enumerate() {
            samples[row * 8 + column] = sample(*value);
        }
    }
    samples
}

/// The transform of one line.
fn wave(line: &[f32; 8]) -> [f32; 8] {
    let mut out = [0.0; 8];
    for x in 0..4 {
        let sum = |first: usize| (first..8).step_by(2).map(|u| line[u] * WAVES[u][x]).sum::<f32>();
        let (even, odd) = (sum(0), sum(1));
        (out[x], out[7 - x]) = (even + odd, even - odd);
    }
    out
}

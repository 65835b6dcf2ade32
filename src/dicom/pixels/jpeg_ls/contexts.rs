//! What a JPEG-LS decoder learns as it goes: the contexts and their parameters (ITU-T T.87 annex A).

use super::super::DecodeError;
use super::bits::Bits;

/// The parameters of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) max: i32,
    pub(super) near: i32,
    pub(super) thresholds: [i32; 3],
    pub(super) reset: i32,
}

impl Parameters {
    /// The defaults (ITU-T T.87 section C.2.4.1.1.1).
    pub(super) fn default_for(max: i32, near: i32) -> Self {
        let clamp = |value: i32, least: i32| if value > max || value < least { least } else { value };
        let [t1, t2, t3] = if max >= 128 {
            let factor = (max.min(4095) + 128) / 256;
            [factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near]
        } else {
            let factor = 256 / (max + 1);
            [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
        };
        let t1 = clamp(t1, near + 1);
        let t2 = clamp(t2, t1);
        let t3 = clamp(t3, t2);
        Self { max, near, thresholds: [t1, t2, t3], reset: 64 }
    }

    fn range(&self) -> i32 {
        if self.near == 0 { self.max + 1 } else { (self.max + 2 * self.near) / (2 * self.near + 1) + 1 }
    }
}

/// One context of regular mode.
#[derive(Debug, Clone, Copy)]
struct Regular {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

/// One context of run interruption.
#[derive(Debug, Clone, Copy)]
struct Interruption {
    a: i32,
    n: i32,
    negative: i32,
}

/// The contexts of one scan, and the constants that follow from its parameters.
pub(super) struct Contexts {
    parameters: Parameters,
    range: i32,
    /// Bits of a mapped error.
    error_bits: u32,
    limit: u32,
    regular: Vec<Regular>,
    interruption: [Interruption; 2],
}

impl Contexts {
    pub(super) fn new(parameters: Parameters) -> Self {
        let range = parameters.range();
        let bits = |values: i32| 32 - (values - 1).leading_zeros();
        let sample_bits = bits(parameters.max + 1).max(2);
        let a = ((range + 32) / 64).max(2);
        Self {
            parameters,
            range,
            error_bits: bits(range),
            limit: 2 * (sample_bits + sample_bits.max(8)),
            regular: vec![Regular { a, b: 0, c: 0, n: 1 }; 365],
            interruption: [Interruption { a, n: 1, negative: 0 }; 2],
        }
    }

    /// The context of three gradients, and the sign that it was folded by (ITU-T T.87 section A.3.4).
    pub(super) fn context(&self, gradients: [i32; 3]) -> (usize, i32) {
        let [q1, q2, q3] = gradients.map(|gradient| self.quantize(gradient));
        let index = 81 * q1 + 9 * q2 + q3;
        (index.unsigned_abs() as usize, if index < 0 { -1 } else { 1 })
    }

    fn quantize(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.parameters.thresholds;
        let size = match gradient.abs() {
            size if size <= self.parameters.near => 0,
            size if size < t1 => 1,
            size if size < t2 => 2,
            size if size < t3 => 3,
            _ => 4,
        };
        size * gradient.signum()
    }

    /// Whether neighbours count as equal.
    pub(super) fn is_near(&self, gradient: i32) -> bool {
        gradient.abs() <= self.parameters.near
    }

    /// One sample of regular mode, predicted as `median` (ITU-T T.87 sections A.4 to A.6).
    pub(super) fn regular(
        &mut self,
        bits: &mut Bits<'_>,
        (index, sign): (usize, i32),
        median: i32,
    ) -> Result<i32, DecodeError> {
        let Parameters { max, near, reset, .. } = self.parameters;
        let context = &mut self.regular[index];
        let predicted = (median + sign * context.c).clamp(0, max);
        let k = exponent(context.n, context.a)?;
        let mapped = bits.golomb(k, self.limit, self.error_bits)?;
        let inverted = near == 0 && k == 0 && 2 * context.b <= -context.n;
        let error = match (mapped & 1, inverted) {
            (0, false) => mapped >> 1,
            (_, false) => -(mapped >> 1) - 1,
            (0, true) => -(mapped >> 1) - 1,
            (_, true) => mapped >> 1,
        };
        if error.unsigned_abs() > self.range as u32 {
            return Err(DecodeError::Broken("an error larger than its range"));
        }
        context.update(error, near, reset);
        Ok(self.reconstruct(predicted, sign * error))
    }

    /// The sample that ends a run (ITU-T T.87 section A.7.2). `equal`: the neighbours left and above count as equal.
    pub(super) fn interrupted(
        &mut self,
        bits: &mut Bits<'_>,
        equal: bool,
        (left, above): (i32, i32),
        run_bits: u32,
    ) -> Result<i32, DecodeError> {
        let kind = i32::from(equal);
        let context = &mut self.interruption[usize::from(equal)];
        let k = exponent(context.n, context.a + if equal { context.n >> 1 } else { 0 })?;
        let limit = self.limit.checked_sub(run_bits + 1).ok_or(DecodeError::Broken("its limits"))?;
        let mapped = bits.golomb(k, limit, self.error_bits)?;
        let odd = (mapped + kind) & 1;
        let size = (mapped + kind + odd) / 2;
        let negative = (k != 0 || 2 * context.negative >= context.n) == (odd == 1);
        let error = if negative { -size } else { size };
        if size > self.range {
            return Err(DecodeError::Broken("an error larger than its range"));
        }
        if error < 0 {
            context.negative += 1;
        }
        context.a += (mapped + 1 - kind) >> 1;
        if context.n == self.parameters.reset {
            context.a >>= 1;
            context.n >>= 1;
            context.negative >>= 1;
        }
        context.n += 1;
        let (predicted, sign) = match equal {
            true => (left, 1),
            false => (above, if left > above { -1 } else { 1 }),
        };
        Ok(self.reconstruct(predicted, sign * error))
    }

    /// Prediction and error make the sample, modulo the range (ITU-T T.87 section A.4.5).
    fn reconstruct(&self, predicted: i32, error: i32) -> i32 {
        let Parameters { max, near, .. } = self.parameters;
        let step = 2 * near + 1;
        let mut sample = predicted + error * step;
        if sample < -near {
            sample += self.range * step;
        } else if sample > max + near {
            sample -= self.range * step;
        }
        sample.clamp(0, max)
    }
}

impl Regular {
    /// ITU-T T.87 section A.6.
    fn update(&mut self, error: i32, near: i32, reset: i32) {
        self.b += error * (2 * near + 1);
        self.a += error.abs();
        if self.n == reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// The Golomb parameter: the least by which `n` is shifted to reach `a` (ITU-T T.87 section A.5.1).
fn exponent(n: i32, a: i32) -> Result<u32, DecodeError> {
    (0..=24).find(|k| i64::from(n) << k >= i64::from(a)).ok_or(DecodeError::Broken("its contexts"))
}

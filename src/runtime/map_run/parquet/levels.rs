//! The number of values in the longest record of a column: a reader takes a record as a whole, and a few bytes of
//! repetition levels can claim billions of values.

use super::pages::Broken;

/// Values of a record, in all its columns: with more, the item exceeds 8 MB.
const RECORD_VALUES_MAX: u64 = 4 << 20;

/// The longest record of a column so far.
#[derive(Default)]
pub(super) struct Longest {
    /// Values since the last record began.
    now: u64,
    most: u64,
}

impl Longest {
    /// Scans the repetition levels of a page of `values` values (Parquet's format, "RLE/Bit-Packing Hybrid"), each of
    /// `bits` bits.
    pub(super) fn scan(&mut self, levels: &[u8], bits: u32, values: u64) -> Result<(), Broken> {
        let mut rest = levels;
        let mut left = values;
        while left > 0 && !rest.is_empty() {
            let head = varint(&mut rest)?;
            if head & 1 == 0 {
                let width = bits.div_ceil(8) as usize;
                let (level, behind) = rest.split_at_checked(width).ok_or(Broken::CUT_OFF)?;
                rest = behind;
                let run = (head >> 1).min(left);
                left -= run;
                match level.iter().all(|&byte| byte == 0) {
                    // Records of one value each.
                    true if run > 0 => self.now = 1,
                    true => {}
                    false => self.now += run,
                }
                self.check()?;
            } else {
                let bytes =
                    usize::try_from((head >> 1).saturating_mul(u64::from(bits))).unwrap_or(usize::MAX);
                let (packed, behind) = rest.split_at_checked(bytes.min(rest.len())).ok_or(Broken::CUT_OFF)?;
                rest = behind;
                let run = (head >> 1).saturating_mul(8).min(left);
                left -= run;
                self.scan_packed(packed, bits as usize, run)?;
            }
        }
        Ok(())
    }

    fn scan_packed(&mut self, packed: &[u8], bits: usize, values: u64) -> Result<(), Broken> {
        let is_set = |bit: usize| packed.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
        let there = (packed.len() * 8 / bits.max(1)) as u64;
        for value in 0..values.min(there) as usize {
            let begins = !(value * bits..(value + 1) * bits).any(is_set);
            self.now = if begins { 1 } else { self.now + 1 };
            self.most = self.most.max(self.now);
        }
        self.check()
    }

    /// Assumes that all values of a page belong to one record.
    pub(super) fn add(&mut self, values: u64) -> Result<(), Broken> {
        self.now += values;
        self.check()
    }

    fn check(&mut self) -> Result<(), Broken> {
        self.most = self.most.max(self.now);
        if self.most > RECORD_VALUES_MAX {
            Err(Broken::Refused("An item is larger than 8 MB".to_owned()))
        } else {
            Ok(())
        }
    }
}

pub(super) fn varint(input: &mut &[u8]) -> Result<u64, Broken> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(Broken::CUT_OFF)?;
        *input = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Broken::CUT_OFF)
}

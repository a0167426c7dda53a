//! Pages of lengths and prefixes that are stored as differences: a decoder reserves room for the number that they claim
//! (Parquet's format, "Delta Encoding", "Delta-length byte array", "Delta Strings").

use parquet::basic::Encoding;

use super::levels::varint;
use super::pages::Broken;

/// Whether there are no more lengths in these values than the page has values.
pub(super) fn check(encoding: Encoding, values: &[u8], count: u64) -> Result<(), Broken> {
    let mut rest = values;
    match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => head(&mut rest, count).map(drop),
        Encoding::DELTA_BYTE_ARRAY => {
            skip(&mut rest, count)?;
            head(&mut rest, count).map(drop)
        }
        _ => Ok(()),
    }
}

/// The layout of integers in blocks.
struct Blocks {
    parts: u64,
    values_per_part: u64,
    count: u64,
}

fn head(input: &mut &[u8], count_max: u64) -> Result<Blocks, Broken> {
    let (block, parts, count) = (varint(input)?, varint(input)?, varint(input)?);
    varint(input)?;
    if count > count_max {
        return Err(Broken::Invalid("a page has more lengths than values"));
    }
    if parts == 0 || block > u64::from(u32::MAX) {
        return Err(Broken::Invalid("a page has blocks of no size"));
    }
    Ok(Blocks { parts, values_per_part: block / parts, count })
}

/// Skips integers.
fn skip(input: &mut &[u8], count_max: u64) -> Result<(), Broken> {
    let Blocks { parts, values_per_part, count } = head(input, count_max)?;
    if values_per_part == 0 && count > 1 {
        return Err(Broken::Invalid("a page has blocks of no size"));
    }
    let mut left = count.saturating_sub(1);
    while left > 0 {
        varint(input)?;
        let parts = usize::try_from(parts).map_err(|_| Broken::CUT_OFF)?;
        let (widths, behind) = input.split_at_checked(parts).ok_or(Broken::CUT_OFF)?;
        *input = behind;
        for &width in widths {
            if left == 0 {
                break;
            }
            let bytes =
                usize::try_from(u64::from(width) * values_per_part / 8).map_err(|_| Broken::CUT_OFF)?;
            *input = input.get(bytes..).ok_or(Broken::CUT_OFF)?;
            left = left.saturating_sub(values_per_part);
        }
    }
    Ok(())
}

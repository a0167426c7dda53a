//! Which partition an execution belongs to, in a journal that has several.

/// The partition of an execution, by its ARN. Part of the format.
#[cfg_attr(not(feature = "runtime"), allow(dead_code))]
pub(crate) fn partition_of(arn: &str) -> u16 {
    (hash(arn.bytes()) % u64::from(crate::limits::JOURNAL_PARTITIONS)) as u16
}

/// A hash that all releases agree on: FNV-1a, with its last bytes spread over all bits.
#[cfg_attr(not(feature = "runtime"), allow(dead_code))]
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

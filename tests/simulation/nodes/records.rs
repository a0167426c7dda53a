//! What nodes record of executions, and what must be true of all that they recorded.

use std::collections::{BTreeMap, BTreeSet};

use expressway::journal::{Block, BlockKind, Lsn, Record};

use super::world::Sim;

pub(super) const START: u16 = 1;
pub(super) const STEP: u16 = 2;
pub(super) const SNAPSHOT: u16 = 3;

/// The state of an execution, as records have it: its last step, how many it has, and the result of that step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) step: u32,
    pub(super) steps: u32,
    pub(super) result: u32,
}

pub(super) fn record_of(execution: u32, state: State) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (at, number) in [execution, state.step, state.steps, state.result].into_iter().enumerate() {
        bytes[4 * at..][..4].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Adds a record to what is known of a partition's executions. `is_whole`: it is read from the first block on; otherwise the
/// first block may have records of executions whose earlier ones were removed, because it has all of them once more.
pub(super) fn apply(executions: &mut BTreeMap<u32, State>, record: Record<'_>, is_whole: bool) {
    let number = |at: usize| u32::from_le_bytes(record.bytes[4 * at..][..4].try_into().expect("four bytes"));
    let (execution, state) = (number(0), State { step: number(1), steps: number(2), result: number(3) });
    let known = executions.insert(execution, state);
    match record.kind {
        START => assert_eq!(known, None, "execution {execution} is started twice"),
        STEP => {
            assert!(known.is_some() || !is_whole, "the start of execution {execution} is lost");
            let follows = known.is_none_or(|known| known.step + 1 == state.step);
            assert!(
                follows,
                "of execution {execution}, a result is lost or taken twice: {state:?} after {known:?}"
            );
        }
        SNAPSHOT => assert!(known.is_none_or(|known| known == state), "execution {execution} was changed"),
        kind => panic!("a record of kind {kind}"),
    }
}

pub(super) fn partition_of(execution: u32, partitions: u16) -> u16 {
    (execution.wrapping_mul(0x9E37_79B9) >> 16) as u16 % partitions
}

/// The whole chains, from the first block on, whatever was removed since.
pub(super) fn audit(it: &Sim) {
    let mut executions = BTreeMap::new();
    let mut results = BTreeSet::new();
    for (partition, chain) in (0u16..).zip(&it.chains) {
        let mut before: Option<(u32, u64)> = None;
        for (n, bytes) in chain.iter().enumerate() {
            let block = Block::decode(bytes).unwrap_or_else(|_| panic!("block {} of {partition}", n + 1));
            let header = block.header;
            assert_eq!((header.lsn, header.partition), (Lsn(n as u64 + 1), partition));
            if let Some((crc, epoch)) = before {
                assert_eq!(
                    header.previous,
                    crc,
                    "block {} of partition {partition} is of another chain",
                    n + 1
                );
                assert!(
                    header.epoch >= epoch,
                    "block {} of partition {partition} is of a former owner",
                    n + 1
                );
                assert!(
                    header.epoch == epoch || header.kind == BlockKind::Epoch,
                    "an owner begins with an epoch"
                );
            }
            before = Some((header.crc, header.epoch));
            for record in block.records() {
                apply(&mut executions, record, true);
                let result = (record.kind == STEP).then(|| record.bytes[12..16].to_vec());
                assert!(result.is_none_or(|result| results.insert(result)), "a result is taken twice");
            }
        }
    }
    for (execution, told) in &it.told {
        assert_eq!(executions.get(execution), Some(told), "execution {execution} is not as it was told");
    }
}

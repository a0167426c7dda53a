//! Deltas: decoding gives what was encoded, for any base, and invalid deltas are refused.

use expressway::journal::delta::{Encoder, decode};
use proptest::prelude::*;

use super::required::some_of;

/// Texts that share much: pieces of a few others, in any order.
fn texts() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (any::<u8>(), 0..300usize).prop_map(|(byte, count)| vec![byte; count]),
        (0..4u8, 0..2_000usize).prop_map(|(seed, count)| {
            (0..count).map(|n| ((n * n) >> 3).wrapping_mul(usize::from(seed) + 3) as u8).collect()
        }),
    ];
    let text = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    (text.clone(), text.clone(), text, any::<bool>()).prop_map(|(one, two, three, is_related)| {
        let content = if is_related { [&*two, &*one, &*three].concat() } else { three };
        (one, content)
    })
}

fn encoded(encoder: &mut Encoder, base: &[u8], content: &[u8]) -> Vec<u8> {
    let mut delta = Vec::new();
    encoder.encode(base, content, &mut delta);
    delta
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(some_of(256, 4) as u32))]

    #[test]
    fn what_is_written_is_read(pairs in proptest::collection::vec(texts(), 1..6)) {
        // The encoder's memory of one pair must not show in the next.
        let mut encoder = Encoder::default();
        for (base, content) in &pairs {
            let delta = encoded(&mut encoder, base, content);
            let mut read = vec![7];
            prop_assert_eq!(decode(base, &delta, content.len(), &mut read), Some(()));
            prop_assert_eq!(&read[1..], &content[..]);
            let least = content.len().saturating_sub(1);
            if !content.is_empty() {
                prop_assert_eq!(decode(base, &delta, least, &mut Vec::new()), None, "more than is allowed");
            }
            for end in 0..delta.len() {
                prop_assert_eq!(decode(base, &delta[..end], content.len(), &mut Vec::new()), None);
            }
        }
    }

    #[test]
    fn what_is_no_delta_is_read_within_bounds(base in proptest::collection::vec(any::<u8>(), 0..50), delta: Vec<u8>) {
        let mut read = Vec::new();
        let _ = decode(&base, &delta, 10_000, &mut read);
        prop_assert!(read.len() <= 10_000);
    }
}

#[test]
fn a_change_in_a_large_state_is_small() {
    let row =
        |n: usize, text: &str| format!(r#"{{"n":{n},"text":"{text}-{}"}},"#, n.wrapping_mul(0x9E37_79B9));
    let mut rows: Vec<String> = (0..5_000).map(|n| row(n, "as it was")).collect();
    let base = rows.concat();
    rows[17] = row(17, "changed");
    rows.remove(2_000);
    rows.push(row(5_001, "new"));
    let content = rows.concat();
    let delta = encoded(&mut Encoder::default(), base.as_bytes(), content.as_bytes());
    let mut read = Vec::new();
    assert_eq!(decode(base.as_bytes(), &delta, content.len(), &mut read), Some(()));
    assert!(read == content.as_bytes());
    assert!(delta.len() < 1_000, "{} bytes of {}", delta.len(), content.len());
}

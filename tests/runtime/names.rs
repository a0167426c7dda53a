//! Names, and random values of an execution, cannot be predicted from what an execution shows; with a seed, all of it
//! is reproducible.

use expressway::runtime::{Engine, Machine};

const DEFINITION: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true, "Parameters": {
    "name.$": "$$.Execution.Name", "a.$": "States.UUID()", "b.$": "States.UUID()"}}}}"#;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What `mix` makes this of.
fn unmix(mixed: u64) -> u64 {
    let unshift = |z: u64, by: u32| (0..64 / by).fold(z, |found, _| z ^ (found >> by));
    let mut z = unshift(mixed, 31);
    z = unshift(z.wrapping_mul(0x3196_42B2_D24D_8EC3), 27);
    unshift(z.wrapping_mul(0x96DE_1B17_3F11_9089), 30)
}

/// The two halves of a UUID, without its six constant bits.
fn halves(uuid: &str) -> (u64, u64) {
    let number = u128::from_str_radix(&uuid.replace('-', ""), 16).expect("a UUID");
    ((number >> 64) as u64, number as u64)
}

/// Whether a UUID is made of these two numbers.
fn is_of(uuid: &str, high: u64, low: u64) -> bool {
    let (a, b) = halves(uuid);
    (a ^ high) & !0xF000 == 0 && (b ^ low) << 2 == 0
}

/// What came before the two steps of the generator that made this UUID.
fn states(uuid: &str) -> impl Iterator<Item = u64> {
    let (high, _) = halves(uuid);
    (0..16).map(move |nibble| unmix(high & !0xF000 | nibble << 12).wrapping_sub(GOLDEN))
}

fn uuid_from(uuid: &str, state: u64) -> bool {
    is_of(uuid, mix(state.wrapping_add(GOLDEN)), mix(state.wrapping_add(GOLDEN.wrapping_mul(2))))
}

fn run(engine: &Engine, machine: &Machine) -> [String; 3] {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(engine.run(machine, "{}")).unwrap();
    let output: serde_json::Value = outcome.output().unwrap();
    ["name", "a", "b"].map(|key| output[key].as_str().expect("a text").to_owned())
}

/// Whether what is random in the first execution, and the name of the second, follow from the name of the first.
fn foretold(first: &[String; 3], second: &[String; 3]) -> (bool, bool) {
    let seeds: Vec<u64> = states(&first[0]).filter(|&seed| uuid_from(&first[0], seed)).collect();
    assert!(!seeds.is_empty(), "a name shows its seed");
    let inner = seeds.iter().any(|&seed| uuid_from(&first[1], seed ^ GOLDEN));
    let next = |seed: u64, steps: u64| mix(unmix(seed).wrapping_add(GOLDEN.wrapping_mul(steps)));
    let outer = seeds.iter().any(|&seed| (1..4).any(|steps| uuid_from(&second[0], next(seed, steps))));
    (inner, outer)
}

#[test]
fn names_and_uuids_are_not_foretold() {
    let shown = |engine: Engine| {
        let machine = engine.create_state_machine("m", DEFINITION).unwrap();
        [run(&engine, &machine), run(&engine, &machine)]
    };
    let seeded = || shown(Engine::builder().shards(1).seed(7).build().unwrap());
    let [first, second] = seeded();
    assert_eq!([first.clone(), second.clone()], seeded(), "the same seed, the same names");
    assert_eq!(foretold(&first, &second), (true, true), "the attack works where a seed was given");
    let [first, second] = shown(Engine::builder().shards(1).build().unwrap());
    assert_eq!(foretold(&first, &second), (false, false));
    // The second UUID of an execution does not follow from the first.
    let continues =
        states(&first[1]).any(|state| uuid_from(&first[2], state.wrapping_add(GOLDEN.wrapping_mul(2))));
    assert!(!continues);
}

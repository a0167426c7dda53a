//! A server with little memory.

use expressway::service::test_state::TestState;
use expressway::service::{CreateStateMachine, Service, Tag};

/// Tests of states compute beside executions, several at a time: each gets a part of the memory.
#[test]
fn a_test_of_a_state_gets_a_part_of_the_memory() {
    // Large, and computed long before a test has to be over.
    let large = r#"{"Type": "Pass", "End": true, "QueryLanguage": "JSONata",
        "Output": "{% ($long := $pad('', 4000, 'x'); $count($map([1..5000], function($n) { {'n': $long & $n} }))) %}"}"#;
    for (memory_mib, fits) in [(4_096, true), (64, false)] {
        let builder = Service::builder().engine(|engine| engine.shards(1)).memory(memory_mib << 20);
        let service = builder.build().expect("a service");
        let request = TestState { definition: large.to_owned(), ..TestState::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tested = runtime.block_on(service.test_state(request)).expect("a result");
        assert_eq!(tested.output.is_some(), fits, "{memory_mib} MiB: {tested:?}");
        let cause = tested.cause.unwrap_or_default();
        assert!(fits || cause.contains("memory"), "{cause}");
    }
}

/// A short definition may compile to much: what it compiles to counts.
#[test]
fn what_definitions_compile_to_is_bounded() {
    let list = |part: &dyn Fn(usize) -> String| (0..200).map(part).collect::<Vec<_>>().join(",");
    let expressions = list(&|n| format!(r#""{{% $match('a', /[a-z]{{{}}}{n}/) %}}""#, n % 50 + 20));
    let paths = list(&|n| format!(r#""k{n}.$": "$.l[?(@.a =~ /[a-z]{{200}}{n}/)]""#));
    for state in [
        format!(r#""QueryLanguage": "JSONata", "Output": [{expressions}]"#),
        format!(r#""Parameters": {{{paths}}}"#),
    ] {
        let builder = Service::builder().engine(|engine| engine.shards(1)).memory(64 << 20);
        let service = builder.build().expect("a service");
        let mut created = 0;
        let refused = (0..200).find_map(|n| {
            let machine = CreateStateMachine {
                name: format!("m{n}"),
                definition: format!(
                    r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", "End": true, {state}}}}}}}"#
                ),
                role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
                express: true,
                ..CreateStateMachine::default()
            };
            service.create_state_machine(machine).map(|_| created += 1).err()
        });
        let refused = refused.expect("a refusal").to_string();
        assert!(refused.contains("see --memory") && (1..60).contains(&created), "{created}: {refused}");
    }
}

/// Regular expressions of paths are bounded together while they are compiled, not when they have taken their memory.
#[test]
fn regular_expressions_of_paths_are_bounded() {
    for (count, fits) in [(40, true), (4_000, false)] {
        let paths: Vec<String> =
            (0..count).map(|n| format!(r#""k{n}.$": "$.l[?(@.a =~ /[a-z]{{200}}{n}/)]""#)).collect();
        let service = Service::builder().engine(|engine| engine.shards(1)).memory(1 << 30).build();
        let created = service.expect("a service").create_state_machine(CreateStateMachine {
            name: "m".to_owned(),
            definition: format!(
                r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", "End": true, "Parameters": {{{}}}}}}}}}"#,
                paths.join(",")
            ),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            express: true,
            ..CreateStateMachine::default()
        });
        let refused = created.map(drop).map_err(|error| error.to_string());
        assert_eq!(refused.is_ok(), fits, "{count}: {refused:?}");
        println!("{}", refused.err().unwrap_or_default().get(..600).unwrap_or_default());
    }
}

/// What activities and state machines have beside definitions counts too.
#[test]
fn tags_are_bounded() {
    let builder = Service::builder().engine(|engine| engine.shards(1)).memory(64 << 20);
    let service = builder.build().expect("a service");
    let tags: Vec<Tag> = (0..50).map(|n| Tag { key: format!("k{n}"), value: "漢".repeat(256) }).collect();
    let mut created = 0;
    let refused = (0..2_000).find_map(|n| {
        let made = service.create_activity(&format!("a{n}"), None, tags.clone());
        made.map(|_| created += 1).err()
    });
    let refused = refused.expect("a refusal").to_string();
    assert!(refused.contains("see --memory") && (100..600).contains(&created), "{created}: {refused}");
    // What is given up is free again.
    let arn = |n: usize| format!("arn:aws:states:us-east-1:123456789012:activity:a{n}");
    let keys: Vec<&str> = tags.iter().map(|tag| &*tag.key).collect();
    service.untag_resource(&arn(0), &keys).expect("fewer tags");
    service.delete_activity(&arn(1)).expect("an activity less");
    service.create_activity("last", None, tags).expect("room for one");
}

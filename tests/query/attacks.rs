//! Expressions, paths and intrinsic functions that are made to be slow, large or deep.

use crate::fuel::{STRETCH_NS_MAX, evaluate, input};
use crate::meter::longest;
use crate::required::step;
use expressway::fuel::{self, Fuel};

/// Expressions that are made to be slow, large or deep; `@` stands for the input. They may fail, but not take long unseen.
const ATTACKS: &[&str] = &[
    // Pictures.
    "{% $count([1..9].$formatNumber(1e300, $pad('0', 1001, ',0'))) %}",
    "{% $count([1..9].$formatNumber(1.5, $pad('0.0', 1021, ',0'))) %}",
    "{% $count([1..9].$formatNumber(1e-300, $pad('#', 1001, ',#') & '0e0')) %}",
    "{% $formatNumber(1e300, '0' & $pad('', 500, 'x') & '0', {'grouping-separator': $pad('', 500, 'x')}) %}",
    "{% $formatNumber(1, $pad('0', 1000, '0') & $pad('', 20, 'x') & '0', {'grouping-separator': $pad('', 20, 'x')}) %}",
    "{% $count([1..99].$formatInteger(1e300, 'w')) %}",
    "{% $count([1..99].$formatInteger(1e300, 'W;o')) %}",
    "{% $count([1..9].$formatInteger(4000000, 'I')) %}",
    "{% $formatInteger(4e300, 'I') %}",
    "{% $count([1..9].$formatInteger(1e21, $pad('0', 1001, ',0'))) %}",
    "{% $parseInteger($pad('one', 16003, ' ten'), 'w') %}",
    "{% $parseInteger($pad('', 16000, 'm'), 'I') %}",
    "{% $parseInteger($pad('', 16000, 'z'), 'a') %}",
    "{% ($p := '0' & $join($map([1..400], function($i) { $decodeUrlComponent('%E4%' & $formatBase(184 + $i % 7, 16) & '%' & $formatBase(128 + $i % 64, 16)) }), ''); $parseInteger($pad('', 16000, '7'), $p)) %}",
    "{% $count([1..9].$fromMillis(0, $pad('', 1000, '[Y]'))) %}",
    "{% $count([1..9].$fromMillis(0, $pad('', 1000, '[D1o]'))) %}",
    "{% $fromMillis(0, $pad('', 990, '[Yw]')) %}",
    "{% $fromMillis(0, '[Y,999-999]') & $fromMillis(0, '[Y' & $pad('', 900, '0') & ']') %}",
    "{% $fromMillis(0, $pad('', 1020, ']]')) & $fromMillis(0, $pad('', 1020, '[[')) %}",
    "{% $toMillis($pad('', 16000, '1'), $pad('', 1000, '[Y]')) %}",
    "{% $toMillis($pad('one', 16003, ' ten'), $pad('', 1000, '[Yw]')) %}",
    "{% ($p := '0' & $join($map([1..300], function($i) { $decodeUrlComponent('%E4%' & $formatBase(184 + $i % 7, 16) & '%' & $formatBase(128 + $i % 64, 16)) }), ''); $toMillis($pad('', 16000, '7'), '[Y' & $p & ']')) %}",
    "{% $toMillis($pad('', 16000, '2020-01-01T00:00:00.')) %}",
    "{% $toMillis('2020-01-01T00:00:00.' & $pad('', 15000, '9') & 'Z') %}",
    "{% $now($pad('', 1000, '[F]'), $pad('', 100000, '9')) %}",
    // Numbers.
    "{% $count([1..999].$round(1.5, 1e9)) + $count([1..999].$round(1e300, -1e9)) %}",
    "{% $number($pad('0x', 16000, 'f')) %}",
    "{% $number($pad('1', 16000, '0') & 'e-15000') %}",
    "{% $count([1..999].$formatBase(1e300, 2)) %}",
    "{% $count([1..999].$power(1.0000001, 1e9)) %}",
    // Texts.
    "{% $length($pad('', 4194304, '𝄞')) %}",
    "{% $pad('', 1e308) %}",
    "{% $pad(@text, -4194304, @accents) %}",
    "{% $reduce([1..40], function($a, $b) { $a & $a }, 'x') %}",
    "{% $replace(@text, 'a', $pad('', 100000, 'b')) %}",
    "{% $replace(@text, /a/, $pad('', 50000, '$0')) %}",
    "{% $replace(@text, /(a)(a)(a)/, $pad('', 5000, '$3$2$1')) %}",
    "{% $replace(@text, /a*/, 'b') %}",
    "{% $replace(@text, '', 'b') %}",
    "{% $count($split(@text, /a?/)) + $count($split(@text, '')) %}",
    "{% $count($split(@text, 'a', 1e300)) %}",
    "{% $count($match(@text, /a*?/)) %}",
    "{% $count($match(@words, /[a-z]+|,/, 1e300)) %}",
    "{% $match(@text, /(a*)*(a*)*(a*)*b/) %}",
    "{% $match(@text, /(?=(a+)+b)/) %}",
    "{% $match(@text, /(a+)\\1+c/i) %}",
    "{% $match(@text, /(?<!b.*)(?<=(?:a|aa)*b)c|d/) %}",
    "{% $match(@text, /(?:(?:(a|)*)*)*(?=c)/) %}",
    "{% $match(@text, /(?:){1000000000}(?=c)/) %}",
    "{% $match(@text, /(?:a{0,9}){0,9}(?!a)c/) %}",
    "{% $match(@text & @text & @text, /^(?=(a)|b)*(a|b)*\\1c/) %}",
    "{% $replace(@text, /(?=a(a*))a/, '$1') %}",
    "{% $split(@words, /(?=(?:[^,]*,[^,]*,)*[^,]*$)/) %}",
    "{% $match(@words, /^(.*)*$/m) %}",
    "{% $join(@texts, @text) %}",
    "{% $length($encodeUrlComponent($pad('', 1000000, '漢'))) %}",
    "{% $decodeUrlComponent($pad('', 3000000, '%ff')) %}",
    "{% $length($base64decode($pad('', 4000000, '/'))) %}",
    "{% $length($base64encode($pad('', 3000000, 'x'))) %}",
    "{% $count([1..99].$hash($pad('', 100000, 'x'), 'SHA-384')) %}",
    "{% $lowercase($pad('', 1000000, 'Σ')) & $uppercase($pad('', 1000000, 'ŉ')) %}",
    "{% $trim($pad('', 2000000, ' ') & 'a' & $pad('', 2000000, ' ')) %}",
    "{% $string(@objects, true) %}",
    "{% $string($reduce([1..900], function($a, $b) { [$a] }, @objects), true) %}",
    "{% $parse($pad('', 999, '[') & $pad('', 999, ']')) %}",
    "{% $parse($pad('', 400000, '[')) %}",
    "{% $parse('{' & $join($map([1..20000], function($i) { '\"k' & $i & '\":1' }), ',') & '}') %}",
    // Lists and objects.
    "{% $count([1..10000000]) %}",
    "{% [1..800000][0] + [1..800000][-1] + $count([1..800000][[0..800000]]) %}",
    "{% $count([[1..1000]..[1..1000]]) %}",
    "{% $sort(@numbers, function($a, $b) { true }) %}",
    "{% $sort(@numbers, function($a, $b) { $sort(@numbers, function($c, $d) { $c > $d }) }) %}",
    "{% $count($distinct($map([1..30000], function($i) { [$i] }))) %}",
    "{% $count($distinct($map([1..30000], function($i) { {'k': $i} }))) %}",
    "{% $count($zip(@numbers, @numbers, @numbers, @numbers, @numbers, @numbers, @numbers, @numbers)) %}",
    "{% $merge($map([1..60000], function($i) { {'k' & $i: $i} })) %}",
    "{% $count($spread($map([1..9], function() { @object }))) %}",
    "{% $count($keys($map([1..99], function() { @object }))) %}",
    "{% $count($each(@object, function($v, $k) { $each(@object, function($w) { $w }) })) %}",
    "{% $sift(@object, function($v) { $count($sift(@object, function($w) { $w > $v })) > 1 }) %}",
    "{% $count($shuffle($append(@numbers, @numbers))) %}",
    "{% $count($lookup($map([1..20000], function() { {'a': [1]} }), 'a')) %}",
    "{% $count(@objects{$string(k): $count($)}) %}",
    "{% $count(@objects.{$string(k): $$}) %}",
    "{% $count([1..200000]{$string($ % 2): $}) %}",
    "{% $single(@numbers, function($n) { $n = -1 }) %}",
    // Joins, parents, positions, transforms.
    "{% $count(@objects@$a.@objects@$b[$a.k = $b.k].{'a': $a, 'b': $b}) %}",
    "{% $count($states.input.objects@$a.$states.input.objects@$b.$states.input.objects@$c.1) %}",
    "{% $count(@objects#$i.$states.input.objects#$j[$i = $j]) %}",
    "{% $count(@objects.k.%.t) + $count(@objects.k.%.%) %}",
    "{% $count(@objects^(t, >k, <g, $string(k))) %}",
    "{% $count(@objects ~> |$|{'n': @objects}|) %}",
    "{% $count($states.input ~> |**|{'n': 1}|) %}",
    "{% $count($states.input ~> |**[k]|{'n': @numbers}, ['k', 't', 'g']|) %}",
    "{% $count($states.input.**.**) %}",
    "{% $count($states.input.*.*.*.*.*) %}",
    "{% $count(@numbers.@numbers) %}",
    // Functions.
    "{% ($f := function($n) { $n <= 0 ? 0 : $f($n - 1) }; $f(10000000)) %}",
    "{% ($f := function($n) { $n <= 0 ? 0 : 1 + $f($n - 1) }; $f(10000000)) %}",
    "{% ($f := function($n) { $n < 2 ? $n : $f($n - 1) + $f($n - 2) }; $f(60)) %}",
    "{% ($y := function($f) { $f($f) }; $y($y)) %}",
    "{% ($f := $reduce([1..100000], function($a, $b) { $a ~> $uppercase }, $lowercase); $f('x')) %}",
    "{% ($f := $reduce([1..100000], function($f, $i) { function($x) { $f($x) } }, function($x) { $x }); $f(1)) %}",
    "{% ($f := $reduce([1..100000], function($f, $i) { $f(?) }, function($x) { $x }); $f(1)) %}",
    "{% ($f := $reduce([1..50000], function($f, $i) { function($x) { $f($x) } }, function($x) { $x }); $count($map([1..300000], function($i) { [$i] }))) %}",
    "{% $count($map([1..100000], function($i) { $substring(?, $i, ?) })) %}",
    "{% $map(@numbers, function($n) { $map(@numbers, function($m) { $map(@numbers, function($o) { $o }) }) }) %}",
    "{% $filter(@texts, function($t) { $contains($t, /(k|kk)+x/) }) %}",
    "{% $reduce(@objects, function($a, $b) { $merge([$a, $b, {$string($b.k): $b}]) }) %}",
    "{% $reduce([1..3000], function($a, $b) { $append($a, [1..300]) }, []) %}",
    "{% $reduce([1..2000], function($a, $b) { [$a, $a] }, [1]) %}",
    "{% $count($reduce([1..24], function($a, $b) { $append($a, $a) }, [1])) %}",
    "{% $string($reduce([1..40], function($a, $b) { [$a, $a] }, 'x')) %}",
    "{% $reduce([1..40], function($a, $b) { {'l': $a, 'r': $a} }, 'x') = $reduce([1..40], function($a, $b) { {'l': $a, 'r': $a} }, 'x') %}",
    "{% $count($reduce([1..40], function($a, $b) { [$a, $a] }, 'x').**) %}",
    "{% $clone($reduce([1..40], function($a, $b) { [$a, $a] }, 'x')) %}",
    "{% $distinct([$reduce([1..40], function($a, $b) { [$a, $a] }, 'x'), $reduce([1..40], function($a, $b) { [$a, $a] }, 'x')]) %}",
    "{% $hash($string($reduce([1..17], function($a, $b) { [$a, $a] }, 'x')), 'SHA-512') %}",
    "{% $error($pad('', 4000000, 'x')) %}",
    "{% $assert(false, $pad('', 4000000, 'x')) %}",
    "{% $number(@text) %}",
    // Paths.
    "$..*..*..*",
    "$..[0]..[0]..[0]",
    "$..objects[*]..k",
    "$.objects[?(@.k > 1 && @.g < 5 || @.t == 'x1')]",
    "$.objects[?(@.t =~ /(x|xx)*y/i)].t",
    "$..[?(@.k =~ /.*.*.*.*1/)]",
    "$..[?(@.k)]..[?(@.k)]",
    "$.texts[?(@ =~ /(k|kk|kkk)*z/)]",
    "$.numbers[-100000:]",
    "$.numbers[:100000]",
    "$.numbers[0,1,2,3,4,5,6,7,8,9]",
    "$['object','objects','numbers','texts','long']",
    // Intrinsic functions.
    "States.ArrayRange(1, 1000, 1)",
    "States.ArrayRange(-9223372036854775807, 9223372036854775807, 18446744073709551)",
    "States.ArrayPartition($.numbers, 1)",
    "States.ArrayUnique($.texts)",
    "States.ArrayUnique($..*)",
    "States.ArrayContains($.texts, $.text)",
    "States.ArrayGetItem($.numbers, 100000)",
    "States.StringSplit($.text, $.accents)",
    "States.StringSplit($.words, 'ab, ')",
    "States.JsonMerge($.object, $.object, true)",
    "States.Format('{}{}{}{}{}{}{}{}', $.text, $.text, $.text, $.text, $.objects, $.objects, $.objects, $.objects)",
    "States.Format($.text, $.text)",
    "States.StringToJson($.digits)",
    "States.StringToJson($.text)",
    "States.JsonToString($)",
    "States.Array($, $, $, $, $, $, $, $, $, $)",
    "States.JsonToString(States.Array($, $, $, $, $, $, $, $, $, $))",
    "States.Base64Encode($.text)",
    "States.Base64Decode($.digits)",
    "States.Hash($.objects, 'SHA-512')",
    "States.MathRandom(0, 9223372036854775807)",
    "States.MathAdd(9223372036854775807, 9223372036854775807)",
];

/// Whatever an expression is made for, the clock is looked at in time.
#[test]
fn attacks_are_seen_in_time() {
    let input = input(60_000);
    let most = if cfg!(debug_assertions) { 4_000_000 } else { 400_000_000 };
    let mut failures = Vec::new();
    for attack in ATTACKS.iter().step_by(step(2)) {
        let source = if attack.starts_with("{%") {
            attack.replace('@', "$states.input.")
        } else {
            (*attack).to_owned()
        };
        let source = source.replace("$states.input.$a", "@$a").replace("$states.input.$b", "@$b");
        let source = source.replace("$states.input.$c", "@$c");
        let mut found = String::new();
        let (work, ns) = longest(most, STRETCH_NS_MAX, |meter| {
            found = match evaluate(&source, &input, &Fuel::new(fuel::SLICE, meter)) {
                Ok(found) => format!("{} bytes", found.len()),
                Err(stopped) => format!("{stopped:?}"),
            };
        });
        println!("{:6} us, {work:7} units: {attack}: {found}", ns / 1_000);
        if ns > STRETCH_NS_MAX {
            failures.push(format!("{attack}: {ns} ns without a look at the clock"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), ATTACKS.len(), failures.join("\n"));
}

//! The list of the built-in functions: names, signatures, and what they cost.

use crate::json::{Arena, Value};
use crate::query::jsonata::program::Profile;
use crate::query::jsonata::syntax::Signature;

/// Gives a macro all built-in functions: number, name, signature, arity, dialects, and the function in its family.
macro_rules! builtins {
    ($with:ident) => {
        $with! {
                Sum "sum" "<a<n>:n>" 1 Both aggregate::sum;
                Count "count" "<a:n>" 1 Both aggregate::count;
                Max "max" "<a<n>:n>" 1 Both aggregate::max;
                Min "min" "<a<n>:n>" 1 Both aggregate::min;
                Average "average" "<a<n>:n>" 1 Both aggregate::average;
                String "string" "<x-b?:s>" 1 Both convert::string;
                Substring "substring" "<s-nn?:s>" 3 Both string::substring;
                SubstringBefore "substringBefore" "<s-s:s>" 2 Both string::substring_before;
                SubstringAfter "substringAfter" "<s-s:s>" 2 Both string::substring_after;
                Lowercase "lowercase" "<s-:s>" 1 Both string::lowercase;
                Uppercase "uppercase" "<s-:s>" 1 Both string::uppercase;
                Length "length" "<s-:n>" 1 Both string::length;
                Trim "trim" "<s-:s>" 1 Both string::trim;
                Pad "pad" "<s-ns?:s>" 3 Both string::pad;
                Match "match" "<s-f<s:o>n?:a<o>>" 3 Both matcher::matches;
                Contains "contains" "<s-(sf):b>" 2 Both matcher::contains;
                Replace "replace" "<s-(sf)(sf)n?:s>" 4 Both matcher::replace;
                Split "split" "<s-(sf)n?:a<s>>" 3 Both matcher::split;
                Join "join" "<a<s>s?:s>" 2 Both string::join;
                FormatNumber "formatNumber" "<n-so?:s>" 3 Both format_number::format_number;
                FormatBase "formatBase" "<n-n?:s>" 2 Both convert::format_base;
                FormatInteger "formatInteger" "<n-s:s>" 2 Both format_integer::format;
                ParseInteger "parseInteger" "<s-s:n>" 2 Both format_integer::parse;
                Number "number" "<(nsb)-:n>" 1 Both convert::number;
                Floor "floor" "<n-:n>" 1 Both convert::floor;
                Ceil "ceil" "<n-:n>" 1 Both convert::ceil;
                Round "round" "<n-n?:n>" 2 Both convert::round;
                Abs "abs" "<n-:n>" 1 Both convert::abs;
                Sqrt "sqrt" "<n-:n>" 1 Both convert::sqrt;
                Power "power" "<n-n:n>" 2 Both convert::power;
                Random "random" "<:n>" 0 Language convert::random;
                Boolean "boolean" "<x-:b>" 1 Both convert::boolean;
                Not "not" "<x-:b>" 1 Both convert::not;
                Map "map" "<af>" 2 Both higher_order::map;
                Zip "zip" "<a+>" 0 Both array::zip;
                Filter "filter" "<af>" 2 Both higher_order::filter;
                Single "single" "<af?>" 2 Both higher_order::single;
                Reduce "reduce" "<afj?:j>" 3 Both higher_order::reduce;
                Sift "sift" "<o-f?:o>" 2 Both higher_order::sift;
                Keys "keys" "<x-:a<s>>" 1 Both object::keys;
                Lookup "lookup" "<x-s:x>" 2 Both object::lookup;
                Append "append" "<xx:a>" 2 Both array::append;
                Exists "exists" "<x:b>" 1 Both convert::exists;
                Spread "spread" "<x-:a<o>>" 1 Both object::spread;
                Merge "merge" "<a:o>" 1 Both object::merge;
                Reverse "reverse" "<a:a>" 1 Both array::reverse;
                Each "each" "<o-f:a>" 2 Both higher_order::each;
                Error "error" "<s?:x>" 1 Both convert::error;
                Assert "assert" "<bs?:x>" 2 Both convert::assert;
                Type "type" "<x:s>" 1 Both convert::type_of;
                Sort "sort" "<af?:a>" 2 Both array::sort;
                Shuffle "shuffle" "<a:a>" 1 Both array::shuffle;
                Distinct "distinct" "<x:x>" 1 Both array::distinct;
                Base64Encode "base64encode" "<s-:s>" 1 Both encode::base64_encode;
                Base64Decode "base64decode" "<s-:s>" 1 Both encode::base64_decode;
                EncodeUrlComponent "encodeUrlComponent" "<s-:s>" 1 Both encode::encode_url_component;
                EncodeUrl "encodeUrl" "<s-:s>" 1 Both encode::encode_url;
                DecodeUrlComponent "decodeUrlComponent" "<s-:s>" 1 Both encode::decode_url_component;
                DecodeUrl "decodeUrl" "<s-:s>" 1 Both encode::decode_url;
                ToMillis "toMillis" "<s-s?:n>" 2 Both datetime::to_millis;
                FromMillis "fromMillis" "<n-s?s?:s>" 3 Both datetime::from_millis;
                Clone "clone" "<(oa)-:o>" 1 Both object::clone;
                Now "now" "<s?s?:s>" 2 Both datetime::now;
                Millis "millis" "<:n>" 0 Both datetime::millis;
                Partition "partition" "<xn?:a>" 2 Aws aws::partition;
                Range "range" "<nnn?:a>" 3 Aws aws::range;
                Hash "hash" "<ss:s>" 2 Aws aws::hash;
                SeededRandom "random" "<n?:n>" 1 Aws aws::random;
                Uuid "uuid" "<:s>" 0 Aws aws::uuid;
                Parse "parse" "<s-:x>" 1 Aws aws::parse;
        }
    };
}

macro_rules! described {
    ($($id:ident $name:literal $signature:literal $arity:literal $scope:ident $function:path;)*) => {
        /// A built-in function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(in crate::query::jsonata) enum Builtin { $(#[doc = concat!("`", $signature, "`")] $id,)* }

        const ALL: &[(Builtin, &str, Scope)] = &[$((Builtin::$id, $name, Scope::$scope),)*];

        /// The functions that definitions may call, by name and signature.
        pub(in crate::query::jsonata) fn told() -> impl Iterator<Item = (&'static str, &'static str)> {
            const TOLD: &[(&str, &str, Scope)] = &[$(($name, $signature, Scope::$scope),)*];
            TOLD.iter().filter(|(_, _, scope)| *scope != Scope::Language).map(|&(name, signature, _)| (name, signature))
        }

        const SIGNATURES: &[Signature] = &[$(
            match Signature::parse($signature.as_bytes()) {
                Ok(signature) => signature,
                Err(_) => panic!("a built-in signature is wrong"),
            },
        )*];

        const ARITIES: &[u8] = &[$($arity,)*];
    };
}

/// The dialects that have a function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Both,
    Language,
    Aws,
}

builtins!(described);
pub(super) use builtins;

impl Builtin {
    /// The function called `name` in a dialect.
    pub(in crate::query::jsonata) fn named(name: &str, profile: Profile) -> Option<Builtin> {
        let other = match profile {
            Profile::Language => Scope::Aws,
            Profile::StepFunctions(_) => Scope::Language,
        };
        ALL.iter().find(|&&(_, known, scope)| known == name && scope != other).map(|&(builtin, ..)| builtin)
    }

    /// The function with this number.
    pub(in crate::query::jsonata) fn at(index: u32) -> Option<Builtin> {
        ALL.get(index as usize).map(|&(builtin, ..)| builtin)
    }

    /// Its name, without `$`.
    pub(in crate::query::jsonata) fn name(self) -> &'static str {
        ALL[self as usize].1
    }

    /// Whether it folds an array of numbers.
    pub(in crate::query::jsonata) fn is_fold(self) -> bool {
        matches!(self, Builtin::Sum | Builtin::Max | Builtin::Min | Builtin::Average | Builtin::Count)
    }

    /// Its result for several values; `None` when they are not all numbers and it requires that.
    pub(in crate::query::jsonata) fn fold(self, arena: &Arena, values: &[Value]) -> Option<f64> {
        let fold = |start: f64, step: fn(f64, f64) -> f64| {
            values.iter().try_fold(start, |total, &value| Some(step(total, arena.as_f64(value)?)))
        };
        match self {
            Builtin::Count => Some(values.len() as f64),
            Builtin::Sum => fold(0.0, |a, b| a + b),
            Builtin::Max => fold(f64::NEG_INFINITY, f64::max),
            Builtin::Min => fold(f64::INFINITY, f64::min),
            Builtin::Average => Some(fold(0.0, |a, b| a + b)? / values.len() as f64),
            _ => None,
        }
    }

    /// Its signature.
    pub(in crate::query::jsonata) fn signature(self) -> &'static Signature {
        &SIGNATURES[self as usize]
    }

    /// Work of a call beside that of its arguments.
    pub(in crate::query::jsonata) fn work(self) -> u64 {
        match self {
            Builtin::FormatNumber | Builtin::FromMillis | Builtin::ToMillis | Builtin::Now => 2_000,
            Builtin::FormatInteger | Builtin::ParseInteger | Builtin::Hash | Builtin::Uuid => 500,
            Builtin::Parse | Builtin::Round | Builtin::FormatBase | Builtin::Number => 200,
            Builtin::Base64Encode | Builtin::Base64Decode => 200,
            _ => 20,
        }
    }

    /// How many arguments a higher-order function passes to it.
    pub(in crate::query::jsonata) fn arity(self) -> usize {
        ARITIES[self as usize] as usize
    }
}

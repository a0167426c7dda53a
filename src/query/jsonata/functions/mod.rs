//! The built-in functions, by family. Each takes validated arguments, and checks itself what a signature cannot
//! express.

mod aggregate;
mod array;
mod aws;
mod builtin;
mod convert;
mod datetime;
mod datetime_parse;
mod datetime_picture;
mod encode;
mod format_integer;
mod format_number;
mod higher_order;
mod matcher;
mod object;
mod string;

pub(super) use builtin::{Builtin, told};

use super::eval::{Args, Eval, Frame, Outcome};
use crate::json::Mark;

macro_rules! called {
    ($($id:ident $name:literal $signature:literal $arity:literal $scope:ident $function:path;)*) => {
        impl Builtin {
            /// Calls it with validated arguments.
            pub(super) fn call(self, eval: &mut Eval<'_>, args: Args, frame: Frame) -> Outcome {
                match self { $(Builtin::$id => $function(eval, args, frame),)* }
            }
        }
    };
}

builtin::builtins!(called);

impl Builtin {
    /// `$zip` over all arguments on the stack: the only function that takes any number of them.
    pub(super) fn zip(eval: &mut Eval<'_>, arguments: Mark) -> Outcome {
        array::zip_all(eval, arguments)
    }
}

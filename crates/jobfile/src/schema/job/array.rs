//! `count` and `parallel`: how many of a job there are.

use tombolo_core::build::array::MAX_COUNT;

use crate::decode::{Decoder, Step};
use crate::fault::Complaint;
use crate::reader::Token;

/// Takes how many indexes an array has.
pub(super) fn count<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<u32>> {
    decoder.whole(value, "a whole number", 1..=MAX_COUNT)
}

/// Takes how many of them may run at once.
pub(super) fn parallel<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<u32>> {
    decoder.whole(value, "a whole number", 1..=MAX_COUNT)
}

/// What to say of a job that bounds how many run at once, and is one.
pub(super) fn without_count() -> Complaint {
    Complaint::new("`parallel` is given without `count`").hint("say with `count` how many of the job there are")
}

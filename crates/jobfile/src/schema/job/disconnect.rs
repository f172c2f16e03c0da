//! `on_disconnect`: what becomes of a job when its cluster is not heard of.

use tombolo_core::build::extensions::{Extensions, OnDisconnect};

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, nearest, quote};
use crate::reader::Token;
use crate::schema::fields;

const WORDS: [(&str, OnDisconnect); 2] = [("replace", OnDisconnect::Replace), ("wait", OnDisconnect::Wait)];

pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<OnDisconnect> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: `replace` or `wait`")? else {
        return Ok(OnDisconnect::default());
    };
    if let Some((_, what)) = WORDS.into_iter().find(|(word, _)| *word == text) {
        return Ok(what);
    }
    let names = || WORDS.into_iter().map(|(word, _)| word);
    let complaint = Complaint::new(format!("{} is nothing that can become of a job", quote(&text)));
    decoder.fault(
        at,
        complaint.hint(match nearest(&text, names()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!(
                "there are {}; without the field the job is placed again after a while",
                fields::listed(names())
            ),
        }),
    );
    Ok(OnDisconnect::default())
}

/// A job cannot be stopped when its lease ends and be waited for as well.
pub(super) fn check(decoder: &mut Decoder<'_>, says: &Extensions, at: Position) {
    if says.exclusive && says.on_disconnect == OnDisconnect::Wait {
        let complaint = Complaint::new(
            "an `exclusive` job is stopped when its cluster is not heard of, so nothing is there to wait for",
        );
        decoder.field_fault("on_disconnect", at, complaint.hint("leave out one of the two"));
    }
}

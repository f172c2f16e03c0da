//! `cluster`: which clusters may run a job.

use tombolo_core::label::{Requirement, Selector};
use tombolo_core::name::ClusterName;

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, quote};
use crate::reader::Token;
use crate::schema::fields;

pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<(Selector, Option<ClusterName>)> {
    let (mut selector, mut prefer) = (Selector::default(), None);
    decoder.map(
        value,
        "an object with `selector` and `prefer`",
        |decoder, field, at, value| {
            match field {
                "selector" => selector = read_selector(decoder, &value)?,
                "prefer" => prefer = read_prefer(decoder, value)?,
                other => {
                    decoder.fault(at, fields::unknown(other, ["selector", "prefer"]));
                    decoder.skip(&value)?;
                }
            }
            Ok(())
        },
    )?;
    Ok((selector, prefer))
}

fn read_selector<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Selector> {
    let mut requirements = Vec::new();
    decoder.filled_list(value, "a list of requirements", Selector::MAX_REQUIREMENTS, |decoder, _, item| {
        let at = item.at;
        let Some(text) = decoder.text(item, "text: a requirement such as `region=eu`")? else { return Ok(()) };
        match text.parse::<Requirement>() {
            Ok(requirement) => requirements.push(requirement),
            Err(error) => {
                let complaint = Complaint::new(error.to_string());
                let hint = "such as `GCP`, `!spot`, `region=eu`, `tier!=dev`, `region in (eu, us)`, `tier notin (dev)`, \
                            `gpu>0`; all items of the list must hold";
                decoder.fault(at, complaint.hint(hint));
            }
        }
        Ok(())
    })?;
    Ok(Selector::from_iter(requirements))
}

fn read_prefer<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<ClusterName>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: a cluster's name")? else {
        return Ok(None);
    };
    let name = ClusterName::new(&text).ok();
    if name.is_none() {
        let complaint = Complaint::new(format!("{} is not a valid name of a cluster", quote(&text)));
        decoder.fault(at, complaint.hint(format!("a name is {}", ClusterName::RULE)));
    }
    Ok(name)
}

//! `volumes`: the folders that a job shares with others.

use tombolo_core::volume::{VolumeKind, VolumeSet};

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, nearest, quote};
use crate::reader::Token;
use crate::schema::fields::listed;

/// More would name one twice.
const MAX_VOLUMES: usize = VolumeKind::ALL.len();

pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<VolumeSet> {
    let mut volumes = VolumeSet::default();
    decoder.filled_list(value, "a list of volumes", MAX_VOLUMES, |decoder, _, item| {
        let at = item.at;
        let Some(text) = decoder.text(item, "text: the name of a volume")? else {
            return Ok(());
        };
        let known = VolumeKind::ALL.map(VolumeKind::as_str);
        match text.parse::<VolumeKind>() {
            Ok(kind) if volumes.contains(kind) => {
                decoder.fault(
                    at,
                    Complaint::new(format!("{} is there already", quote(&text))).hint("name it once"),
                );
            }
            Ok(kind) => volumes.insert(kind),
            Err(_) => {
                let complaint = Complaint::new(format!("there is no volume {}", quote(&text)));
                let hint = match nearest(&text, known) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("there are {}", listed(known)),
                };
                decoder.fault(at, complaint.hint(hint));
            }
        }
        Ok(())
    })?;
    Ok(volumes)
}

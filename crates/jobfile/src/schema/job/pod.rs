//! `kubernetes`: what a job asks of its pod.

use std::collections::BTreeMap;

use tombolo_core::build::PodNeeds;

use super::value::MEBIBYTE;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, quote};
use crate::reader::Token;
use crate::schema::fields;

const FIELDS: [&str; 4] = ["storage", "node_selector", "run_as_user", "architecture"];
/// 64 TiB, more than any node has.
const MAX_STORAGE_MEBIBYTES: u32 = 64 * 1024 * 1024;
/// The largest user that Linux has; the one above it means `none`.
const MAX_USER: u32 = u32::MAX - 1;
/// The longest value of a label of Kubernetes.
const MAX_LABEL_BYTES: usize = 63;
/// The longest key: a prefix of a domain's length, and a name.
const MAX_KEY_BYTES: usize = 253 + 1 + MAX_LABEL_BYTES;

pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<PodNeeds> {
    let mut pod = PodNeeds::default();
    decoder.map(value, "an object", |decoder, field, at, value| {
        match field {
            "storage" => {
                let mebibytes = decoder.whole(&value, "a whole number of MiB", 1..=MAX_STORAGE_MEBIBYTES)?;
                pod.storage_bytes = mebibytes.map(|mebibytes| u64::from(mebibytes) * MEBIBYTE);
            }
            "node_selector" => pod.node_selector = node_selector(decoder, &value)?,
            "run_as_user" => pod.run_as_user = decoder.whole(&value, "the number of a user", 0..=MAX_USER)?,
            "architecture" => {
                let at = value.at;
                let text = decoder.filled_text(value, "text: an architecture such as `arm64`")?;
                if let Some(text) = text.filter(|text| label_value(decoder, at, text)) {
                    pod.architecture = Some(text);
                }
            }
            other => {
                decoder.fault(at, fields::unknown(other, FIELDS));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok(pod)
}

fn node_selector<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    decoder.map(value, "an object of labels and values", |decoder, key, at, value| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        let is_key = (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(allowed);
        if !is_key {
            let complaint = Complaint::new(format!("{} is not the key of a node's label", quote(key)));
            decoder.fault(at, complaint.hint("a key is such as `disk` or `example.org/disk`"));
        }
        let value_at = value.at;
        let Some(text) = decoder.text(value, "text: the label's value")? else {
            return Ok(());
        };
        if label_value(decoder, value_at, &text) {
            labels.insert(key.to_owned(), text);
        }
        Ok(())
    })?;
    Ok(labels)
}

/// Whether a label can have the value; if not, that is recorded.
fn label_value(decoder: &mut Decoder<'_>, at: crate::fault::Position, text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let right = text.len() <= MAX_LABEL_BYTES && text.bytes().all(allowed);
    if !right {
        let complaint = Complaint::new(format!("{} is not the value of a node's label", quote(text)));
        decoder.fault(
            at,
            complaint.hint("a value is up to 63 of a-z, A-Z, 0-9, `-`, `_` and `.`"),
        );
    }
    right
}

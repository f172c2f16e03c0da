//! `environment`: texts, and values that are kept secret elsewhere.

use std::collections::BTreeMap;

use crate::decode::{Decoder, MAX_TEXT_BYTES, Step};
use crate::fault::{Complaint, quote};
use crate::reader::{Piece, Token};
use crate::schema::fields;

/// The longest name of a variable.
const MAX_VARIABLE_BYTES: usize = 255;

/// The fields that name a secret of the project, or one in a vault.
const OF_SECRETS: [&str; 4] = ["$secret", "$vault", "$vault_secret_path", "$vault_secret_key"];

/// Takes the variables that are given as texts, and says whether there are others.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<(BTreeMap<String, String>, bool)> {
    let (mut variables, mut secrets) = (BTreeMap::new(), false);
    decoder.map(value, "an object of names and texts", |decoder, name, at, value| {
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'=';
        let is_valid = (1..=MAX_VARIABLE_BYTES).contains(&name.len()) && name.bytes().all(printable);
        if !is_valid {
            let complaint = Complaint::new(format!("{} is not a valid name of a variable", quote(name)));
            let hint = format!("a name is 1 to {MAX_VARIABLE_BYTES} printable ASCII characters without spaces and `=`");
            decoder.fault(at, complaint.hint(hint));
        }
        if value.piece == Piece::MapStart {
            secrets = true;
            return secret(decoder, &value);
        }
        let value_at = value.at;
        let Some(text) = decoder.text(value, "text")? else {
            return Ok(());
        };
        if name.len() + 1 + text.len() > MAX_TEXT_BYTES {
            let message = format!("the variable has more than {MAX_TEXT_BYTES} bytes with its name");
            decoder.fault(value_at, Complaint::new(message));
        }
        variables.insert(name.to_owned(), text);
        Ok(())
    })?;
    Ok((variables, secrets))
}

/// Takes the reference to a secret: `{$secret}`, or `{$vault, $vault_secret_path, $vault_secret_key}`.
pub(super) fn secret<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<()> {
    let mut given = Vec::new();
    decoder.map(value, "an object that names a secret", |decoder, field, at, value| {
        if !OF_SECRETS.contains(&field) {
            decoder.fault(at, fields::unknown(field, OF_SECRETS));
            return decoder.skip(&value);
        }
        given.push(field.to_owned());
        decoder.filled_text(value, "text: a name")?;
        Ok(())
    })?;
    let is_given = |field: &&&str| given.iter().any(|given| given == **field);
    let [of_project, of_vault @ ..] = &OF_SECRETS;
    let missing: Vec<&str> = match (is_given(&of_project), of_vault.iter().any(|field| is_given(&field))) {
        (true, false) => return Ok(()),
        (true, true) => {
            let message = "a secret of the project and one of a vault at once";
            decoder.fault(value.at, Complaint::new(message).hint("name one of the two"));
            return Ok(());
        }
        (false, false) => vec![*of_project],
        (false, true) => of_vault.iter().filter(|field| !is_given(field)).copied().collect(),
    };
    for field in missing {
        decoder.field_fault(field, value.at, Complaint::new("the field is missing"));
    }
    Ok(())
}

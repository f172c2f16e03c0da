//! `environment`: texts, and values that are kept secret elsewhere.

use std::collections::BTreeMap;

use tombolo_core::name::SecretName;

use crate::decode::{Decoder, MAX_TEXT_BYTES, Step};
use crate::fault::{Complaint, quote};
use crate::reader::{Piece, Token};
use crate::schema::fields;

/// The longest name of a variable.
const MAX_VARIABLE_BYTES: usize = 255;

/// The fields that name a secret of the project, or one in a vault.
const OF_SECRETS: [&str; 4] = ["$secret", "$vault", "$vault_secret_path", "$vault_secret_key"];

/// The variables of a job, by where their values are.
#[derive(Default)]
pub(super) struct Environment {
    /// Those that are given as texts.
    pub(super) texts: BTreeMap<String, String>,
    /// Those that are secrets of the project.
    pub(super) secrets: BTreeMap<String, SecretName>,
    /// Whether there are some that are in a vault.
    pub(super) vault: bool,
}

/// Where a value is kept that is not in the file.
pub(super) enum Reference {
    Secret(SecretName),
    Vault,
}

/// Takes the variables.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Environment> {
    let mut environment = Environment::default();
    decoder.map(value, "an object of names and texts", |decoder, name, at, value| {
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b'=';
        let is_valid = (1..=MAX_VARIABLE_BYTES).contains(&name.len()) && name.bytes().all(printable);
        if !is_valid {
            let complaint = Complaint::new(format!("{} is not a valid name of a variable", quote(name)));
            let hint = format!("a name is 1 to {MAX_VARIABLE_BYTES} printable ASCII characters without spaces and `=`");
            decoder.fault(at, complaint.hint(hint));
        }
        if value.piece == Piece::MapStart {
            match secret(decoder, &value)? {
                Some(Reference::Secret(secret)) => drop(environment.secrets.insert(name.to_owned(), secret)),
                Some(Reference::Vault) => environment.vault = true,
                None => {}
            }
            return Ok(());
        }
        let value_at = value.at;
        let Some(text) = decoder.text(value, "text")? else {
            return Ok(());
        };
        if name.len() + 1 + text.len() > MAX_TEXT_BYTES {
            let message = format!("the variable has more than {MAX_TEXT_BYTES} bytes with its name");
            decoder.fault(value_at, Complaint::new(message));
        }
        environment.texts.insert(name.to_owned(), text);
        Ok(())
    })?;
    Ok(environment)
}

/// Takes the reference to a secret: `{$secret}`, or `{$vault, $vault_secret_path, $vault_secret_key}`. None if it is none.
pub(super) fn secret<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Reference>> {
    let (mut given, mut named) = (Vec::new(), None);
    decoder.map(value, "an object that names a secret", |decoder, field, at, value| {
        if !OF_SECRETS.contains(&field) {
            decoder.fault(at, fields::unknown(field, OF_SECRETS));
            return decoder.skip(&value);
        }
        given.push(field.to_owned());
        let value_at = value.at;
        let text = decoder.filled_text(value, "text: a name")?;
        if let Some(text) = text.filter(|_| field == OF_SECRETS[0]) {
            named = SecretName::new(&text).ok();
            if named.is_none() {
                let complaint = Complaint::new(format!("{} is not a valid name of a secret", quote(&text)));
                decoder.fault(value_at, complaint.hint(format!("a name is {}", SecretName::RULE)));
            }
        }
        Ok(())
    })?;
    let is_given = |field: &&&str| given.iter().any(|given| given == **field);
    let [of_project, of_vault @ ..] = &OF_SECRETS;
    let missing: Vec<&str> = match (is_given(&of_project), of_vault.iter().any(|field| is_given(&field))) {
        (true, false) => return Ok(named.map(Reference::Secret)),
        (true, true) => {
            let message = "a secret of the project and one of a vault at once";
            decoder.fault(value.at, Complaint::new(message).hint("name one of the two"));
            return Ok(None);
        }
        (false, false) => vec![*of_project],
        (false, true) => of_vault.iter().filter(|field| !is_given(field)).copied().collect(),
    };
    let of_vault = missing.is_empty().then_some(Reference::Vault);
    for field in missing {
        decoder.field_fault(field, value.at, Complaint::new("the field is missing"));
    }
    Ok(of_vault)
}

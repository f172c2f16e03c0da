//! Turns what was read into types. The `config` crate could, but of a wrong choice it says only the name of the Rust type, and a
//! choice with a value that is written without one makes it panic.

use std::fmt;
use std::vec;

use config::{ConfigError, Value, ValueKind};
use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Why a value is not what it must be.
#[derive(Debug)]
pub(super) struct Fault {
    /// Which value, from the outermost table: `transfers.costs[0].way`. Empty for the whole.
    key: String,
    reason: String,
    /// Where it was found, if that is known: `the environment`.
    origin: Option<String>,
}

impl Fault {
    fn within(mut self, outer: &str) -> Self {
        let dot = if self.key.is_empty() || self.key.starts_with('[') {
            ""
        } else {
            "."
        };
        self.key = format!("{outer}{dot}{}", self.key);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)?;
        if !self.key.is_empty() {
            write!(formatter, " for key `{}`", self.key)?;
        }
        match &self.origin {
            Some(origin) => write!(formatter, " in {origin}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self {
            key: String::new(),
            reason: reason.to_string(),
            origin: None,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            key: field.to_owned(),
            reason: "there is no value".to_owned(),
            origin: None,
        }
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Type {
                origin,
                unexpected,
                expected,
                ..
            } => Self {
                key: String::new(),
                reason: format!("invalid type: {unexpected}, expected {expected}"),
                origin,
            },
            error => de::Error::custom(error),
        }
    }
}

/// A value that was read.
pub(super) struct Read(pub(super) Value);

macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.0.$method(visitor).map_err(Fault::from)
        })*
    };
}

impl<'de> Deserializer<'de> for Read {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.kind {
            ValueKind::Array(values) => visitor.visit_seq(Items(values.into_iter(), 0)),
            ValueKind::Table(table) => {
                visitor.visit_map(Table(table.into_iter().collect::<Vec<_>>().into_iter(), None))
            }
            _ => self.0.deserialize_any(visitor).map_err(Fault::from),
        }
    }

    // They take a text for a number, which is all that a variable can have.
    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_str deserialize_string
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Choice {
            made: choice(self.0, variants),
            variants,
        })
    }

    forward_to_deserialize_any! {
        i128 u128 char seq bytes byte_buf map struct unit identifier ignored_any unit_struct tuple_struct tuple
    }
}

struct Items(vec::IntoIter<Value>, usize);

impl<'de> de::SeqAccess<'de> for Items {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(value) = self.0.next() else {
            return Ok(None);
        };
        let index = self.1;
        self.1 += 1;
        let item = seed.deserialize(Read(value));
        item.map(Some).map_err(|fault| fault.within(&format!("[{index}]")))
    }
}

/// Its entries, and the value whose key was taken last.
struct Table(vec::IntoIter<(String, Value)>, Option<(String, Value)>);

impl<'de> de::MapAccess<'de> for Table {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.1 = self.0.next();
        let Some((key, _)) = &self.1 else {
            return Ok(None);
        };
        // As a value: a key may be for a type that is not a text, such as a checked name.
        seed.deserialize(Read(Value::new(None, key.as_str()))).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, value) = self
            .1
            .take()
            .ok_or_else(|| <Fault as de::Error>::custom("a value without a key"))?;
        seed.deserialize(Read(value)).map_err(|fault| fault.within(&key))
    }
}

/// What was written where one of several is to be chosen.
struct Choice {
    made: Made,
    variants: &'static [&'static str],
}

enum Made {
    /// Its name alone.
    Named(String),
    /// With a value.
    Given(String, Value),
    /// None of those that there are.
    Wrong(String),
}

fn choice(value: Value, variants: &[&str]) -> Made {
    match value.kind {
        ValueKind::String(name) if variants.contains(&name.as_str()) => Made::Named(name),
        ValueKind::String(name) => Made::Wrong(name),
        ValueKind::Table(table) if table.len() == 1 => match table.into_iter().next() {
            Some((name, value)) if variants.contains(&name.as_str()) => Made::Given(name, value),
            Some((name, _)) => Made::Wrong(name),
            None => Made::Wrong(String::new()),
        },
        ValueKind::Table(_) => Made::Wrong("a table".to_owned()),
        other => Made::Wrong(other.to_string()),
    }
}

impl<'de> de::EnumAccess<'de> for Choice {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        // The type alone knows whether a choice comes with a value: it is asked for its first one, and the answer is the fault.
        let name = match &self.made {
            Made::Named(name) | Made::Given(name, _) => name.clone(),
            Made::Wrong(_) => self.variants.first().copied().unwrap_or_default().to_owned(),
        };
        let name: StringDeserializer<Fault> = name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Choice {
    fn listed(&self, each: impl Fn(&str) -> String) -> String {
        let choices: Vec<String> = self.variants.iter().map(|variant| each(variant)).collect();
        match choices.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => choices.concat(),
        }
    }

    /// A value that stands where a name must stand.
    fn must_be_named(&self, written: &str) -> Fault {
        let choices = self.listed(|variant| format!("`{variant}`"));
        de::Error::custom(format_args!(
            "`{}` is not a choice: give {choices}",
            written.escape_debug()
        ))
    }

    /// What was written is not shown: it may be a secret that stands in the wrong place.
    fn must_have_a_value(&self) -> Fault {
        let choices = self.listed(|variant| format!("`{{ {variant} = ... }}`"));
        de::Error::custom(format_args!("it must be written as {choices}"))
    }

    fn value(self) -> Result<(String, Read), Fault> {
        match self.made {
            Made::Given(name, value) => Ok((name, Read(value))),
            _ => Err(self.must_have_a_value()),
        }
    }
}

impl<'de> de::VariantAccess<'de> for Choice {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match &self.made {
            Made::Named(_) => Ok(()),
            Made::Given(name, _) | Made::Wrong(name) => Err(self.must_be_named(name)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let (name, value) = self.value()?;
        seed.deserialize(value).map_err(|fault| fault.within(&name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        let (name, value) = self.value()?;
        value.deserialize_any(visitor).map_err(|fault| fault.within(&name))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let (name, value) = self.value()?;
        value.deserialize_any(visitor).map_err(|fault| fault.within(&name))
    }
}

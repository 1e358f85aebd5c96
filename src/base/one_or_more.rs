//! A list that is never empty, written as its only element where there is just one.
//!
//! What may be there once or several times (`[camera]`, `[[camera]]`) is such a list: nobody who reads it has to
//! think of there being none.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One element, and maybe others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMore<T> {
    first: T,
    others: Vec<T>,
}

impl<T> OneOrMore<T> {
    /// A list of `first` alone.
    pub const fn one(first: T) -> Self {
        Self { first, others: Vec::new() }
    }

    /// Adds an element at the end.
    pub fn push(&mut self, element: T) {
        self.others.push(element);
    }

    /// The first element.
    pub const fn first(&self) -> &T {
        &self.first
    }

    /// The first element, to be changed.
    pub const fn first_mut(&mut self) -> &mut T {
        &mut self.first
    }

    /// How many elements there are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub const fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// All elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The list of what `change` makes of each element.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> OneOrMore<U> {
        OneOrMore { first: change(self.first), others: self.others.into_iter().map(change).collect() }
    }

    /// The same, up to the first element that nothing can be made of.
    ///
    /// # Errors
    /// What `change` says of it.
    pub fn try_map<U, E>(self, mut change: impl FnMut(T) -> Result<U, E>) -> Result<OneOrMore<U>, E> {
        Ok(OneOrMore {
            first: change(self.first)?,
            others: self.others.into_iter().map(change).collect::<Result<_, _>>()?,
        })
    }

    /// All elements, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

impl<T> IntoIterator for OneOrMore<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::iter::Once<T>, std::vec::IntoIter<T>>;
    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.others)
    }
}

impl<T: Serialize> Serialize for OneOrMore<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.others.is_empty() { self.first.serialize(serializer) } else { serializer.collect_seq(self.iter()) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableOrList(PhantomData))
    }
}

struct TableOrList<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableOrList<T> {
    type Value = OneOrMore<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or a list of tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMore::one)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let Some(first) = list.next_element()? else { return Err(A::Error::custom("the list is empty")) };
        let mut all = OneOrMore::one(first);
        while let Some(next) = list.next_element()? {
            all.push(next);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Thing {
        name: String,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct File {
        thing: OneOrMore<Thing>,
    }

    fn names(text: &str) -> Vec<String> {
        toml::from_str::<File>(text).unwrap().thing.into_iter().map(|thing| thing.name).collect()
    }

    #[test]
    fn one_is_a_table_and_several_are_a_list() {
        assert_eq!(names("[thing]\nname = 'a'"), ["a"]);
        assert_eq!(names("[[thing]]\nname = 'a'\n[[thing]]\nname = 'b'"), ["a", "b"]);
        assert!(toml::from_str::<File>("thing = []").is_err());
        assert!(toml::from_str::<File>("thing = 1").unwrap_err().message().contains("a table, or a list of tables"));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["[thing]\nname = \"a\"\n", "[[thing]]\nname = \"a\"\n\n[[thing]]\nname = \"b\"\n"] {
            assert_eq!(toml::to_string(&toml::from_str::<File>(text).unwrap()).unwrap(), text);
        }
    }
}

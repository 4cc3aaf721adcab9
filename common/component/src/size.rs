//! Sizes as people write them in config files: `256M`, `8G`, or a bare number of MiB.
//!
//! On the wire the same types are plain numbers; only config fields that ask for it are read so.
//!
//! ```
//! # use cupola_types::{DiskMb, MemoryMb};
//! #[derive(serde::Deserialize)]
//! struct Room {
//!     #[serde(deserialize_with = "cupola_component::size::deserialize")]
//!     memory: MemoryMb,
//!     #[serde(default, deserialize_with = "cupola_component::size::optional")]
//!     disk: Option<DiskMb>,
//! }
//! # let room: Room = toml::from_str("memory = '8G'\ndisk = 512").unwrap();
//! # assert_eq!((room.memory, room.disk), (MemoryMb(8192), Some(DiskMb(512))));
//! ```

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer as _, Visitor};

/// For `#[serde(deserialize_with = …)]` on a [`MemoryMb`](cupola_types::MemoryMb) or
/// [`DiskMb`](cupola_types::DiskMb).
///
/// # Errors
/// When it is neither text with a unit nor a whole number of MiB.
pub fn deserialize<'de, D, S>(value: D) -> Result<S, D::Error>
where
    D: Deserializer<'de>,
    S: DeserializeOwned + FromStr<Err: Display>,
{
    value.deserialize_any(Size(PhantomData))
}

/// The same for a field that may be absent: add `default`.
///
/// # Errors
/// When it is there, and neither text with a unit nor a whole number of MiB.
pub fn optional<'de, D, S>(value: D) -> Result<Option<S>, D::Error>
where
    D: Deserializer<'de>,
    S: DeserializeOwned + FromStr<Err: Display>,
{
    deserialize(value).map(Some)
}

struct Size<S>(PhantomData<S>);

impl<S: DeserializeOwned + FromStr<Err: Display>> Visitor<'_> for Size<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"256M\" or \"8G\", or a whole number of MiB")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<S, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<S, E> {
        S::deserialize(number.into_deserializer())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<S, E> {
        S::deserialize(number.into_deserializer())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use cupola_types::{DiskMb, MemoryMb};
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Room {
        #[serde(deserialize_with = "super::deserialize")]
        memory: MemoryMb,
        #[serde(deserialize_with = "super::optional")]
        disk: Option<DiskMb>,
    }

    #[test]
    fn sizes_are_text_with_a_unit_or_a_number_of_mib() {
        let read = |text: &str| toml::from_str::<Room>(text).unwrap();
        assert_eq!(read("memory = '8G'").memory, MemoryMb(8192));
        assert_eq!(read("memory = 256").memory, MemoryMb(256));
        assert_eq!(read("disk = '512MB'").disk, Some(DiskMb(512)));
        assert_eq!(read("").disk, None);
        let json: Room = serde_json::from_str(r#"{"memory": 7}"#).unwrap();
        assert_eq!(json.memory, MemoryMb(7));
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for bad in ["'8'", "'8X'", "-1", "1.5", "99999999999", "true"] {
            let refused = toml::from_str::<Room>(&format!("memory = {bad}"));
            assert!(refused.is_err(), "{bad} was accepted");
        }
        let said = toml::from_str::<Room>("memory = 'much'").unwrap_err();
        assert!(said.to_string().contains("256M"), "{said}");
    }
}

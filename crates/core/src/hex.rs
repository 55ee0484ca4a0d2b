//! Bytes as lower-case hexadecimal text and back.

/// What is wrong with a text that should be hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected} lower-case hexadecimal digits")]
pub struct HexError {
    text: String,
    expected: usize,
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `N` bytes from `2 N` hexadecimal digits.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = || HexError {
        text: text.to_owned(),
        expected: 2 * N,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(error());
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0]).ok_or_else(error)? << 4 | value(pair[1]).ok_or_else(error)?;
    }
    Ok(bytes)
}

/// Implements text and serde forms of a newtype over `[u8; N]` as hexadecimal digits.
macro_rules! hex_text {
    ($name:ident, $bytes:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::hex::encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::hex::HexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::hex::decode::<$bytes>(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use hex_text;

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn digits_round_trip_and_bad_text_is_refused() {
        let bytes = [0x00, 0x7f, 0xff, 0x1a];
        assert_eq!(encode(&bytes), "007fff1a");
        assert_eq!(decode::<4>("007fff1a"), Ok(bytes));
        for bad in ["007fff1", "007fff1g", "007FFF1A", "007fff1a0"] {
            assert!(decode::<4>(bad).is_err(), "{bad}");
        }
    }
}

//! Identifiers, each its own type, so that a portfolio can never be asked for by a model's id.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    #[error("must be exactly 24 hexadecimal digits")]
    NotHexadecimal,
    #[error("must be exactly 24 letters or digits")]
    NotAlphanumeric,
    #[error("must be 1 to 64 characters without blanks or control characters")]
    NotAPortfolio,
}

macro_rules! hexadecimal_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 12]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }

            pub const fn bytes(self) -> [u8; 12] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidIdentifier;

            fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
                if text.len() != 24 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(InvalidIdentifier::NotHexadecimal);
                }
                let mut bytes = [0; 12];
                for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let digits = str::from_utf8(digits).map_err(|_| InvalidIdentifier::NotHexadecimal)?;
                    *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidIdentifier::NotHexadecimal)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

hexadecimal_id! {
    /// Names a model; 24 hexadecimal digits, written in lower case.
    ModelId
}

hexadecimal_id! {
    /// Names a kept rebalance; 24 hexadecimal digits, written in lower case.
    RebalanceId
}

/// Names a security of the Security Service: 24 ASCII letters or digits.
///
/// The service takes hexadecimal digits in either case for the same security, so they are held in
/// lower case here: one security must not be bought under one spelling and sold under the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecurityId([u8; 24]);

impl SecurityId {
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("the only constructor admits ASCII")
    }

    pub fn is_hexadecimal(&self) -> bool {
        self.0.iter().all(u8::is_ascii_hexdigit)
    }
}

impl FromStr for SecurityId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let mut bytes =
            <[u8; 24]>::try_from(text.as_bytes()).map_err(|_| InvalidIdentifier::NotAlphanumeric)?;
        if !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return Err(InvalidIdentifier::NotAlphanumeric);
        }
        if bytes.iter().all(u8::is_ascii_hexdigit) {
            bytes.make_ascii_lowercase();
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for SecurityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SecurityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a portfolio: 1 to 64 characters, none of them blank or a control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortfolioId(String);

impl PortfolioId {
    pub const MAX_CHARS: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PortfolioId {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let legal = |c: char| !c.is_whitespace() && !c.is_control();
        if text.is_empty() || Self::MAX_CHARS < text.chars().count() || !text.chars().all(legal) {
            return Err(InvalidIdentifier::NotAPortfolio);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PortfolioId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PortfolioId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_ids_read_either_case_and_write_lower_case() {
        let id: ModelId = "0123456789ABCDEFabcdef01".parse().unwrap();
        assert_eq!(id.to_string(), "0123456789abcdefabcdef01");
    }

    #[test]
    fn a_security_has_one_spelling_where_the_security_service_knows_several() {
        let [upper, lower] =
            ["0123456789ABCDEFABCDEF01", "0123456789abcdefabcdef01"].map(str::parse::<SecurityId>);
        assert_eq!(upper, lower);
        assert_eq!(
            "STOCKabcdefabcdefabcdef1".parse::<SecurityId>().unwrap().as_str(),
            "STOCKabcdefabcdefabcdef1"
        );
    }

    #[test]
    fn identifiers_of_the_wrong_shape_are_refused() {
        for text in [
            "",
            "0123",
            "0123456789abcdefabcdef0",
            "0123456789abcdefabcdef012",
            "g123456789abcdefabcdef01",
            "+f+f+f+f+f+f+f+f+f+f+f+f",
        ] {
            assert_eq!(text.parse::<ModelId>(), Err(InvalidIdentifier::NotHexadecimal), "{text}");
        }
        for text in ["", "STOCK_234567890123456789", "STOCK123456789012345678", "STÖCK12345678901234567890"]
        {
            assert_eq!(text.parse::<SecurityId>(), Err(InvalidIdentifier::NotAlphanumeric), "{text}");
        }
        for text in ["", " ", "a b", "a\tb", "a\0b", &"x".repeat(65)] {
            assert_eq!(text.parse::<PortfolioId>(), Err(InvalidIdentifier::NotAPortfolio), "{text}");
        }
        assert!("portfolio1".parse::<PortfolioId>().is_ok());
        assert!("x".repeat(64).parse::<PortfolioId>().is_ok());
    }
}

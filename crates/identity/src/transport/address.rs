use std::fmt;
use std::str::FromStr;

/// Where something listens: a host name or IP address, and a port. Written `host:port` or `[IPv6]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// A text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: `host:port` or `[IPv6]:port` is expected")]
pub struct InvalidAddress(String);

impl Address {
    /// Reads `host:port`.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.chars().take(200).collect());
        let authority: http::uri::Authority = text.parse().map_err(|_| invalid())?;
        let port = authority.port_u16().filter(|port| *port > 0).ok_or_else(invalid)?;
        if authority.host().is_empty() || text.contains('@') {
            return Err(invalid());
        }
        Ok(Self {
            host: authority.host().to_owned(),
            port,
        })
    }

    /// The host; an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["a:1", "127.0.0.1:7443", "[::1]:7443", "master.example.org:65535"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:b",
            "u@a:1",
            "a:1/x",
            "http://a:1",
            "::1:7443",
            "a b:1",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}

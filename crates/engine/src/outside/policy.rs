//! Which addresses a workflow may call: public ones, and what the operator allows besides.
//!
//! The check is made on the address that is connected to, after name resolution, so that a name which points
//! into the private network is refused like the address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::refused;
use crate::ports::{Link, OutsideError};
use stepwell_workflow::connection::is_loopback;

/// The operator's rules for outbound calls.
#[derive(Debug, Clone, Default)]
pub struct OutboundPolicy {
    /// Networks that are allowed although they are not public (`--allow-private-hosts`).
    pub allow_private: Vec<IpNet>,
    /// Loopback is allowed (`--dev`).
    pub allow_loopback: bool,
    /// Plain `http://` is allowed to every permitted host, not to loopback and allowed private networks alone.
    pub allow_plain_http: bool,
}

impl OutboundPolicy {
    /// Whether a connection to this address may be made.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        if self.allow_private.iter().any(|net| net.contains(&address)) {
            return true;
        }
        match class(address) {
            Class::Public => true,
            Class::Loopback => self.allow_loopback,
            Class::Private | Class::Never => false,
        }
    }

    /// Whether plain `http://` may be spoken to this address: what it carries can be read on the way.
    pub fn permits_plain_http(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.allow_plain_http
            || class(address) == Class::Loopback
            || self.allow_private.iter().any(|net| net.contains(&address))
    }

    /// The same for a host's name, as far as that tells: where private networks are allowed, its address decides.
    pub fn may_speak_plainly_to(&self, host: &str) -> bool {
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => self.permits_plain_http(address),
            Err(_) => self.allow_plain_http || is_loopback(host) || !self.allow_private.is_empty(),
        }
    }

    /// What a connection leaves of it. Private networks that the operator does not allow stay closed.
    pub(super) fn within(&self, link: &Link) -> OutboundPolicy {
        let mut policy = self.clone();
        policy.allow_plain_http |= link.plain_http;
        if !link.private_networks.is_empty() {
            let mut both = Vec::new();
            for own in &self.allow_private {
                for wanted in &link.private_networks {
                    // Of two networks that share an address one lies within the other.
                    if own.contains(wanted) {
                        both.push(*wanted);
                    } else if wanted.contains(own) {
                        both.push(*own);
                    }
                }
            }
            policy.allow_private = both;
        }
        policy
    }

    /// The error for a host of which no address may be called.
    pub(super) fn refusal(host: &str, address: IpAddr) -> OutsideError {
        let kind = match class(canonical(address)) {
            Class::Loopback => "a loopback address",
            Class::Private => "a private address",
            Class::Never | Class::Public => "not an address that can be called",
        };
        refused(
            "address_forbidden",
            format!(
                "{host} is {kind} ({address}), which outbound calls may not reach; \
                 the operator can allow it with --allow-private-hosts {address}"
            ),
        )
    }

    pub(super) fn plain_http_refusal(host: &str) -> OutsideError {
        refused(
            "plain_http_forbidden",
            format!(
                "plain http:// to {host} can be read on the way; use https://, or let the operator allow it \
                 with --allow-plain-http"
            ),
        )
    }
}

/// A network written as a CIDR (`10.0.0.0/8`) or as one address.
pub fn parse_network(text: &str) -> Result<IpNet, NotANetwork> {
    let text = text.trim();
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| NotANetwork(text.to_owned()))
}

/// What was given is neither an address nor a CIDR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network; write 10.1.2.3 or 10.0.0.0/8")]
pub struct NotANetwork(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Public,
    Loopback,
    Private,
    /// Multicast, broadcast, documentation, reserved: no service lives there.
    Never,
}

/// IPv4 addresses that are written inside IPv6 ones (mapped, translated, 6to4, NAT64) are judged as what they are.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let s = v6.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // SIIT.
        [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        // IPv4-compatible, deprecated; `::` and `::1` are not among them.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => embedded(high, low),
        _ => address,
    }
}

fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

/// The special-purpose registry of RFC 6890 and its updates.
fn class_v4(a: Ipv4Addr) -> Class {
    let [b0, b1, b2, _] = a.octets();
    match (b0, b1, b2) {
        (127, ..) => Class::Loopback,
        (0, ..) => Class::Private,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Class::Private,
        (169, 254, _) | (100, 64..=127, _) => Class::Private,
        (192, 0, 0) | (198, 18..=19, _) => Class::Private,
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Class::Never,
        // Relays of 6to4, deprecated.
        (192, 88, 99) => Class::Never,
        (224..=255, ..) => Class::Never,
        _ => Class::Public,
    }
}

fn class_v6(a: Ipv6Addr) -> Class {
    let s = a.segments();
    if a.is_loopback() {
        return Class::Loopback;
    }
    if a.is_unspecified() {
        return Class::Private;
    }
    match s[0] {
        0xfc00..=0xfdff | 0xfe80..=0xfeff => Class::Private,
        0xff00..=0xffff => Class::Never,
        0x2001 if s[1] == 0xdb8 => Class::Never,
        0x2001 if s[1] <= 0x1ff => class_protocol(s),
        0x3fff if s[1] <= 0xfff => Class::Never,
        // Segments of a network's own routing.
        0x5f00 => Class::Private,
        // What is thrown away, and what stands for an address that is not to be used.
        0x0100 if s[1..3] == [0, 0] && s[3] <= 1 => Class::Never,
        // The local-use NAT64 prefix of RFC 8215.
        0x0064 if s[1] == 0xff9b && s[2] == 1 => Class::Private,
        _ => Class::Public,
    }
}

/// 2001::/23, set aside for protocols: Teredo, which carries an IPv4 address that the other side chose, benchmarks, and
/// others. Only what the registry calls globally reachable is.
fn class_protocol(s: [u16; 8]) -> Class {
    match s {
        // Anycast of PCP and of TURN.
        [_, 1, 0, 0, 0, 0, 0, 1..=2] => Class::Public,
        // AMT, and AS112.
        [_, 3, ..] | [_, 4, 0x112, ..] => Class::Public,
        // ORCHIDv2, and tags of remotely identified drones.
        [_, 0x20..=0x3f, ..] => Class::Public,
        _ => Class::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_addresses_may_be_called() {
        let policy = OutboundPolicy::default();
        for a in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "172.32.0.1", "100.128.0.1"] {
            assert!(policy.permits(ip(a)), "{a}");
        }
    }

    #[test]
    fn addresses_inside_are_refused_however_they_are_written() {
        let policy = OutboundPolicy::default();
        for a in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!policy.permits(ip(a)), "{a}");
        }
    }

    /// What the registries of special addresses call not globally reachable, and what they except of it.
    #[test]
    fn networks_of_a_special_purpose_are_refused_and_nothing_beside_them() {
        let policy = OutboundPolicy::default();
        for (address, permitted) in [
            // Protocol assignments, 2001::/23.
            ("2000:ffff::1", true),
            ("2001::", false),
            ("2001:1::", false),
            ("2001:1::1", true),
            ("2001:1::2", true),
            ("2001:1::3", false),
            ("2001:1:0:1::1", false),
            ("2001:2::1", false),
            ("2001:2:ffff::1", false),
            ("2001:3::1", true),
            ("2001:3:ffff::1", true),
            ("2001:4::1", false),
            ("2001:4:111:ffff::1", false),
            ("2001:4:112::1", true),
            ("2001:4:113::1", false),
            ("2001:10::1", false),
            ("2001:1f:ffff::1", false),
            ("2001:20::1", true),
            ("2001:2f:ffff::1", true),
            ("2001:30::1", true),
            ("2001:3f:ffff::1", true),
            ("2001:40::1", false),
            ("2001:1ff:ffff::1", false),
            ("2001:200::1", true),
            // Documentation.
            ("2001:db7::1", true),
            ("2001:db8:ffff::1", false),
            ("2001:db9::1", true),
            ("3ffe::1", true),
            ("3fff::1", false),
            ("3fff:fff:ffff::1", false),
            ("3fff:1000::1", true),
            // Segments of a network's own routing.
            ("5eff::1", true),
            ("5f00::1", false),
            ("5f00:ffff::1", false),
            ("5f01::1", true),
            // What is thrown away, and what stands for nothing.
            ("100::1", false),
            ("100:0:0:1::1", false),
            ("100:0:0:2::1", true),
            // Relays of 6to4.
            ("192.88.98.1", true),
            ("192.88.99.1", false),
            ("192.88.100.1", true),
            ("::ffff:192.88.99.1", false),
            // IPv4 as translators write it (SIIT).
            ("::ffff:0:127.0.0.1", false),
            ("::ffff:0:10.0.0.1", false),
            ("::ffff:0:169.254.169.254", false),
            ("::ffff:0:1.1.1.1", true),
        ] {
            assert_eq!(policy.permits(ip(address)), permitted, "{address}");
        }
        let inside =
            OutboundPolicy { allow_private: vec!["10.1.0.0/16".parse().unwrap()], ..Default::default() };
        assert!(inside.permits(ip("::ffff:0:10.1.2.3")) && !inside.permits(ip("::ffff:0:10.2.2.3")));
    }

    #[test]
    fn an_allowed_network_and_no_other_is_open() {
        let policy = OutboundPolicy {
            allow_private: vec!["10.1.0.0/16".parse().unwrap()],
            ..OutboundPolicy::default()
        };
        assert!(policy.permits(ip("10.1.2.3")));
        assert!(policy.permits(ip("::ffff:10.1.2.3")));
        assert!(!policy.permits(ip("10.2.0.1")));
        assert!(!policy.permits(ip("127.0.0.1")));
        assert!(policy.permits_plain_http(ip("10.1.2.3")));
        assert!(!policy.permits_plain_http(ip("1.1.1.1")));
    }

    #[test]
    fn a_connection_takes_less_and_never_more() {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        let policy = OutboundPolicy { allow_private: nets(&["10.1.0.0/16"]), ..OutboundPolicy::default() };
        let link = |wanted: &[&str]| Link { private_networks: nets(wanted), ..Link::default() };
        assert_eq!(
            policy.within(&link(&["10.1.2.0/24", "10.2.0.0/16"])).allow_private,
            nets(&["10.1.2.0/24"])
        );
        assert_eq!(policy.within(&link(&["10.0.0.0/8"])).allow_private, nets(&["10.1.0.0/16"]));
        assert_eq!(policy.within(&link(&[])).allow_private, policy.allow_private);
        assert!(
            policy.within(&Link { plain_http: true, ..Link::default() }).permits_plain_http(ip("1.1.1.1"))
        );
    }

    #[test]
    fn plain_http_is_told_by_a_host_s_name_as_far_as_it_goes() {
        let strict = OutboundPolicy::default();
        assert!(strict.may_speak_plainly_to("localhost") && strict.may_speak_plainly_to("[::1]"));
        assert!(!strict.may_speak_plainly_to("crm.example.com") && !strict.may_speak_plainly_to("10.1.2.3"));
        let private = OutboundPolicy { allow_private: vec!["10.1.0.0/16".parse().unwrap()], ..strict };
        assert!(private.may_speak_plainly_to("crm.internal") && private.may_speak_plainly_to("10.1.2.3"));
        assert!(!private.may_speak_plainly_to("10.2.2.3"), "its address is known");
    }

    #[test]
    fn dev_opens_loopback_alone() {
        let policy = OutboundPolicy { allow_loopback: true, ..OutboundPolicy::default() };
        assert!(policy.permits(ip("127.0.0.1")) && policy.permits(ip("::1")));
        assert!(!policy.permits(ip("192.168.0.1")));
    }
}

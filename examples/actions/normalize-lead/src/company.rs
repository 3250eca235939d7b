//! The company behind an address.

use schemars::JsonSchema;
use serde::Serialize;

use crate::email::Email;
use crate::name;

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Company {
    pub name: String,
    /// What companies are told apart by; null when the lead writes from a private address.
    pub domain: Option<String>,
}

/// Providers whose addresses say nothing about an employer. Names that end in a dot stand for
/// the provider under every top level.
const FREE_MAIL: [&str; 71] = [
    "gmail.com",
    "googlemail.com",
    "outlook.",
    "hotmail.",
    "live.",
    "msn.com",
    "yahoo.",
    "ymail.com",
    "rocketmail.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "aol.com",
    "proton.me",
    "protonmail.com",
    "pm.me",
    "tutanota.com",
    "tuta.io",
    "tuta.com",
    "hey.com",
    "duck.com",
    "mail.com",
    "zohomail.",
    "fastmail.com",
    "hushmail.com",
    "comcast.net",
    "verizon.net",
    "att.net",
    "sbcglobal.net",
    "bellsouth.net",
    "cox.net",
    "charter.net",
    "shaw.ca",
    "rogers.com",
    "bigpond.com",
    "bigpond.net.au",
    "btinternet.com",
    "virginmedia.com",
    "talktalk.net",
    "gmx.",
    "web.de",
    "t-online.de",
    "freenet.de",
    "arcor.de",
    "posteo.de",
    "mailbox.org",
    "bluewin.ch",
    "orange.fr",
    "wanadoo.fr",
    "free.fr",
    "sfr.fr",
    "laposte.net",
    "libero.it",
    "virgilio.it",
    "seznam.cz",
    "wp.pl",
    "o2.pl",
    "mail.ru",
    "bk.ru",
    "inbox.ru",
    "list.ru",
    "yandex.",
    "ukr.net",
    "qq.com",
    "163.com",
    "126.com",
    "sina.com",
    "naver.com",
    "docomo.ne.jp",
    "uol.com.br",
    "rediffmail.com",
];

/// Second levels under which anybody registers in many countries, as in `example.co.uk`.
const SHARED_SECOND_LEVELS: [&str; 8] = ["co", "com", "org", "net", "ac", "gov", "edu", "or"];

/// Further ones, in the countries that have them: elsewhere such a name is somebody's own.
const SHARED: [&str; 33] = [
    "ltd.uk",
    "plc.uk",
    "me.uk",
    "nhs.uk",
    "police.uk",
    "sch.uk",
    "ne.jp",
    "go.jp",
    "ad.jp",
    "ed.jp",
    "gr.jp",
    "lg.jp",
    "ne.kr",
    "re.kr",
    "go.kr",
    "gouv.fr",
    "asso.fr",
    "gob.mx",
    "gob.ar",
    "gob.es",
    "gv.at",
    "ind.br",
    "adv.br",
    "eng.br",
    "id.au",
    "asn.au",
    "govt.nz",
    "school.nz",
    "firm.in",
    "nic.in",
    "res.in",
    "go.id",
    "go.th",
];

/// The company a lead names, or the one its address belongs to.
pub fn of(written: Option<&str>, email: &Email) -> Option<Company> {
    let domain = (!is_free_mail(email.domain())).then(|| registered(email.domain()));
    let name = match (written, domain) {
        (Some(name), _) => name::one_line(name),
        (None, Some(domain)) => from_domain(domain),
        (None, None) => return None,
    };
    Some(Company { name, domain: domain.map(str::to_owned) })
}

pub fn is_free_mail(domain: &str) -> bool {
    let domain = registered(domain);
    FREE_MAIL
        .iter()
        .any(|known| if known.ends_with('.') { domain.starts_with(known) } else { domain == *known })
}

/// The part of a domain that its owner registered: `mail.example.co.uk` is of `example.co.uk`.
fn registered(domain: &str) -> &str {
    let mut dots = domain.rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), Some(second)) = (dots.next(), dots.next()) else { return domain };
    let shared = SHARED.contains(&&domain[second + 1..])
        || domain.len() - top == 3 && SHARED_SECOND_LEVELS.contains(&&domain[second + 1..top]);
    match if shared { dots.next() } else { Some(second) } {
        Some(dot) => &domain[dot + 1..],
        None => domain,
    }
}

fn from_domain(domain: &str) -> String {
    let label = domain.split('.').next().unwrap_or(domain);
    label.split('-').filter(|word| !word.is_empty()).map(name::capitalize).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email;

    fn company(written: Option<&str>, address: &str) -> Option<(String, Option<String>)> {
        let address = email::parse(address).expect("a good address");
        of(written, &address).map(|company| (company.name, company.domain))
    }

    #[test]
    fn a_company_is_known_by_its_domain() {
        let acme = Some(("Acme Tools".into(), Some("acme-tools.com".into())));
        assert_eq!(company(None, "a@acme-tools.com"), acme);
        assert_eq!(company(None, "a@mail.eu.acme-tools.com"), acme);
        for shared in ["ne.jp", "ltd.uk", "gouv.fr", "govt.nz"] {
            let domain = format!("acme.{shared}");
            let own = Some(("Acme".into(), Some(domain.clone())));
            assert_eq!(company(None, &format!("a@{domain}")), own);
            assert_eq!(company(None, &format!("a@mail.{domain}")), own);
        }
        let uk = Some(("Acme".into(), Some("acme.co.uk".into())));
        assert_eq!(company(None, "a@acme.co.uk"), uk);
        assert_eq!(company(None, "a@mail.acme.co.uk"), uk);
    }

    #[test]
    fn the_name_given_wins() {
        assert_eq!(
            company(Some("ACME  Tools Ltd."), "a@acme.io"),
            Some(("ACME Tools Ltd.".into(), Some("acme.io".into())))
        );
    }

    #[test]
    fn a_private_address_names_no_company() {
        for address in
            ["a@gmail.com", "a@yahoo.co.uk", "a@outlook.de", "a@gmx.net", "a@docomo.ne.jp", "a@comcast.net"]
        {
            assert_eq!(company(None, address), None, "{address}");
        }
        assert_eq!(company(Some("Acme"), "a@gmail.com"), Some(("Acme".into(), None)));
        assert!(company(None, "a@gmail.company.com").is_some());
    }
}

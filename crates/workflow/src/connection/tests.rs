//! Connections as people write them, and what they are told.

use super::*;
use crate::problem::render_all;

fn good(text: &str) -> Connection {
    let (connection, problems) = read(text, "crm");
    assert!(problems.is_empty(), "{problems:#?}");
    connection.unwrap()
}

fn told(text: &str) -> String {
    let (connection, problems) = read(text, "crm");
    assert!(connection.is_none(), "it was taken: {connection:?}");
    render_all(&problems, "connections/crm.yaml", text)
}

#[test]
fn everything_is_read_and_secrets_are_names() {
    let connection = good(
        "name: crm
base_url: https://api.example.com/v1/
auth: { basic: { username: flow, password: '{{ secrets.CRM_PASSWORD }}' } }
headers: { Accept: application/json, X-Tenant: '{{ secrets.TENANT }}' }
allow_private_hosts: 10.0.0.0/8
rate: { requests: 10, per: 1m }
concurrency: 4
",
    );
    assert_eq!(connection.secrets(), ["CRM_PASSWORD", "TENANT"]);
    assert_eq!(connection.rate, Some(Rate { requests: 10, per: Millis::seconds(60) }));
    assert_eq!(connection.allow_private_hosts, ["10.0.0.0/8"]);
    let again: Connection = serde_json::from_value(serde_json::to_value(&connection).unwrap()).unwrap();
    assert_eq!(connection, again);
    assert_eq!(filled("Token {{ secrets.A }}").unwrap().reveal(|_| Some("x".into())).unwrap(), "Token x");
}

#[test]
fn a_path_goes_below_the_base_and_another_host_is_refused() {
    let connection = good("base_url: https://api.example.com/v1/\n");
    assert_eq!(connection.address("/people?x=1").unwrap(), "https://api.example.com/v1/people?x=1");
    assert_eq!(connection.address("https://api.example.com/v2/x").unwrap(), "https://api.example.com/v2/x");
    assert_eq!(connection.address("").unwrap(), "https://api.example.com/v1/");
    assert_eq!(
        connection.address("/fetch?src=https://x.example/a").unwrap(),
        "https://api.example.com/v1/fetch?src=https://x.example/a"
    );
    for other in ["https://evil.example/x", "http://api.example.com/x", "https://api.example.com:444/"] {
        assert!(connection.address(other).unwrap_err().contains("write the path alone"), "{other}");
    }
}

#[test]
fn networks_and_headers_are_as_those_who_use_them_read_them() {
    for network in ["10.1.0.0/+16", "10.1.0.0/016", "10.1.0.0/33", "10.1.0.0/"] {
        let told = told(&format!("base_url: https://a.example\nallow_private_hosts: ['{network}']\n"));
        assert!(told.contains("neither an address nor a network"), "{network}: {told}");
    }
    for header in ["Idempotency-Key", "host", "Content-Length"] {
        let auth = format!("auth: {{ api_key: {{ header: {header}, value: '{{{{ secrets.K }}}}' }} }}\n");
        let told = told(&format!("base_url: https://a.example\n{auth}"));
        assert!(told.contains("can carry no key"), "{header}: {told}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    insta::assert_snapshot!(told(
        "name: erp
base_url: https://user:pw@api.example.com
auth: { bearer: sk_live_123 }
headers: { Host: x, X-By: '{{ trigger.body }}' }
tls: { client_certificate: nothing }
allow_private_hosts: [10.0.0.0/8, somewhere]
rate: { requests: 5, per: 1ms }
"
    ));
    insta::assert_snapshot!(told(
        "base_url: api.example.com\nauth: { api_key: { value: '{{ secrets.K }}' } }\n"
    ));
    insta::assert_snapshot!(told("auth: { token: x }\nrate: 5\n"));
}

#[test]
fn loopback_is_told_by_name_and_address() {
    for host in ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "LOCALHOST."] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["example.com", "localhost.example.com", "10.0.0.1", "[::2]"] {
        assert!(!is_loopback(host), "{host}");
    }
}

#[test]
fn plain_http_is_noticed_unless_it_is_allowed() {
    assert_eq!(good("base_url: http://crm.example.com\n").plain_host().as_deref(), Some("crm.example.com"));
    assert_eq!(good("base_url: http://crm.example.com\nplain_http: allow\n").plain_host(), None);
    assert_eq!(good("base_url: https://crm.example.com\n").plain_host(), None);
}

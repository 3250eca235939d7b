//! What a connection adds to a request: authentication, default headers, and how its host is reached.
use super::{revealed, set_query};
use crate::outside::parse_network;
use crate::ports::Link;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use stepwell_workflow::connection::{ApiKey, Auth, Connection, PlainHttp, filled};
use stepwell_workflow::machine::Failure;
use url::Url;

/// A connection with its secrets filled in. Only for sending.
pub(crate) struct Through {
    pub connection: Connection,
    auth: Option<Auth>,
    headers: Vec<(String, String, bool)>,
    client_key: Option<String>,
    networks: Vec<IpNet>,
}

impl Through {
    pub(crate) fn new(
        connection: &Connection,
        mut secret: impl FnMut(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut fill = |text: &str| {
            // It was checked when it was stored.
            let text = filled(text).map_err(|error| Failure::engine("invalid_request", error.to_string()))?;
            Ok::<_, Failure>((text.reveal(&mut secret).map_err(revealed)?, !text.secrets.is_empty()))
        };
        let auth = match &connection.auth {
            None => None,
            Some(Auth::Bearer(token)) => Some(Auth::Bearer(fill(token)?.0)),
            Some(Auth::Basic { username, password }) => {
                Some(Auth::Basic { username: fill(username)?.0, password: fill(password)?.0 })
            }
            Some(Auth::ApiKey(key)) => {
                Some(Auth::ApiKey(ApiKey { value: fill(&key.value)?.0, ..key.clone() }))
            }
        };
        let mut headers = Vec::new();
        for (name, value) in &connection.headers {
            let (value, is_secret) = fill(value)?;
            headers.push((name.clone(), value, is_secret));
        }
        let key = connection.tls.as_ref().and_then(|tls| tls.client_key.as_ref());
        let client_key = key.map(|key| fill(key)).transpose()?.map(|(key, _)| key);
        let networks = connection.allow_private_hosts.iter().map(|text| parse_network(text));
        // None at all would mean all of them.
        let networks = networks.collect::<Result<_, _>>();
        let networks = networks.map_err(|error| Failure::engine("invalid_request", error.to_string()))?;
        Ok(Self { connection: connection.clone(), auth, headers, client_key, networks })
    }

    /// Puts it into a request; what the step itself says counts.
    pub(super) fn put_into(
        self,
        url: &mut Url,
        headers: &mut Vec<(String, String)>,
        secret_headers: &mut Vec<String>,
    ) -> Link {
        let mut add = |name: &str, value: String, is_secret: bool| {
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return;
            }
            if is_secret {
                secret_headers.push(name.to_owned());
            }
            headers.push((name.to_owned(), value));
        };
        match self.auth {
            Some(Auth::Bearer(token)) => add("authorization", format!("Bearer {token}"), true),
            Some(Auth::Basic { username, password }) => {
                let login = STANDARD.encode(format!("{username}:{password}"));
                add("authorization", format!("Basic {login}"), true);
            }
            Some(Auth::ApiKey(ApiKey { header: Some(name), value, .. })) => add(&name, value, true),
            Some(Auth::ApiKey(ApiKey { query: Some(name), value, .. })) => {
                set_query(url, &name, &value);
            }
            Some(Auth::ApiKey(_)) | None => {}
        }
        for (name, value, is_secret) in self.headers {
            add(&name, value, is_secret);
        }
        let tls = self.connection.tls.unwrap_or_default();
        Link {
            ca: tls.ca,
            identity: tls.client_certificate.zip(self.client_key),
            private_networks: self.networks,
            plain_http: self.connection.plain_http == PlainHttp::Allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::http::request;
    use stepwell_workflow::expr::Text;
    use stepwell_workflow::machine::HttpCall;

    fn sent(connection: &str, headers: &[(&str, &str)]) -> crate::ports::HttpRequest {
        let (connection, problems) = stepwell_workflow::connection::read(connection, "crm");
        assert!(problems.is_empty(), "{problems:#?}");
        let secret = |name: &str| (name != "GONE").then(|| format!("<{name}>"));
        let through = Through::new(&connection.unwrap(), secret).unwrap();
        let headers: serde_json::Value = (headers.iter())
            .map(|(name, value)| ((*name).to_owned(), serde_json::json!({ "text": value })))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let call: HttpCall = serde_json::from_value(serde_json::json!({
            "connection": "crm", "method": "GET", "url": Text::from("/people?x=1".to_owned()), "headers": headers,
            "query": [], "body": null, "response": {}, "max_bytes": 10, "idempotency_key": "k",
        }))
        .unwrap();
        request(&call, Some(through), None, secret).unwrap()
    }

    fn header<'r>(request: &'r crate::ports::HttpRequest, name: &str) -> Option<&'r str> {
        let mut found = request.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    #[test]
    fn each_authentication_goes_where_it_belongs() {
        let base = "base_url: https://api.example.com/v1\n";
        let bearer = sent(&format!("{base}auth: {{ bearer: '{{{{ secrets.K }}}}' }}\n"), &[]);
        assert_eq!(bearer.url, "https://api.example.com/v1/people?x=1");
        assert_eq!(header(&bearer, "authorization"), Some("Bearer <K>"));
        assert_eq!(bearer.secret_headers, ["authorization"]);
        let basic = "auth: { basic: { username: flow, password: '{{ secrets.P }}' } }\n";
        assert_eq!(
            header(&sent(&format!("{base}{basic}"), &[]), "authorization"),
            Some("Basic Zmxvdzo8UD4=")
        );
        let key = "auth: { api_key: { header: X-Key, value: '{{ secrets.K }}' } }\n";
        assert_eq!(header(&sent(&format!("{base}{key}"), &[]), "x-key"), Some("<K>"));
        let query = "auth: { api_key: { query: key, value: '{{ secrets.K }}' } }\n";
        let query = sent(&format!("{base}{query}"), &[]);
        assert_eq!(query.url, "https://api.example.com/v1/people?x=1&key=%3CK%3E");
    }

    #[test]
    fn what_the_step_says_counts_and_defaults_are_added() {
        let connection =
            "base_url: https://api.example.com\nheaders: { Accept: text/csv, X-T: '{{ secrets.T }}' }\n";
        let request = sent(connection, &[("accept", "application/json")]);
        assert_eq!(header(&request, "accept"), Some("application/json"));
        assert_eq!(header(&request, "x-t"), Some("<T>"));
        assert_eq!(request.secret_headers, ["X-T"]);
    }
}

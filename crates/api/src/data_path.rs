use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, schema};

/// How a node's speaker knows that the node forwards what comes to Services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataPathSpec {
    /// Where each node says so, by http: kube-proxy does. A node announces nothing by layer 2 before this was well
    /// once since it was booted, and stops when it has answered 503 for 30 seconds, while another node can take over.
    /// Where nothing answers it decides nothing. Empty: nothing is asked.
    #[schemars(schema_with = "schema::healthz")]
    pub healthz: String,
}

/// Where a node says whether it forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPath {
    /// An http URL; `None`: nothing is asked.
    pub healthz: Option<Uri>,
}

impl Default for DataPathSpec {
    fn default() -> Self {
        Self { healthz: "http://127.0.0.1:10256/healthz".into() }
    }
}

/// The same as of an empty spec.
impl Default for DataPath {
    fn default() -> Self {
        Self { healthz: Some(Uri::from_static("http://127.0.0.1:10256/healthz")) }
    }
}

impl DataPathSpec {
    /// What it says, as the field of this path.
    ///
    /// # Errors
    /// What is no http URL with a host.
    pub(crate) fn parse(&self, field: &str) -> Result<DataPath, Invalid> {
        let Self { healthz } = self;
        if healthz.is_empty() {
            return Ok(DataPath { healthz: None });
        }
        let is_http = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some();
        match healthz.parse::<Uri>().ok().filter(is_http) {
            Some(uri) => Ok(DataPath { healthz: Some(uri) }),
            None => {
                let why = "is no URL such as http://127.0.0.1:10256/healthz";
                Err(Invalid::new(format!("{field}.healthz"), why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_with_a_host_or_nothing_is_asked() {
        assert_eq!(DataPathSpec::default().parse("d"), Ok(DataPath::default()));
        assert_eq!(serde_json::from_str::<DataPathSpec>("{}").unwrap(), DataPathSpec::default());
        let parse = |text: &str| DataPathSpec { healthz: text.into() }.parse("d");
        assert_eq!(parse(""), Ok(DataPath { healthz: None }));
        for good in ["http://[::1]:10256/healthz", "http://localhost/livez?verbose"] {
            assert_eq!(parse(good).unwrap().healthz.unwrap().to_string(), good);
        }
        for bad in ["https://127.0.0.1/healthz", "/healthz", "127.0.0.1:10256", "http://", "http:///healthz"]
        {
            assert_eq!(parse(bad).unwrap_err().field, "d.healthz", "{bad}");
        }
    }
}

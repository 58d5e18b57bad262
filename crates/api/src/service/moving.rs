use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use names::PoolName;
use serde::{Deserialize, Serialize};

use crate::timestamp;

/// A Service's way from old addresses to those that it was granted; it holds both until it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The old addresses.
    pub from: Vec<IpAddr>,
    /// The pool that they came from.
    pub pool: PoolName,
    /// When they are given up.
    pub until: Timestamp,
}

/// The annotation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    from: Vec<IpAddr>,
    from_pool: String,
    to: Vec<IpAddr>,
    until: Timestamp,
}

impl Moving {
    /// Reads the annotation. What is not of the form that is written, or is about addresses beside these, is none.
    pub(super) fn parse(text: &str, held: &[IpAddr]) -> Option<Self> {
        let Record { from, from_pool, to, until } = serde_json::from_str(text).ok()?;
        let is_held = |addresses: &[IpAddr]| {
            !addresses.is_empty() && addresses.iter().all(|address| held.contains(address))
        };
        (is_held(&from) && is_held(&to)).then(|| Self { from, pool: PoolName::new(from_pool), until })
    }

    /// The annotation for a way to these addresses, given what stands there: the time is in whole seconds, and one
    /// that differs by no more than clocks do stays as it is.
    pub(super) fn written(&self, to: &[IpAddr], before: Option<&Self>) -> String {
        let Self { from, pool, until } = self;
        let stands = before.filter(|before| before.from == *from && before.pool == *pool);
        let stands = stands.map(|before| before.until).filter(|before| timestamp::is_about(*before, *until));
        let record = Record {
            from: from.clone(),
            from_pool: pool.to_string(),
            to: to.to_vec(),
            until: stands.unwrap_or_else(|| timestamp::written(*until).0),
        };
        serde_json::to_string(&record).unwrap_or_default()
    }
}

use std::collections::BTreeMap;
use std::fmt::Debug;

use kube::api::ListParams;
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;

use crate::Key;

/// Objects that are asked for at a time.
const PAGE: u32 = 1000;

/// The version of an object; those of one kind grow with time. One that is no number is older than all.
pub fn version(resource_version: Option<&str>) -> u64 {
    resource_version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The version of every object of a kind, as it is now: what was written before this is asked is in it, whatever
/// watches have told yet.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn versions<K>(client: Client) -> Result<BTreeMap<Key, u64>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client);
    let mut versions = BTreeMap::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list_metadata(&page).await?;
        for object in list.items {
            versions.insert(Key::of(&object.metadata), version(object.metadata.resource_version.as_deref()));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(versions),
        }
    }
}

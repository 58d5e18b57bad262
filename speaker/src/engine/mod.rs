//! The shells of the protocol cores: they carry out what the world decided.

pub(crate) mod bgp;
mod ends;
mod interfaces;
pub(crate) mod l2;
pub(crate) mod listener;
pub(crate) mod networks;
pub(crate) mod peer;
pub(crate) mod port;
pub(crate) mod probing;
pub(crate) mod stations;
pub(crate) mod surroundings;
mod wire;

pub(crate) use interfaces::is_wanted_on;
pub(crate) use peer::PeerSettings;

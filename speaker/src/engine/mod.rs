//! The shells of the protocol cores: they carry out what the world decided.

pub(crate) mod bgp;
mod interfaces;
pub(crate) mod l2;
pub(crate) mod listener;
mod peer;
mod port;

pub(crate) use peer::PeerSettings;

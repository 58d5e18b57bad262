use crate::config::Role;
use crate::conn::{Conn, Phase};

/// At most one connection of each kind.
#[derive(Debug, Default)]
pub(super) struct Conns {
    pub(super) dialed: Option<Conn>,
    pub(super) accepted: Option<Conn>,
}

impl Conns {
    pub(super) const fn slot(&mut self, role: Role) -> &mut Option<Conn> {
        match role {
            Role::Dialed => &mut self.dialed,
            Role::Accepted => &mut self.accepted,
        }
    }

    pub(super) const fn get_mut(&mut self, role: Role) -> Option<&mut Conn> {
        self.slot(role).as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Role, &Conn)> {
        let dialed = self.dialed.iter().map(|conn| (Role::Dialed, conn));
        dialed.chain(self.accepted.iter().map(|conn| (Role::Accepted, conn)))
    }

    pub(super) fn established(&self) -> Option<(Role, &Conn)> {
        self.iter().find(|(_, conn)| matches!(conn.phase(), Phase::Established(_)))
    }
}

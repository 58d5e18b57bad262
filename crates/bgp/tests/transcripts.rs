//! Scenarios and the exact outputs they lead to, kept in `transcripts/`. `REWRITE=1` records them anew; the
//! difference is for review.

#[cfg(test)]
mod script;

#[cfg(test)]
mod tests {
    use bgp::wire::{Capabilities, ErrorCode, Notification, Open, RouteRefresh, Subtype, keepalive};
    use bgp::{Cease, Communication, Family, Role, Shutdown, State};

    use super::script::{Script, config, open};

    const ROUTER: [u8; 4] = [10, 0, 0, 2];

    #[test]
    fn a_session_comes_up_and_routes_come_and_go() {
        let mut script =
            Script::new("eBGP: up, announce, announce more, withdraw, shut down", config(65001, 65002, 90));
        script
            .announce(&["192.0.2.1/32", "192.0.2.2/32", "2001:db8:1::1/128"], None)
            .establish(&open(65002, 180, ROUTER))
            .complete()
            .announce(&["192.0.2.3/32"], None)
            .withdraw(&["192.0.2.1/32", "2001:db8:1::1/128"])
            .status()
            .wake()
            .stop(&Shutdown::Cease(Cease::AdministrativeShutdown(Communication::new("bye"))))
            .status()
            .check("announce_and_withdraw");
    }

    #[test]
    fn an_internal_peer_is_told_preferences() {
        let mut script =
            Script::new("iBGP: a preference, its change, and the usual one", config(65001, 65001, 90));
        script
            .establish(&open(65001, 90, ROUTER))
            .announce(&["192.0.2.1/32"], Some(200))
            .announce(&["192.0.2.1/32", "2001:db8:1::1/128"], None)
            .check("internal_peer");
    }

    #[test]
    fn silence_ends_a_session_and_the_next_one_is_told_everything() {
        let mut script =
            Script::new("hold time of 9 s, a peer that falls silent and comes back", config(65001, 65002, 9));
        script
            .announce(&["192.0.2.1/32"], None)
            .complete()
            .establish(&open(65002, 90, ROUTER))
            .wake_until(State::Idle)
            .status()
            .establish(&open(65002, 90, ROUTER))
            .status()
            .check("hold_expiry");
    }

    #[test]
    fn two_connections_become_one() {
        let mut lost = Script::new(
            "collision: the router has the higher identifier, its connection stays",
            config(65001, 65002, 90),
        );
        lost.dialed()
            .accepted()
            .hear(Role::Dialed, &open(65002, 90, ROUTER).emit())
            .hear(Role::Accepted, &open(65002, 90, ROUTER).emit())
            .hear(Role::Accepted, &keepalive())
            .status()
            .check("collision_lost");
        let mut won = Script::new(
            "collision: we have the higher identifier, our connection stays",
            config(65001, 65002, 90),
        );
        let lower = open(65002, 90, [9, 0, 0, 2]).emit();
        won.dialed()
            .accepted()
            .hear(Role::Accepted, &lower)
            .hear(Role::Dialed, &lower)
            .hear(Role::Dialed, &keepalive())
            .status()
            .check("collision_won");
        let mut established = Script::new(
            "collision: an Established session stays whatever the identifiers",
            config(65001, 65002, 90),
        );
        established
            .establish(&open(65002, 90, ROUTER))
            .accepted()
            .hear(Role::Accepted, &open(65002, 90, ROUTER).emit())
            .check("collision_established");
    }

    #[test]
    fn the_wrong_as_is_refused_again_and_again_but_ever_more_rarely() {
        let mut script = Script::new("the router is in another AS than configured", config(65001, 65002, 90));
        for _ in 0..4 {
            script.dialed().hear(Role::Dialed, &open(65009, 90, ROUTER).emit());
        }
        script.status().check("wrong_as");
    }

    #[test]
    fn a_notification_is_obeyed_in_every_state_and_never_answered() {
        let told = Notification::bare(ErrorCode::OUT_OF_RESOURCES).emit();
        let mut script =
            Script::new("NOTIFICATION in OpenSent, OpenConfirm and Established", config(65001, 65002, 90));
        script
            .dialed()
            .hear(Role::Dialed, &told)
            .dialed()
            .hear(Role::Dialed, &open(65002, 90, ROUTER).emit())
            .hear(Role::Dialed, &told)
            .establish(&open(65002, 90, ROUTER))
            .hear(Role::Dialed, &Notification::about(ErrorCode::ADMINISTRATIVE_RESET, b"\x05retry").emit())
            .status()
            .check("notification");
    }

    #[test]
    fn tcp_that_ends_is_followed_by_another_attempt() {
        let mut script =
            Script::new("TCP closes in OpenSent, OpenConfirm and Established", config(65001, 65002, 90));
        script
            .dialed()
            .closed(Role::Dialed)
            .dialed()
            .hear(Role::Dialed, &open(65002, 90, ROUTER).emit())
            .closed(Role::Dialed)
            .establish(&open(65002, 90, ROUTER))
            .closed(Role::Dialed)
            .status()
            .check("tcp_closes");
    }

    #[test]
    fn a_refresh_resends_its_family() {
        let refresh = |family| RouteRefresh { family, subtype: Subtype::Request }.emit();
        let mut script = Script::new("route refresh of each family", config(65001, 65002, 90));
        script
            .announce(&["192.0.2.1/32", "192.0.2.2/32", "2001:db8:1::1/128"], None)
            .complete()
            .establish(&open(65002, 90, ROUTER))
            .hear(Role::Dialed, &refresh(Family::Ipv4Unicast))
            .hear(Role::Dialed, &refresh(Family::Ipv6Unicast))
            .check("route_refresh");
    }

    #[test]
    fn an_old_peer_gets_two_octets_and_the_rest_beside_them() {
        let old = Open { my_as: 65002, capabilities: Capabilities::default(), ..open(65002, 90, ROUTER) };
        let mut script = Script::new(
            "a peer without capabilities; our AS needs four octets",
            config(4_200_000_001, 65002, 90),
        );
        script
            .announce(&["192.0.2.1/32", "2001:db8:1::1/128"], None)
            .complete()
            .establish(&old)
            .status()
            .check("two_octet_peer");
    }

    #[test]
    fn a_router_that_dials_is_welcome() {
        let mut script =
            Script::new("the router dials; a second time while Established", config(65001, 65002, 90));
        script
            .accepted()
            .hear(Role::Accepted, &open(65002, 0, ROUTER).emit())
            .hear(Role::Accepted, &keepalive())
            .accepted()
            .stop(&Shutdown::Silent)
            .accepted()
            .check("accepted");
    }
}

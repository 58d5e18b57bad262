use std::ops::RangeInclusive;
use std::time::Duration;

use announce::ControlPlane;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, duration, schema};

/// How addresses are answered for by ARP and NDP, and how speakers watch each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Layer2Spec {
    /// How speakers watch each other. A node that is silent for the interval times the multiplier counts as dead, if
    /// others say so too.
    pub heartbeat: HeartbeatSpec,
    /// How long others answer with a node's MAC while its speaker is away and the node is alive, before one of them
    /// takes its addresses over.
    #[schemars(schema_with = "schema::cover")]
    pub cover: String,
    /// How often each address is announced again though nothing changed; 0s for never.
    #[schemars(schema_with = "schema::refresh")]
    pub refresh: String,
    /// Whether addresses answer ICMP echo requests (ping).
    #[serde(rename = "icmpEcho")]
    pub icmp_echo: bool,
    /// Whether interfaces hear frames that are for other stations, as some Wi-Fi networks need it.
    pub promiscuous: bool,
    /// What the label node.kubernetes.io/exclude-from-external-load-balancers means on a control-plane node. Reserve:
    /// the node announces while no other node can. Exclude: it never does. It goes for BGP too.
    pub control_plane_nodes: ControlPlaneNodes,
}

/// How speakers watch each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatSpec {
    /// From one heartbeat to the next, 10ms to 10s.
    #[schemars(schema_with = "schema::heartbeat_interval")]
    pub interval: String,
    /// So many have to be missing, 2 to 10.
    #[schemars(schema_with = "schema::heartbeat_multiplier")]
    pub multiplier: u32,
}

/// What the exclude label means on a control-plane node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ControlPlaneNodes {
    /// It announces while no other node can.
    #[default]
    Reserve,
    /// It never announces.
    Exclude,
}

/// How addresses are answered for by ARP and NDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer2 {
    /// How speakers watch each other.
    pub heartbeat: Heartbeat,
    /// How long others answer for a node whose speaker is away.
    pub cover: Duration,
    /// How often each address is announced again; `None`: never.
    pub refresh: Option<Duration>,
    /// Whether addresses answer echo requests.
    pub icmp_echo: bool,
    /// Whether interfaces hear frames for other stations.
    pub promiscuous: bool,
    /// What the exclude label means on a control-plane node.
    pub control_plane: ControlPlane,
}

/// How speakers watch each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// From one to the next.
    pub interval: Duration,
    /// So many have to be missing.
    pub multiplier: u32,
}

const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
const MULTIPLIERS: RangeInclusive<u32> = 2..=10;
const LONGEST_COVER: Duration = Duration::from_mins(10);
const REFRESHES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

impl Default for Layer2Spec {
    fn default() -> Self {
        Self {
            heartbeat: HeartbeatSpec::default(),
            cover: "10s".into(),
            refresh: "60s".into(),
            icmp_echo: false,
            promiscuous: false,
            control_plane_nodes: ControlPlaneNodes::Reserve,
        }
    }
}

impl Default for HeartbeatSpec {
    fn default() -> Self {
        Self { interval: "40ms".into(), multiplier: 3 }
    }
}

/// The same as of an empty spec.
impl Default for Layer2 {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat { interval: Duration::from_millis(40), multiplier: 3 },
            cover: Duration::from_secs(10),
            refresh: Some(Duration::from_secs(60)),
            icmp_echo: false,
            promiscuous: false,
            control_plane: ControlPlane::Reserve,
        }
    }
}

impl Layer2Spec {
    /// What it says, as the field of this path.
    ///
    /// # Errors
    /// A duration that is none, or one or a number that is out of bounds.
    pub(crate) fn parse(&self, field: &str) -> Result<Layer2, Invalid> {
        let Self { heartbeat, cover, refresh, icmp_echo, promiscuous, control_plane_nodes } = self;
        let refresh = duration::parse(&format!("{field}.refresh"), refresh)
            .and_then(|refresh| or_zero(&format!("{field}.refresh"), refresh))?;
        Ok(Layer2 {
            heartbeat: heartbeat.parse(&format!("{field}.heartbeat"))?,
            cover: duration::parse_within(&format!("{field}.cover"), cover, LONGEST_COVER)?,
            refresh,
            icmp_echo: *icmp_echo,
            promiscuous: *promiscuous,
            control_plane: match control_plane_nodes {
                ControlPlaneNodes::Reserve => ControlPlane::Reserve,
                ControlPlaneNodes::Exclude => ControlPlane::Exclude,
            },
        })
    }
}

impl HeartbeatSpec {
    fn parse(&self, field: &str) -> Result<Heartbeat, Invalid> {
        let Self { interval, multiplier } = self;
        let path = format!("{field}.interval");
        let parsed = duration::parse(&path, interval)?;
        if !INTERVALS.contains(&parsed) {
            return Err(Invalid::new(path, format!("{interval} is not within 10ms and 10s")));
        }
        if !MULTIPLIERS.contains(multiplier) {
            let why = format!("{multiplier} is not within {} and {}", MULTIPLIERS.start(), MULTIPLIERS.end());
            return Err(Invalid::new(format!("{field}.multiplier"), why));
        }
        Ok(Heartbeat { interval: parsed, multiplier: *multiplier })
    }
}

fn or_zero(field: &str, refresh: Duration) -> Result<Option<Duration>, Invalid> {
    if refresh.is_zero() {
        Ok(None)
    } else if REFRESHES.contains(&refresh) {
        Ok(Some(refresh))
    } else {
        Err(Invalid::new(field, "is neither 0s nor within 1s and 1h"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_without_a_configuration_is_what_an_empty_one_says() {
        assert_eq!(Layer2Spec::default().parse("spec.layer2"), Ok(Layer2::default()));
        let empty: Layer2Spec = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Layer2Spec::default());
    }

    #[test]
    fn a_refresh_is_off_or_within_bounds() {
        let refresh = |text: &str| Layer2Spec { refresh: text.into(), ..Layer2Spec::default() }.parse("l");
        assert_eq!(refresh("0s").unwrap().refresh, None);
        assert_eq!(refresh("1h").unwrap().refresh, Some(Duration::from_hours(1)));
        for text in ["999ms", "61m", "often"] {
            assert_eq!(refresh(text).unwrap_err().field, "l.refresh", "{text}");
        }
    }
}

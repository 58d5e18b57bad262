use std::time::Duration;

use ipam::Moves;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DataPath, DataPathSpec, Invalid, Layer2, Layer2Spec, duration, schema};

/// What goes for the whole cluster.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "FerriteConfig",
    plural = "ferriteconfigs",
    category = "ferritelb",
    status = "FerriteConfigStatus",
    derive = "PartialEq",
    doc = "FerriteConfig is what goes for the whole cluster. There is one, named default; without it the defaults go.",
    validation = ("self.metadata.name == 'default'", "there is one FerriteConfig, and its name is default"),
    printcolumn(name = "Overlap", type_ = "string", json_path = ".spec.moves.overlap"),
    printcolumn(name = "Moves", type_ = "integer", json_path = ".spec.moves.maxConcurrent"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct FerriteConfigSpec {
    /// How Services are moved from addresses that their pool takes away.
    #[serde(default)]
    pub moves: MovesSpec,
    /// How addresses are answered for by ARP and NDP, and how speakers watch each other.
    #[serde(default)]
    pub layer2: Layer2Spec,
    /// How a node's speaker knows that the node forwards what comes to Services.
    #[serde(default)]
    pub data_path: DataPathSpec,
}

/// How Services are moved from addresses that their pool takes away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovesSpec {
    /// How long the old and the new address are both announced.
    #[serde(default = "overlap")]
    #[schemars(schema_with = "schema::overlap")]
    pub overlap: String,
    /// How many Services are moved at a time.
    #[serde(default = "max_concurrent")]
    #[schemars(schema_with = "schema::max_concurrent")]
    pub max_concurrent: u32,
}

fn overlap() -> String {
    "30s".into()
}

const fn max_concurrent() -> u32 {
    10
}

impl Default for MovesSpec {
    fn default() -> Self {
        Self { overlap: overlap(), max_concurrent: max_concurrent() }
    }
}

/// What became of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FerriteConfigStatus {
    /// Ready: whether the configuration is in use as it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What goes for the whole cluster; the default is what goes without a FerriteConfig.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// How Services are moved.
    pub moves: Moves,
    /// How addresses are answered for.
    pub layer2: Layer2,
    /// How a node's speaker knows that the node forwards.
    pub data_path: DataPath,
}

/// The name of the one object of its kind.
const NAME: &str = "default";
const LONGEST_OVERLAP: Duration = Duration::from_hours(1);
const MOST_CONCURRENT: u32 = 1000;

impl FerriteConfig {
    /// What it says.
    ///
    /// # Errors
    /// Another name than `default`, a duration that is none or too long, a number out of bounds.
    pub fn parse(&self) -> Result<Settings, Invalid> {
        let FerriteConfigSpec { moves, layer2, data_path } = &self.spec;
        if self.name_any() != NAME {
            let why = format!("there is one FerriteConfig, and its name is {NAME}");
            return Err(Invalid::new("metadata.name", why));
        }
        Ok(Settings {
            moves: moves.parse("spec.moves")?,
            layer2: layer2.parse("spec.layer2")?,
            data_path: data_path.parse("spec.dataPath")?,
        })
    }
}

impl MovesSpec {
    fn parse(&self, field: &str) -> Result<Moves, Invalid> {
        let Self { overlap, max_concurrent } = self;
        if !(1..=MOST_CONCURRENT).contains(max_concurrent) {
            let why = format!("{max_concurrent} is not within 1 and {MOST_CONCURRENT}");
            return Err(Invalid::new(format!("{field}.maxConcurrent"), why));
        }
        Ok(Moves {
            overlap: duration::parse_within(&format!("{field}.overlap"), overlap, LONGEST_OVERLAP)?,
            concurrent: usize::try_from(*max_concurrent).unwrap_or(usize::MAX),
        })
    }
}

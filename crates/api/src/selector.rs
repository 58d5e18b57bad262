use ipam::Audience;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use names::{Operator, Requirement, Selector};

use crate::Invalid;

/// Label selectors of a list field, each blamed by its index.
///
/// # Errors
/// An operator that Kubernetes does not have, or values that do not fit the operator.
pub(crate) fn parse_all(field: &str, selectors: &[LabelSelector]) -> Result<Vec<Selector>, Invalid> {
    let numbered = selectors.iter().enumerate();
    numbered.map(|(index, selector)| parse(&format!("{field}[{index}]"), selector)).collect()
}

/// Certain Services, by three fields of an object that is itself the field of that name.
///
/// # Errors
/// As [`parse_all`].
pub(crate) fn audience(
    field: &str,
    namespaces: &[String],
    namespace_selectors: &[LabelSelector],
    service_selectors: &[LabelSelector],
) -> Result<Audience, Invalid> {
    Ok(Audience {
        namespaces: namespaces.iter().cloned().collect(),
        namespace_selectors: parse_all(&format!("{field}.namespaceSelectors"), namespace_selectors)?,
        service_selectors: parse_all(&format!("{field}.serviceSelectors"), service_selectors)?,
    })
}

/// One label selector.
///
/// # Errors
/// As [`parse_all`].
pub(crate) fn parse(field: &str, selector: &LabelSelector) -> Result<Selector, Invalid> {
    let LabelSelector { match_expressions, match_labels } = selector;
    let labels = match_labels.iter().flatten().map(|(key, value)| {
        Ok(Requirement { key: key.clone(), operator: Operator::In([value.clone()].into()) })
    });
    let expressions = match_expressions.iter().flatten().enumerate();
    let expressions =
        expressions.map(|(index, one)| requirement(&format!("{field}.matchExpressions[{index}]"), one));
    Ok(Selector::new(labels.chain(expressions).collect::<Result<Vec<_>, _>>()?))
}

fn requirement(field: &str, requirement: &LabelSelectorRequirement) -> Result<Requirement, Invalid> {
    let LabelSelectorRequirement { key, operator, values } = requirement;
    if key.is_empty() {
        return Err(Invalid::new(format!("{field}.key"), "must not be empty"));
    }
    let values = values.iter().flatten().cloned().collect::<std::collections::BTreeSet<_>>();
    let operator = match (operator.as_str(), values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        ("In" | "NotIn", true) => {
            return Err(Invalid::new(
                format!("{field}.values"),
                format!("operator {operator} needs a value"),
            ));
        }
        ("Exists" | "DoesNotExist", false) => {
            return Err(Invalid::new(
                format!("{field}.values"),
                format!("operator {operator} takes no value"),
            ));
        }
        _ => {
            return Err(Invalid::new(
                format!("{field}.operator"),
                format!("{operator:?} is not one of In, NotIn, Exists, DoesNotExist"),
            ));
        }
    };
    Ok(Requirement { key: key.clone(), operator })
}

#[cfg(test)]
mod tests {
    use names::Labels;

    use super::*;

    fn selector(json: serde_json::Value) -> Vec<LabelSelector> {
        vec![serde_json::from_value(json).unwrap()]
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let given = selector(serde_json::json!({
            "matchLabels": {"zone": "a"},
            "matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["r1"]}],
        }));
        let parsed = parse_all("spec.nodeSelectors", &given).unwrap();
        assert!(Selector::any_matches(&parsed, &labels(&[("zone", "a"), ("rack", "r2")])));
        assert!(!Selector::any_matches(&parsed, &labels(&[("zone", "a"), ("rack", "r1")])));
        assert!(!Selector::any_matches(&parsed, &labels(&[("rack", "r2")])));
    }

    #[test]
    fn what_kubernetes_would_refuse_is_blamed_with_its_path() {
        let cases = [
            (serde_json::json!({"key": "a", "operator": "Like"}), "spec.n[0].matchExpressions[0].operator"),
            (serde_json::json!({"key": "a", "operator": "In"}), "spec.n[0].matchExpressions[0].values"),
            (
                serde_json::json!({"key": "a", "operator": "Exists", "values": ["b"]}),
                "spec.n[0].matchExpressions[0].values",
            ),
            (serde_json::json!({"key": "", "operator": "Exists"}), "spec.n[0].matchExpressions[0].key"),
        ];
        for (expression, field) in cases {
            let given = selector(serde_json::json!({ "matchExpressions": [expression] }));
            assert_eq!(parse_all("spec.n", &given).unwrap_err().field, field);
        }
    }
}

//! Which answers tell what other operations ask for.

use serde_json::{Value, json};

use super::bodies::operations;

/// Of an operation with a certain status: where a parameter is found in the answer, and who takes it.
struct Link {
    from: (&'static str, &'static str),
    parameters: &'static [(&'static str, &'static str)],
    to: &'static [&'static str],
}

const OF_A_MODEL: &[&str] = &[
    "get_model",
    "replace_model",
    "add_position",
    "replace_position",
    "remove_position",
    "add_portfolios",
    "remove_portfolios",
    "rebalance_model",
];
const OF_A_REBALANCE: &[&str] = &["get_rebalance", "get_rebalance_portfolios"];

const LINKS: &[Link] = &[
    Link {
        from: ("create_model", "201"),
        parameters: &[("model_id", "$response.body#/model_id")],
        to: OF_A_MODEL,
    },
    Link {
        from: ("create_model", "201"),
        parameters: &[("portfolio_id", "$response.body#/portfolios/0")],
        to: &["rebalance_portfolio"],
    },
    Link {
        from: ("get_model", "200"),
        parameters: &[("model_id", "$response.body#/model_id"), ("version", "$response.body#/version")],
        to: &["delete_model"],
    },
    Link {
        from: ("rebalance_model", "200"),
        parameters: &[("rebalance_id", "$response.body#/0/rebalance_id")],
        to: OF_A_REBALANCE,
    },
    Link {
        from: ("rebalance_model", "200"),
        parameters: &[
            ("rebalance_id", "$response.body#/0/rebalance_id"),
            ("portfolio_id", "$response.body#/0/portfolio_id"),
        ],
        to: &["get_rebalance_positions"],
    },
    Link {
        from: ("rebalance_portfolio", "200"),
        parameters: &[("rebalance_id", "$response.body#/rebalance_id")],
        to: OF_A_REBALANCE,
    },
    Link {
        from: ("get_rebalance", "200"),
        parameters: &[
            ("rebalance_id", "$response.body#/rebalance_id"),
            ("version", "$response.body#/version"),
        ],
        to: &["delete_rebalance"],
    },
];

pub(super) fn describe(document: &mut Value) {
    for operation in operations(document) {
        for Link { from: (id, status), parameters, to } in LINKS {
            if operation["operationId"] == *id {
                let parameters: Value = parameters.iter().map(|(name, place)| (*name, *place)).collect();
                for to in *to {
                    let link = json!({ "operationId": to, "parameters": parameters });
                    operation["responses"][status]["links"][to] = link;
                }
            }
        }
    }
}

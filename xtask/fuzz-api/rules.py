"""What the service refuses although its description, being JSON Schema, cannot say so; and a world to test in.

A request that is as described must be accepted, unless it breaks one of these rules, and then the reply must
name the rule. Whatever else is refused is a fault of the service or of its description.
"""

import os
import re

import requests
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Problems of requests whose parts are sound: what they ask for together, or of what is stored, is not.
BROKEN_RULES = {
    "amounts-out-of-range",  # the sum of what is held
    "empty-model",
    "idempotency-key-reused",  # the same key with another body
    "invalid-portfolios",  # the last portfolio is taken from a model
    "invalid-positions",  # more than 0.95 in all positions together
    "market-value-not-positive",
    "no-feasible-solution",
    "security-not-priced",
    "trading-rule-not-supported",
}

# Of a body: rules between its members, and of the digits of a number, which JSON Schema does not see.
BROKEN_RULES_OF_A_BODY = [
    re.compile(pattern)
    for pattern in (
        r"^low drift \S+ exceeds high drift \S+$",
        r"^security \S+ appears more than once$",  # under two spellings
        r"^portfolio \S+ appears more than once$",
        r"^the targets add up to \S+, more than 0\.95$",
        r"^\d+ positions with a target above zero, more than 100$",
        r"^has more digits than can be kept exactly$",
        # A multiple to a validator that reckons in binary, such as 0.6450000000000001.
        r"^target \d+\.\d{4,} is not a multiple of 0\.005$",
        r"^\d+\.\d{9,} has more than \d decimals$",
    )
]


def breaks_a_rule(response):
    if response.status_code != 422:
        return False
    problem = response.json()
    if problem["code"] == "invalid-body":
        details = [error["detail"] for error in problem["errors"]]
        return all(any(rule.search(detail) for rule in BROKEN_RULES_OF_A_BODY) for detail in details)
    return problem["code"] in BROKEN_RULES


def follows_a_null(case):
    """The id that a dry run answers is null: a link that takes it for one leads nowhere."""
    return not {None, "null", "None"}.isdisjoint((case.path_parameters or {}).values())


@schemathesis.check
def refused_for_a_rule_alone(ctx, response, case):
    if breaks_a_rule(response) or follows_a_null(case):
        return None
    return positive_data_acceptance(ctx, response, case)


def seed(service, accounting):
    """A model with a funded portfolio and an empty one, and a rebalance of both."""
    description = requests.get(f"{service}/openapi.json", timeout=10).json()
    model = description["paths"]["/api/v1/models"]["post"]["requestBody"]["content"]["application/json"]["example"]
    portfolio = model["portfolios"][0]
    deposit = {
        "portfolioId": portfolio,
        "sourceId": "seed",
        "transactionType": "DEP",
        "quantity": "100000",
        "price": "1",
        "transactionDate": "20240102",
    }
    requests.post(f"{accounting}/api/v1/transactions", json=[deposit], timeout=10).raise_for_status()
    model = {**model, "name": "Seed", "portfolios": [portfolio, "unfunded"]}
    created = requests.post(f"{service}/api/v1/models", json=model, timeout=10)
    created.raise_for_status()
    rebalanced = requests.post(f"{service}/api/v1/model/{created.json()['model_id']}/rebalance", timeout=30)
    rebalanced.raise_for_status()


seed(os.environ["SERVICE_URL"], os.environ["PORTFOLIO_ACCOUNTING_SERVICE_URL"])

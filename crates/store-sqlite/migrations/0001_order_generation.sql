-- Instants are milliseconds since 1970 in UTC. Decimals are text, because REAL would round them.

CREATE TABLE models (
    id                  TEXT    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL UNIQUE,
    positions           TEXT    NOT NULL,
    last_rebalance_date INTEGER,
    version             INTEGER NOT NULL,
    created_at          INTEGER NOT NULL
) STRICT;

CREATE TABLE model_portfolios (
    model_id     TEXT    NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    ordinal      INTEGER NOT NULL,
    portfolio_id TEXT    NOT NULL,
    PRIMARY KEY (model_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE INDEX model_portfolios_by_portfolio ON model_portfolios (portfolio_id);

-- No reference to models: a rebalance outlives its model.
CREATE TABLE rebalances (
    id                   TEXT    NOT NULL PRIMARY KEY,
    model_id             TEXT    NOT NULL,
    model_name           TEXT    NOT NULL,
    rebalance_date       INTEGER NOT NULL,
    number_of_portfolios INTEGER NOT NULL,
    failed               TEXT    NOT NULL,
    version              INTEGER NOT NULL,
    created_at           INTEGER NOT NULL
) STRICT;

CREATE INDEX rebalances_by_creation ON rebalances (created_at, id);
CREATE INDEX rebalances_by_date ON rebalances (rebalance_date, created_at, id);

CREATE TABLE rebalance_portfolios (
    rebalance_id TEXT    NOT NULL REFERENCES rebalances (id) ON DELETE CASCADE,
    ordinal      INTEGER NOT NULL,
    portfolio_id TEXT    NOT NULL,
    market_value TEXT    NOT NULL,
    cash_before  TEXT    NOT NULL,
    cash_after   TEXT    NOT NULL,
    optimality   TEXT    NOT NULL,
    positions    TEXT    NOT NULL,
    PRIMARY KEY (rebalance_id, ordinal)
) STRICT;

CREATE INDEX rebalance_portfolios_by_portfolio ON rebalance_portfolios (portfolio_id, rebalance_id);

-- NULL where there are none.
ALTER TABLE models ADD COLUMN rules TEXT;

-- Those that the rebalance was made under.
ALTER TABLE rebalances ADD COLUMN rules TEXT;

ALTER TABLE rebalance_portfolios ADD COLUMN trading_costs TEXT NOT NULL DEFAULT '0';

-- RUNNING, COMPLETED, FAILED or CANCELLED. Portfolios are read only where it is COMPLETED.
ALTER TABLE rebalances ADD COLUMN status TEXT NOT NULL DEFAULT 'COMPLETED';

-- NULL where it is COMPLETED: there they can be counted.
ALTER TABLE rebalances ADD COLUMN portfolios_total INTEGER;
ALTER TABLE rebalances ADD COLUMN portfolios_failed INTEGER;

-- NULL but where it is FAILED.
ALTER TABLE rebalances ADD COLUMN reason TEXT;

-- NULL but where it is RUNNING.
ALTER TABLE rebalances ADD COLUMN holder TEXT;
ALTER TABLE rebalances ADD COLUMN lease_until INTEGER;

CREATE INDEX rebalances_by_lease ON rebalances (lease_until) WHERE status = 'RUNNING';

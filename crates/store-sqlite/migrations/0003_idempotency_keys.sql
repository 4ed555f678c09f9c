-- Requests that may be sent again. Digests and bodies are bytes; the instants are of this machine's clock.
CREATE TABLE idempotency_keys (
    -- The scope, a blank, and the caller's own text.
    key         TEXT    NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    -- The id of what the request makes, and that which whoever has the key proposed.
    operation   BLOB    NOT NULL,
    holder      BLOB    NOT NULL,
    lease_until INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- NULL until it is answered.
    status      INTEGER,
    headers     TEXT,
    -- NULL, too, where it is too large.
    body        BLOB
) STRICT;

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

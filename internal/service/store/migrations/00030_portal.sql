-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Who is signed in at the portal. The cookie holds a random token, this its
-- SHA-256: who reads the table can sign in as nobody.
CREATE TABLE portal_sessions (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    -- What the owner's list of sessions names it by; also the flow of its codes.
    id         TEXT   NOT NULL,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    -- 'code': the password was right and a second factor is outstanding.
    stage      TEXT   NOT NULL CHECK (stage IN ('code', 'in')),
    -- The browser's name for itself, cut short, and its network.
    client     TEXT   NOT NULL,
    address    TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX portal_sessions_id ON portal_sessions (id);
CREATE INDEX portal_sessions_account ON portal_sessions (account_id);
CREATE INDEX portal_sessions_expires ON portal_sessions (expires_at);

-- +goose Down
DROP TABLE portal_sessions;

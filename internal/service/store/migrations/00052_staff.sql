-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- The members of staff. A row is never removed: the audit trail names them.
CREATE TABLE staff (
    id            TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    role          TEXT   NOT NULL CHECK (role IN ('agent', 'auditor')),
    password_hash TEXT   NOT NULL,
    -- The secret of the second factor, sealed under the service secret, and the
    -- newest time step whose code was used: none is good twice.
    totp_secret   TEXT   NOT NULL,
    totp_step     BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL,
    -- 0 is not disabled.
    disabled_at   BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX staff_name ON staff (name);

-- Who is signed in at the staff pages: as portal_sessions, and apart from them.
CREATE TABLE staff_sessions (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    staff_id   TEXT   NOT NULL REFERENCES staff (id),
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX staff_sessions_staff ON staff_sessions (staff_id);
CREATE INDEX staff_sessions_expires ON staff_sessions (expires_at);

-- +goose Down
DROP TABLE staff_sessions;
DROP TABLE staff;

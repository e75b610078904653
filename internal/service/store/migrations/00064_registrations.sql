-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Conversations of people who register, until they have an account. One for an address that
-- somebody has looks the same; no code fits it.
CREATE TABLE registrations (
    id           TEXT   NOT NULL PRIMARY KEY,
    -- What was typed, as an identifier.
    kind         TEXT   NOT NULL CHECK (kind IN ('email', 'phone')),
    address      TEXT   NOT NULL,
    -- A keyed hash; empty once it was used or guessed at too often.
    code_hash    TEXT   NOT NULL,
    tries        BIGINT NOT NULL DEFAULT 0,
    sends        BIGINT NOT NULL DEFAULT 1,
    sent_at      BIGINT NOT NULL,
    code_expires BIGINT NOT NULL,
    -- The code was right.
    proven       BIGINT NOT NULL DEFAULT 0,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX registrations_expires ON registrations (expires_at);

-- +goose Down
DROP TABLE registrations;

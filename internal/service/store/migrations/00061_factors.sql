-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Second factors that people have set up for themselves. owner is an account ID.
CREATE TABLE factors (
    id         TEXT   NOT NULL PRIMARY KEY,
    owner      TEXT   NOT NULL,
    kind       TEXT   NOT NULL CHECK (kind IN ('app', 'passkey')),
    -- What the owner calls it.
    name       TEXT   NOT NULL,
    -- An app's key or a passkey's public record, sealed under the service secret.
    sealed     TEXT   NOT NULL,
    -- A passkey's ID; empty for an app.
    credential TEXT   NOT NULL DEFAULT '',
    -- The step of the last code taken from an app: none serves twice.
    last_step  BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    -- 0 is never.
    used_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX factors_owner ON factors (owner, created_at);
CREATE UNIQUE INDEX factors_credential ON factors (credential) WHERE credential <> '';

-- Codes for the day on which no factor is at hand: keyed hashes, each deleted when used.
CREATE TABLE backup_codes (
    owner     TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    PRIMARY KEY (owner, code_hash)
);

-- What passkeys have signed, until it would be too old anyway.
CREATE TABLE factor_challenges (
    challenge  TEXT   NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX factor_challenges_expires ON factor_challenges (expires_at);

-- +goose Down
DROP TABLE factor_challenges;
DROP TABLE backup_codes;
DROP TABLE factors;

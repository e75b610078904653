-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Every account ID that was ever given, so that none is given twice.
CREATE TABLE account_ids (
    id         TEXT   NOT NULL PRIMARY KEY,
    issued_at  BIGINT NOT NULL,
    retired_at BIGINT NOT NULL DEFAULT 0
);

-- A deleted account keeps its row and its password hash for some time, so that
-- its owner, and nobody else, can be told that it was deleted.
CREATE TABLE accounts (
    id            TEXT   NOT NULL PRIMARY KEY REFERENCES account_ids (id),
    password_hash TEXT   NOT NULL,
    second_factor BIGINT NOT NULL DEFAULT 0 CHECK (second_factor IN (0, 1)),
    blocked       BIGINT NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    -- 0 is without end.
    blocked_until BIGINT NOT NULL DEFAULT 0,
    created_at    BIGINT NOT NULL,
    -- 0 is not deleted.
    deleted_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX accounts_deleted ON accounts (deleted_at);

-- What a person may type to name an account. match_key is the normalised form;
-- of a deleted account a keyed hash of it, with an empty address.
CREATE TABLE identifiers (
    match_key   TEXT   NOT NULL PRIMARY KEY,
    account_id  TEXT   NOT NULL REFERENCES accounts (id),
    kind        TEXT   NOT NULL CHECK (kind IN ('account-id', 'email', 'phone')),
    -- Where mail or SMS goes: as the owner wrote it, or in E.164.
    address     TEXT   NOT NULL,
    -- The order in which the owner gave them.
    position    BIGINT NOT NULL,
    verified_at BIGINT NOT NULL
);
CREATE INDEX identifiers_account ON identifiers (account_id, position);

-- Wrong guesses by whom they count against. throttle_key is a keyed hash.
CREATE TABLE throttles (
    throttle_key TEXT   NOT NULL PRIMARY KEY,
    failures     BIGINT NOT NULL,
    -- From when on failures are forgotten, one each period.
    since        BIGINT NOT NULL,
    -- No attempt is taken before.
    until        BIGINT NOT NULL,
    -- When nothing of the row counts any more.
    stale_at     BIGINT NOT NULL
);
CREATE INDEX throttles_stale ON throttles (stale_at);

-- Codes sent by mail or SMS, one for each flow and purpose.
CREATE TABLE codes (
    flow_id    TEXT   NOT NULL,
    purpose    TEXT   NOT NULL,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    -- A keyed hash; empty once it was used, or guessed at too often.
    code_hash  TEXT   NOT NULL,
    tries      BIGINT NOT NULL,
    sends      BIGINT NOT NULL,
    sent_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (flow_id, purpose)
);
CREATE INDEX codes_expires ON codes (expires_at);
CREATE INDEX codes_account ON codes (account_id);

-- +goose Down
DROP TABLE codes;
DROP TABLE throttles;
DROP TABLE identifiers;
DROP TABLE accounts;
DROP TABLE account_ids;

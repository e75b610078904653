-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Recoveries of a forgotten password, found again by whoever asks with the same
-- identifier. One for an identifier that nobody has looks the same and sends nothing.
CREATE TABLE recoveries (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- A keyed hash of the identifier.
    target     TEXT   NOT NULL,
    -- Empty where nobody has the identifier.
    account_id TEXT   NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('open', 'done', 'stopped', 'void')),
    -- A keyed hash of the code that stops it.
    stop_hash  TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    locale     TEXT   NOT NULL,
    -- Where it was asked for, as its owner is told.
    place      TEXT   NOT NULL,
    begun_at   BIGINT NOT NULL,
    -- When the wait is over.
    ready_at   BIGINT NOT NULL,
    -- Nobody can go on with it afterwards.
    expires_at BIGINT NOT NULL,
    -- Wrong codes and codes sent, of everybody who asked.
    failures   BIGINT NOT NULL DEFAULT 0,
    sends      BIGINT NOT NULL DEFAULT 0,
    sent_at    BIGINT NOT NULL DEFAULT 0,
    -- No code is looked at before.
    held_until BIGINT NOT NULL DEFAULT 0,
    -- Whether its owner has still to be told, and until when a server is about to.
    telling    BIGINT NOT NULL DEFAULT 1,
    leased_to  BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX recoveries_open ON recoveries (target) WHERE status = 'open';
CREATE INDEX recoveries_target ON recoveries (target, begun_at);
CREATE INDEX recoveries_account ON recoveries (account_id);
CREATE INDEX recoveries_stop ON recoveries (stop_hash);
CREATE INDEX recoveries_telling ON recoveries (leased_to) WHERE telling = 1;

-- Each conversation about a recovery has codes of its own.
CREATE TABLE recovery_asks (
    id           TEXT   NOT NULL PRIMARY KEY,
    recovery_id  TEXT   NOT NULL REFERENCES recoveries (id),
    -- It comes from where the owner has been signed in for days.
    known        BIGINT NOT NULL,
    -- What was typed, if it is an e-mail address: a code goes there rather than to another.
    email        TEXT   NOT NULL,
    locale       TEXT   NOT NULL,
    -- The code was right.
    proven       BIGINT NOT NULL DEFAULT 0,
    -- A keyed hash; empty before a code was sent and once it was used or guessed at too often.
    code_hash    TEXT   NOT NULL DEFAULT '',
    tries        BIGINT NOT NULL DEFAULT 0,
    sends        BIGINT NOT NULL DEFAULT 0,
    asked_at     BIGINT NOT NULL DEFAULT 0,
    code_expires BIGINT NOT NULL DEFAULT 0,
    -- Whether a code has still to be sent, and until when a server is about to.
    sending      BIGINT NOT NULL DEFAULT 0,
    leased_to    BIGINT NOT NULL DEFAULT 0,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX recovery_asks_recovery ON recovery_asks (recovery_id);
CREATE INDEX recovery_asks_expires ON recovery_asks (expires_at);
CREATE INDEX recovery_asks_sending ON recovery_asks (leased_to) WHERE sending = 1;

-- The account that the device had been signed in to for days when the flow began.
ALTER TABLE flows ADD COLUMN known_account TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE flows DROP COLUMN known_account;
DROP TABLE recovery_asks;
DROP TABLE recoveries;

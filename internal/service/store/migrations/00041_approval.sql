-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Requests of locked devices to be opened by their owner from another device
-- (RFC 8628). What is over stays for a day: it is what the limits count.
CREATE TABLE approvals (
    -- What the device shows and the owner types. It names a request and opens
    -- nothing: that takes the account of the link.
    user_code  TEXT   NOT NULL PRIMARY KEY,
    flow_id    TEXT   NOT NULL,
    device_id  TEXT   NOT NULL REFERENCES devices (id),
    -- The link as it was when the device asked; another one, or a change of it,
    -- ends the request.
    link_id    TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    account_id TEXT   NOT NULL,
    -- Whether the device asks by a key that its owner has not seen.
    new_key    BIGINT NOT NULL CHECK (new_key IN (0, 1)),
    -- From where it asks: its network address, and the region that it names.
    address    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('asked', 'approved', 'refused', 'granted', 'ended')),
    asked_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- How many seconds the device has to leave between two polls, and its last one.
    pause      BIGINT NOT NULL,
    polled_at  BIGINT NOT NULL
);
CREATE INDEX approvals_flow ON approvals (flow_id);
CREATE INDEX approvals_device ON approvals (device_id, asked_at);
CREATE INDEX approvals_account ON approvals (account_id);
CREATE INDEX approvals_asked ON approvals (asked_at);

-- Codes typed that name no request of the account's, by account and by network.
CREATE TABLE approval_guesses (
    guesser TEXT   NOT NULL PRIMARY KEY,
    guesses BIGINT NOT NULL,
    since   BIGINT NOT NULL
);
CREATE INDEX approval_guesses_since ON approval_guesses (since);

-- +goose Down
DROP TABLE approval_guesses;
DROP TABLE approvals;

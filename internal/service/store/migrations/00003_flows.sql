-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Conversations of devices, between one request and the next.
CREATE TABLE flows (
    id         TEXT   NOT NULL PRIMARY KEY,
    device_id  TEXT   NOT NULL REFERENCES devices (id),
    -- The key that the flow was begun with; no other may go on with it.
    key_id     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    step       TEXT   NOT NULL,
    -- The device's nonce that grants answer.
    nonce      TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    locale     TEXT   NOT NULL,
    -- What a person typed at 'identify', or that the linked account was meant.
    identifier TEXT   NOT NULL DEFAULT '',
    use_hint   BIGINT NOT NULL DEFAULT 0,
    -- The account whose password was right; empty before.
    account_id TEXT   NOT NULL DEFAULT '',
    hint       TEXT   NOT NULL DEFAULT '',
    sent_to    TEXT   NOT NULL DEFAULT '',
    -- The link that the flow is about, or has reserved.
    link_id    TEXT   NOT NULL DEFAULT '',
    committed  BIGINT NOT NULL DEFAULT 0,
    -- Grows with each change, so that of two answers at once one counts.
    version    BIGINT NOT NULL DEFAULT 1,
    -- The last answer and the idempotency key it was given under: a request
    -- that is repeated after a crash gets it again.
    answer_key TEXT   NOT NULL DEFAULT '',
    answer     TEXT   NOT NULL DEFAULT '',
    begun_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX flows_device ON flows (device_id, begun_at);
CREATE INDEX flows_expires ON flows (expires_at);
CREATE INDEX flows_account ON flows (account_id);

-- Signed requests: a nonce is good for one, and an idempotency key gets the
-- same answer again.
CREATE TABLE requests (
    -- In hexadecimal; it begins with the time, so that new rows are neighbours
    -- and the oldest come first.
    nonce      TEXT   NOT NULL PRIMARY KEY,
    -- The signer and its idempotency key, hashed; NULL where the answer is not
    -- kept.
    request    TEXT,
    -- A keyed hash of method, path and body.
    digest     TEXT   NOT NULL,
    -- 0 while the request is being answered.
    status     BIGINT NOT NULL DEFAULT 0,
    media_type TEXT   NOT NULL DEFAULT '',
    body       TEXT   NOT NULL DEFAULT '',
    -- Until when another request may not take over an unanswered one.
    leased_to  BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX requests_request ON requests (request);

-- What owners are to be told, until it was sent.
CREATE TABLE notices (
    id         TEXT   NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    device_id  TEXT   NOT NULL,
    model      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    -- Until when a server that is about to send it has it for itself.
    leased_to  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX notices_leased ON notices (leased_to);

-- +goose Down
DROP TABLE notices;
DROP TABLE requests;
DROP TABLE flows;

-- SPDX-License-Identifier: Apache-2.0
-- +goose Up

-- Mail and SMS until a server has taken them over.
CREATE TABLE messages (
    id         TEXT   NOT NULL PRIMARY KEY,
    channel    TEXT   NOT NULL,
    -- Address, subject and text, encrypted: they hold codes.
    sealed     TEXT   NOT NULL,
    tries      BIGINT NOT NULL,
    -- When the next try is due; while a server carries it, when another may.
    next_at    BIGINT NOT NULL,
    -- When it is of no use any more.
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX messages_next ON messages (next_at);

-- +goose Down
DROP TABLE messages;
